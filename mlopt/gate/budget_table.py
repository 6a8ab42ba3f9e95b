"""One table of a TOML file, read key by key: what does not fit says where it stands and what it should be."""

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from mlopt import words
from mlopt.documents import DocumentInvalid, content, toml_value
from mlopt.errors import MloptError
from mlopt.gate import toml_lines, units
from mlopt.gate.units import Unit
from mlopt.suggestions import did_you_mean

_LARGEST_BYTES = 1 << 20     # of a budget file; a larger one is no budget
_LONGEST = 1000              # characters of a sentence; what it quotes may be anything


class BudgetError(MloptError):
    """A budget, a baseline or a command line that nothing can be judged by; the command exits with 2."""

    def __init__(self, path: Path | str, line: int, found: str) -> None:
        self.path, self.line, self.found = str(path), line, words.clean(found)[:_LONGEST]
        super().__init__(f"{path}{f':{line}' if line else ''}: {self.found}")


class Table:
    """The mapping at `path` of a file, with the lines of all keys."""

    def __init__(self, file: Path, values: Mapping[str, Any], path: toml_lines.Path,
                 lines: Mapping[toml_lines.Path, int]) -> None:
        self.file, self.values, self.path, self.lines = file, values, path, lines

    def line(self, key: str = "") -> int:
        return toml_lines.line_at(dict(self.lines), (*self.path, key) if key else self.path)

    def wrong(self, found: str, key: str = "") -> BudgetError:
        return BudgetError(self.file, self.line(key), found)

    def has(self, key: str) -> bool:
        return key in self.values

    def allow(self, *known: str) -> None:
        """Raise `BudgetError` for a key that is not among `known`, with the nearest of them."""
        for key in self.values:
            if key not in known:
                hint = did_you_mean(key, known, listed=True)
                where = ".".join(str(p) for p in self.path if isinstance(p, str))
                raise self.wrong(f"no key `{key}`{f' in `{where}`' if where else ''}.{hint}", key)

    def table(self, key: str) -> "Table":
        """The table at `key`; an empty one where there is none."""
        found = self.values.get(key, {})
        if not isinstance(found, dict):
            raise self.wrong(f"`{key}` takes a table, e.g. {key} = {{ ... }}; got {found!r}", key)
        return Table(self.file, found, (*self.path, key), self.lines)

    def tables(self, key: str) -> tuple["Table", ...]:
        """The tables at `key`: one alone counts as a list of one."""
        found = self.values.get(key, [])
        if isinstance(found, dict):
            return (self.table(key),)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self.wrong(f"`{key}` takes tables, e.g. {key} = {{ ... }} or [[{key}]]; got {found!r}", key)
        return tuple(Table(self.file, item, (*self.path, key, n), self.lines) for n, item in enumerate(found))

    def text(self, key: str, default: str | None = None) -> str:
        found = self.values.get(key, default)
        if not isinstance(found, str) or not found.strip():
            raise self.wrong(f"`{key}` is missing" if found is None else f"`{key}` takes text; got {found!r}", key)
        return found

    def one_of(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        found = self.text(key, default)
        if found not in known:
            hint = did_you_mean(found, known, mark="'")
            raise self.wrong(f"`{key}` takes one of {', '.join(known)}; got {found!r}.{hint}", key)
        return found

    def flag(self, key: str) -> bool:
        found = self.values.get(key, False)
        if not isinstance(found, bool):
            raise self.wrong(f"`{key}` takes true or false; got {found!r}", key)
        return found

    @overload
    def integer(self, key: str, *, default: int, least: int = 0, most: int) -> int: ...
    @overload
    def integer(self, key: str, *, default: None, least: int = 0, most: int) -> int | None: ...
    def integer(self, key: str, *, default: int | None, least: int = 0, most: int) -> int | None:
        found = self.values.get(key, default)
        if found is default:
            return default
        if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
            raise self.wrong(f"`{key}` takes a whole number from {least} to {most:,}; got {found!r}", key)
        return found

    def integers(self, key: str, *, most: int) -> tuple[int, ...]:
        found = self.values.get(key, [])
        if not isinstance(found, list) or not all(type(n) is int and 0 <= n <= most for n in found):
            raise self.wrong(f"`{key}` takes whole numbers to {most:,}, e.g. [4, 5]; got {found!r}", key)
        return tuple(found)

    def number(self, key: str, *, default: float, most: float) -> float:
        """A number above 0, at most `most`."""
        found = self.values.get(key)
        if found is None:
            return default
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= most:
            raise self.wrong(f"`{key}` takes a number above 0, at most {most:g}; got {found!r}", key)
        return float(found)

    def share(self, key: str, *, default: float, low: float, high: float) -> float:
        """A fraction strictly between `low` and `high`."""
        found = self.quantity(key, Unit.SHARE)
        if found is None:
            return default
        if not low < found < high:
            raise self.wrong(f"`{key}` lies between {low:g} and {high:g}; got {self.values[key]!r}", key)
        return found

    def quantity(self, key: str, unit: Unit, *, most: float = math.inf) -> float | None:
        if key not in self.values:
            return None
        try:
            found = units.parse(self.values[key], unit)
        except ValueError as err:
            raise self.wrong(f"`{key}` {err}", key) from err
        if found > most:
            raise self.wrong(f"`{key}` lies between 0 and {most:g}; got {self.values[key]!r}", key)
        return found

    def names(self, key: str) -> tuple[str, ...] | None:
        found = self.values.get(key)
        if found is None:
            return None
        if not isinstance(found, list) or not all(isinstance(n, str) for n in found):
            raise self.wrong(f'`{key}` takes names, e.g. ["CONV_2D", "ADD"]; got {found!r}', key)
        return tuple(found)

    def date(self, key: str) -> datetime.date:
        found = self.values.get(key)
        if not isinstance(found, datetime.date) or isinstance(found, datetime.datetime):
            raise self.wrong(f"`{key}` takes a day without quotes, e.g. 2027-03-01; got {found!r}", key)
        return found


def open_table(path: Path) -> Table:
    """The whole file. Raises `BudgetError` where it cannot be read, or is no TOML."""
    try:
        text = content(path, most_bytes=_LARGEST_BYTES)
        values = toml_value(text)
    except FileNotFoundError as err:
        raise BudgetError(path, 0, "there is no such file. Write one, or name it with --budget") from err
    except OSError as err:
        raise BudgetError(path, 0, f"it cannot be read: {err.strerror}") from err
    except DocumentInvalid as err:
        raise BudgetError(path, 0, err.found) from err
    return Table(path, values, (), toml_lines.lines_of(text.decode()))
