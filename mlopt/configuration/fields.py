"""What a key of a recipe takes: its kind, default, range and sentence, read off the settings class."""

import dataclasses
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal

from msgspec import Meta

Kind = Literal["whole number", "number", "text", "word", "words", "settings"]


@dataclass(frozen=True)
class OneOf:
    """Stands beside `Meta` at a text field: what it may be, where that is known when the program runs."""

    known: Collection[str]


@dataclass(frozen=True, kw_only=True)
class Field:
    name: str
    kind: Kind
    default: Any                        # `dataclasses.MISSING` where the key must be given
    about: str
    choices: tuple[str, ...] = ()       # of a word, or of each of several
    above: float | None = None          # exclusive
    least: float | None = None
    below: float | None = None          # exclusive
    most: float | None = None
    settings: type | None = None        # the class of nested settings

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING

    def range_text(self) -> str:
        """What it may be, in words; empty where nothing is said.

        >>> Field(name="x", kind="number", default=0.0, about="", above=0, below=1).range_text()
        'above 0 and below 1'
        """
        if self.choices:
            listed = ", ".join(self.choices)
            return f"any of {listed}" if self.kind == "words" else f"one of {listed}"
        low = f"above {self.above:g}" if self.above is not None else f"{self.least:g}" if self.least is not None else ""
        if self.most is not None and self.least is not None:
            return f"{self.least:g} to {self.most:g}"
        high = f"below {self.below:g}" if self.below is not None else f"at most {self.most:g}" if self.most else ""
        if self.least is not None:
            low = f"at least {self.least:g}"
        return " and ".join(part for part in (low, high) if part)

    def fits(self, number: float) -> bool:
        return (
            (self.above is None or number > self.above) and (self.least is None or number >= self.least)
            and (self.below is None or number < self.below) and (self.most is None or number <= self.most)
        )


def fields_of(kind: type) -> Mapping[str, Field]:
    """By key, in the order in which they are declared, a class's own before what all steps share."""
    hints = typing.get_type_hints(kind, include_extras=True)
    own = vars(kind).get("__annotations__", {})
    declared = dataclasses.fields(kind)
    ordered = [f for f in declared if f.name in own] + [f for f in declared if f.name not in own]
    return {field.name: _field(field.name, hints[field.name], field.default) for field in ordered}


def _field(name: str, hint: Any, default: Any) -> Field:
    meta = Meta()
    metadata: tuple[object, ...] = ()
    if hasattr(hint, "__metadata__"):
        metadata = hint.__metadata__
        meta = next(m for m in metadata if isinstance(m, Meta))
        hint = hint.__origin__
    kind, choices, settings = _kind(hint)
    known = next((m for m in metadata if isinstance(m, OneOf)), None)
    if known is not None:
        kind, choices = "word", tuple(known.known)
    return Field(
        name=name, kind=kind, default=default, about=meta.description or "", choices=choices, settings=settings,
        above=meta.gt, least=meta.ge, below=meta.lt, most=meta.le,
    )


def _kind(hint: Any) -> tuple[Kind, tuple[str, ...], type | None]:
    plain: dict[Any, Kind] = {int: "whole number", float: "number", str: "text"}
    if hint in plain:
        return plain[hint], (), None
    if typing.get_origin(hint) is Literal:
        return "word", typing.get_args(hint), None
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return "words", typing.get_args(item), None
    assert dataclasses.is_dataclass(hint) and hint is not NoneType, hint
    return "settings", (), typing.cast(type, hint)
