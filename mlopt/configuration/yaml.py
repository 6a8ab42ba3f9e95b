"""A YAML file as a tree of plain text with lines. Nothing in it is trusted, and nothing in it makes an object.

PyYAML's reader of YAML 1.1 would take `1e-3` for text, `2:4` for 124 and `no` for false; so scalars stay the text that
was written, and who knows what a key takes reads the number.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from mlopt.configuration.text import read_text
from mlopt.configuration.values import Items, Scalar, Source, Table, Value

DEEPEST = 12                 # levels of maps and lists in each other; a recipe has five


def read_yaml(source: Source, *, most_bytes: int) -> Value | None:
    """The one document of a file; nothing where it is empty. Raises the source's error."""
    text = read_text(source, most_bytes=most_bytes)
    try:
        events = list(_checked(source, yaml.parse(text, Loader=yaml.SafeLoader)))
    except yaml.MarkedYAMLError as err:
        raise source.wrong(_line(err.problem_mark or err.context_mark), _yaml_problem(err)) from err
    except yaml.YAMLError as err:
        raise source.wrong(_line_of(text, getattr(err, "position", 0)), f"is not YAML: {_first(err)}") from err
    rest = iter(events)
    return _value(source, next(rest), rest) if events else None


def _checked(source: Source, events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    """What one document holds; no aliases, tags, second documents or great depth, all before any tree is built."""
    depth = documents = 0
    for event in events:
        line = _line(event.start_mark)
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise source.wrong(line, "begins a second document: one file holds one")
        elif anchor:
            raise source.wrong(line, f"`{anchor}` is an anchor or alias: write the values out")
        elif tag:
            raise source.wrong(line, f"a tag, {tag!r}: only text, numbers, lists and maps are read")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise source.wrong(line, f"is nested deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            yield event


def _value(source: Source, event: yaml.Event, events: Iterator[yaml.Event]) -> Value:
    """The value that `event` begins; the rest of it is taken from `events`."""
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_value(source, item, events))
        return Items(source=source, values=tuple(items), line=_line(event.start_mark))
    if isinstance(event, yaml.MappingStartEvent):
        return _table(source, _line(event.start_mark), events)
    assert isinstance(event, yaml.ScalarEvent), event
    return Scalar(source=source, value=event.value, quoted=event.style in ("'", '"'), line=_line(event.start_mark))


def _table(source: Source, line: int, events: Iterator[yaml.Event]) -> Table:
    entries: dict[str, Value] = {}
    lines: dict[str, int] = {}
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        here = _line(key.start_mark)
        if not isinstance(key, yaml.ScalarEvent):
            raise source.wrong(here, "a key is a list or a map; keys are words")
        if key.value in entries:
            raise source.wrong(here, f"`{key.value}` stands twice, first in line {lines[key.value]}")
        lines[key.value] = here
        entries[key.value] = _value(source, next(events), events)
    return Table(source=source, entries=entries, lines=lines, line=line)


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
