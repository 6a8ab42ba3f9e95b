"""A recipe file as a tree of plain text with lines. Nothing in it is trusted, and nothing in it makes an object.

PyYAML's reader of YAML 1.1 would take `1e-3` for text, `2:4` for 124 and `no` for false; so scalars stay the text that
was written, and who knows what a key takes reads the number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlopt import words
from mlopt.errors import MloptError

LARGEST_BYTES = 1 << 16      # of a recipe file; the shipped ones have about a thousand
DEEPEST = 12                 # levels of maps and lists in each other; a recipe has five

_LONGEST = 600               # characters of a sentence; what it quotes may be anything


class RecipeInvalid(MloptError):
    """A recipe that says nothing that can be done; the sentence begins with file and line."""

    def __init__(self, path: Path | str, line: int, found: str) -> None:
        self.path, self.line, self.found = str(path), line, words.clean(found)[:_LONGEST]
        super().__init__(f"{path}{f':{line}' if line else ''}: {self.found}")


@dataclass(frozen=True, kw_only=True)
class Scalar:
    text: str
    quoted: bool
    line: int


@dataclass(frozen=True, kw_only=True)
class Items:
    items: tuple["Value", ...]
    line: int


@dataclass(frozen=True, kw_only=True)
class Table:
    entries: Mapping[str, "Value"]
    lines: Mapping[str, int]         # of each key
    line: int


Value = Scalar | Items | Table


def read_document(path: Path) -> Value:
    """The one document in `path`. Raises `RecipeInvalid`."""
    text = _text(path)
    try:
        events = list(_checked(path, yaml.parse(text, Loader=yaml.SafeLoader)))
    except yaml.MarkedYAMLError as err:
        raise RecipeInvalid(path, _line(err.problem_mark or err.context_mark), _yaml_problem(err)) from err
    except yaml.YAMLError as err:
        raise RecipeInvalid(path, _line_of(text, getattr(err, "position", 0)), f"is not YAML: {_first(err)}") from err
    if not events:
        raise RecipeInvalid(path, 0, "is empty. See one that works: mlopt recipes show qat-int8")
    rest = iter(events)
    return _value(path, next(rest), rest)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as err:
        raise RecipeInvalid(path, 0, f"cannot be read: {err.strerror}") from err
    if len(content) > LARGEST_BYTES:
        raise RecipeInvalid(path, 0, f"has more than {LARGEST_BYTES:,} bytes: that is no recipe")
    if b"\0" in content:
        raise RecipeInvalid(path, 0, "holds binary data: a recipe is YAML text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise RecipeInvalid(path, line, f"is not UTF-8 text: byte 0x{content[err.start]:02x}") from err


def _checked(path: Path, events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    """What one document holds; no aliases, tags, second documents or great depth, all before any tree is built."""
    depth = documents = 0
    for event in events:
        line = _line(event.start_mark)
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise RecipeInvalid(path, line, "begins a second document: one file is one recipe")
        elif anchor:
            raise RecipeInvalid(path, line, f"`{anchor}` is an anchor or alias: write the values out")
        elif tag:
            raise RecipeInvalid(path, line, f"a tag, {tag!r}: a recipe holds text, numbers, lists and maps only")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise RecipeInvalid(path, line, f"is nested deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            yield event


def _value(path: Path, event: yaml.Event, events: Iterator[yaml.Event]) -> Value:
    """The value that `event` begins; the rest of it is taken from `events`."""
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_value(path, item, events))
        return Items(items=tuple(items), line=_line(event.start_mark))
    if isinstance(event, yaml.MappingStartEvent):
        return _table(path, _line(event.start_mark), events)
    assert isinstance(event, yaml.ScalarEvent), event
    return Scalar(text=event.value, quoted=event.style in ("'", '"'), line=_line(event.start_mark))


def _table(path: Path, line: int, events: Iterator[yaml.Event]) -> Table:
    entries: dict[str, Value] = {}
    lines: dict[str, int] = {}
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        here = _line(key.start_mark)
        if not isinstance(key, yaml.ScalarEvent):
            raise RecipeInvalid(path, here, "a key is a list or a map; keys are words")
        if key.value in entries:
            raise RecipeInvalid(path, here, f"`{key.value}` stands twice, first in line {lines[key.value]}")
        lines[key.value] = here
        entries[key.value] = _value(path, next(events), events)
    return Table(entries=entries, lines=lines, line=line)


def _yaml_problem(err: yaml.MarkedYAMLError) -> str:
    problem = err.problem or err.context or "cannot be parsed"
    if "'\\t'" in problem:
        return "is indented by a tab: YAML takes spaces"
    return f"is not YAML: {problem}" + (f" ({err.context})" if err.context and err.problem else "")


def _line(mark: Any) -> int:
    return mark.line + 1 if mark else 0


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _first(err: Exception) -> str:
    return str(err).partition("\n")[0]
