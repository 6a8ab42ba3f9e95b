"""A TOML file as a tree of values with lines."""

from collections.abc import Mapping

from mlopt.configuration import toml_lines
from mlopt.configuration.text import read_text
from mlopt.configuration.values import Items, Plain, Scalar, Source, Table, Value
from mlopt.documents import DEEPEST, DocumentInvalid, toml_value


def read_toml(source: Source, *, most_bytes: int) -> Table:
    """The whole file. Raises the source's error where it cannot be read, or is no TOML."""
    text = read_text(source, most_bytes=most_bytes)
    try:
        values = toml_value(text.encode())
    except DocumentInvalid as err:
        raise source.wrong(0, err.found) from err
    if _depth(values) > DEEPEST:           # dots make levels too: a.a.a.a = 1
        raise source.wrong(0, f"this is no TOML: it nests deeper than {DEEPEST} levels")
    return _Lined(source, toml_lines.lines_of(text)).table(values, ())


class _Lined:
    def __init__(self, source: Source, lines: Mapping[toml_lines.Path, int]) -> None:
        self.source, self.lines = source, lines

    def table(self, values: Mapping[str, object], path: toml_lines.Path) -> Table:
        return Table(
            source=self.source, line=self.line(path), name=".".join(part for part in path if isinstance(part, str)),
            entries={key: self.value(found, (*path, key)) for key, found in values.items()},
            lines={key: self.line((*path, key)) for key in values},
        )

    def value(self, found: object, path: toml_lines.Path) -> Value:
        if isinstance(found, dict):
            return self.table(found, path)
        if isinstance(found, list):
            values = tuple(self.value(item, (*path, number)) for number, item in enumerate(found))
            return Items(source=self.source, line=self.line(path), values=values)
        assert isinstance(found, Plain), found
        return Scalar(source=self.source, line=self.line(path), value=found)

    def line(self, path: toml_lines.Path) -> int:
        return toml_lines.line_at(self.lines, path)


def _depth(value: object) -> int:
    """Levels of tables and lists, without recursion; no more are counted than are too many."""
    deepest = 0
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting and deepest <= DEEPEST:
        found, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(found, dict | list):
            waiting += [(inner, depth + 1) for inner in (found.values() if isinstance(found, dict) else found)]
    return deepest
