"""Where a key of a TOML file stands, for messages: the standard parser gives values without lines.

A table header or a key at the start of a line is found; what is inside an inline table has its key's line. A line
inside a multi-line string that looks like a key is taken for one, which misplaces a message and nothing else.
"""

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def lines_of(text: str) -> dict[Path, int]:
    """Path of keys and array indices -> line, counted from 1; the empty path is the first line.

    >>> lines_of('schema = 1\\n[[budget]]\\nmodel = "a"\\n')["budget", 0, "model"]
    3
    """
    found: dict[Path, int] = {(): 1}
    counts: dict[Path, int] = {}
    here: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            here = _table(_parts(header[2]), header[1] == "[[", counts)
            _remember(found, here, number)
        elif key := _KEY.match(line):
            _remember(found, here + tuple(_parts(key[1])), number)
    return found


def line_at(lines: Mapping[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest thing around it."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _parts(text: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(text)]


def _table(names: list[str], is_array: bool, counts: dict[Path, int]) -> Path:
    """The path of a header, with the index of each array of tables on the way: the last one begun."""
    path: Path = ()
    for depth, name in enumerate(names):
        path = (*path, name)
        if is_array and depth == len(names) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _remember(found: dict[Path, int], path: Path, number: int) -> None:
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], number)
