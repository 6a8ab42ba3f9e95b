"""A configuration file as a tree: every value knows its file and line, so that what does not fit says where it stands.

Scalars of TOML are what its grammar makes of them. Those of YAML are the text that was written: whoever knows what a
key takes reads the number. Tables are read key by key here, or into settings classes by `mlopt.configuration.settings`.
"""

import abc
import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

from mlopt import words
from mlopt.errors import MloptError
from mlopt.suggestions import did_you_mean

Plain = str | int | float | bool | datetime.date | datetime.time
Read = TypeVar("Read")

_LONGEST = 1000      # characters of a sentence; what it quotes may be anything
_QUOTED = 80         # characters of a value in it


class ConfigurationInvalid(MloptError):
    """A file that says nothing that can be done; the sentence begins with file and line."""

    def __init__(self, path: Path | str, line: int, found: str) -> None:
        self.path, self.line, self.found = str(path), line, words.clean(found)[:_LONGEST]
        super().__init__(f"{path}{f':{line}' if line else ''}: {self.found}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file, and the error that says what is wrong in it."""

    path: Path
    refusal: type[ConfigurationInvalid]
    absent: str = ""                 # what to do where there is no such file, as a sentence

    def wrong(self, line: int, found: str) -> ConfigurationInvalid:
        """The error to raise; `line` is 0 where the whole file is meant."""
        return self.refusal(self.path, line, found)


@dataclass(frozen=True, kw_only=True)
class Value(abc.ABC):
    source: Source
    line: int

    def wrong(self, found: str) -> ConfigurationInvalid:
        return self.source.wrong(self.line, found)

    def table(self, wanted: str) -> "Table":
        """Itself as a table; `wanted` begins the sentence that refuses another kind of value."""
        raise self.wrong(f"{wanted}; got {self.shown()}")

    def items(self, wanted: str) -> tuple["Value", ...]:
        """Its items, where it is a list."""
        raise self.wrong(f"{wanted}; got {self.shown()}")

    @abc.abstractmethod
    def shown(self) -> str:
        """What it is, for a sentence."""


@dataclass(frozen=True, kw_only=True)
class Scalar(Value):
    value: Plain
    quoted: bool = False             # in YAML, where everything is text

    def shown(self) -> str:
        return repr(self.value[:_QUOTED] if isinstance(self.value, str) else self.value)


@dataclass(frozen=True, kw_only=True)
class Items(Value):
    values: tuple[Value, ...]

    def items(self, wanted: str) -> tuple[Value, ...]:
        return self.values

    def shown(self) -> str:
        return f"a list of {len(self.values)}"


@dataclass(frozen=True, kw_only=True)
class Table(Value):
    entries: Mapping[str, Value]
    lines: Mapping[str, int]         # of each key
    name: str = ""                   # where it stands, e.g. "budget.size"; empty for the whole file

    def table(self, wanted: str) -> "Table":
        return self

    def shown(self) -> str:
        return "a map"

    def has(self, key: str) -> bool:
        return key in self.entries

    def wrong_at(self, key: str, found: str) -> ConfigurationInvalid:
        """The error to raise for `key`, or for the whole where it has no such key."""
        return self.source.wrong(self.lines.get(key, self.line), found)

    def allow(self, known: Collection[str], owner: str = "") -> None:
        """Refuse a key that is not among `known`, with the nearest of them."""
        for key in self.entries:
            if key not in known:
                inside = f" in `{self.name}`" if self.name else ""
                found = f"{owner} has no key `{key}`" if owner else f"no key `{key}`{inside}"
                raise self.wrong_at(key, f"{found}.{did_you_mean(key, known, listed=True)}")

    def table_at(self, key: str) -> "Table":
        """The table at `key`; an empty one where there is none."""
        if key not in self.entries:
            name = f"{self.name}.{key}".lstrip(".")
            return Table(source=self.source, line=self.line, entries={}, lines={}, name=name)
        return self.entries[key].table(f"`{key}` takes a table, e.g. {key} = {{ ... }}")

    def tables_at(self, key: str) -> tuple["Table", ...]:
        """The tables at `key`: one alone counts as a list of one."""
        found = self.entries.get(key)
        if found is None:
            return ()
        wanted = f"`{key}` takes tables, e.g. {key} = {{ ... }} or [[{key}]]"
        each = (found,) if isinstance(found, Table) else found.items(wanted)
        return tuple(item.table(wanted) for item in each)

    def text(self, key: str, default: str | None = None) -> str:
        if key not in self.entries and default is None:
            raise self.wrong(f"`{key}` is missing")
        found = self._plain(key, default)
        if not isinstance(found, str) or not found.strip():
            raise self.wrong_at(key, f"`{key}` takes text; got {self._shown(key, default)}")
        return found

    def one_of(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        found = self.text(key, default)
        if found not in known:
            hint = did_you_mean(found, known, mark="'")
            raise self.wrong_at(key, f"`{key}` takes one of {', '.join(known)}; got {found!r}.{hint}")
        return found

    def flag(self, key: str) -> bool:
        found = self._plain(key, False)
        if not isinstance(found, bool):
            raise self.wrong_at(key, f"`{key}` takes true or false; got {self._shown(key)}")
        return found

    @overload
    def integer(self, key: str, *, default: int, least: int = 0, most: int) -> int: ...
    @overload
    def integer(self, key: str, *, default: None, least: int = 0, most: int) -> int | None: ...
    def integer(self, key: str, *, default: int | None, least: int = 0, most: int) -> int | None:
        if key not in self.entries:
            return default
        found = self._plain(key)
        if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
            raise self.wrong_at(key, f"`{key}` takes a whole number from {least} to {most:,}; got {self._shown(key)}")
        return found

    def integers(self, key: str, *, most: int) -> tuple[int, ...]:
        found = self._plains(key, f"`{key}` takes whole numbers to {most:,}, e.g. [4, 5]") or ()
        whole = tuple(n for n in found if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= most)
        if len(whole) < len(found):
            raise self.wrong_at(key, f"`{key}` takes whole numbers to {most:,}, e.g. [4, 5]; got {list(found)!r}")
        return whole

    def number(self, key: str, *, default: float, most: float) -> float:
        """A number above 0, at most `most`."""
        if key not in self.entries:
            return default
        found = self._plain(key)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= most:
            raise self.wrong_at(key, f"`{key}` takes a number above 0, at most {most:g}; got {self._shown(key)}")
        return float(found)

    def parsed(self, key: str, parse: Callable[[object], Read]) -> Read | None:
        """What `parse` makes of the value; its `ValueError` is a sentence that goes on after the key."""
        if key not in self.entries:
            return None
        found = self._plain(key)
        try:
            return parse(self.entries[key].shown() if found is None else found)
        except ValueError as err:
            raise self.wrong_at(key, f"`{key}` {err}") from err

    def names(self, key: str) -> tuple[str, ...] | None:
        wanted = f'`{key}` takes names, e.g. ["CONV_2D", "ADD"]'
        found = self._plains(key, wanted)
        if found is None:
            return None
        texts = tuple(n for n in found if isinstance(n, str))
        if len(texts) < len(found):
            raise self.wrong_at(key, f"{wanted}; got {list(found)!r}")
        return texts

    def date(self, key: str) -> datetime.date:
        found = self._plain(key)
        if not isinstance(found, datetime.date) or isinstance(found, datetime.datetime):
            raise self.wrong_at(key, f"`{key}` takes a day without quotes, e.g. 2027-03-01; got {self._shown(key)}")
        return found

    def _plain(self, key: str, default: Plain | None = None) -> Plain | None:
        """The scalar at `key`, or the default; nothing where a list or a table stands."""
        found = self.entries.get(key)
        if found is None:
            return default
        return found.value if isinstance(found, Scalar) else None

    def _plains(self, key: str, wanted: str) -> tuple[Plain | None, ...] | None:
        """Those of a list; nothing where there is no such key."""
        if key not in self.entries:
            return None
        return tuple(item.value if isinstance(item, Scalar) else None for item in self.entries[key].items(wanted))

    def _shown(self, key: str, default: Plain | None = None) -> str:
        return self.entries[key].shown() if key in self.entries else repr(default)
