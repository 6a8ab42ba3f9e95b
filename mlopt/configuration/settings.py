"""Settings classes from tables of text: every key known, every value of its kind and in its range."""

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from mlopt.configuration.fields import Field, fields_of
from mlopt.configuration.values import Items, Scalar, Table, Value
from mlopt.suggestions import did_you_mean

Settings = TypeVar("Settings")
Texts = Callable[[Field, Scalar], str]       # what a key of kind "text" holds; raises the error of its scalar

_LONGEST = 40        # characters of a number
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?(0|[1-9]\d{0,17})", re.ASCII)


def read_settings(kind: type[Settings], table: Table, owner: str, *, texts: Texts) -> Settings:
    """An object of a settings class. Raises the error of the table's source for a key or a value that does not fit."""
    known = fields_of(kind)
    table.allow(known, owner)
    return kind(**{name: read_field(known[name], value, texts=texts) for name, value in table.entries.items()})


def refuse_missing(kind: type, table: Table, owner: str) -> None:
    """Raises the error of the table's source for the first key that the class needs and the table lacks."""
    for name, field in fields_of(kind).items():
        if field.required and name not in table.entries:
            raise table.wrong(f"{owner} needs the key `{name}`: {field.about}")


def read_field(field: Field, value: Value, *, texts: Texts) -> Any:
    """The value of one key, as its class holds it."""
    if field.settings is not None:
        table = value.table(f"`{field.name}` takes a map of {', '.join(fields_of(field.settings))}")
        return read_settings(field.settings, table, f"`{field.name}`", texts=texts)
    if field.kind == "words":
        items = value.items(f"`{field.name}` takes a list, e.g. {field.name}: [{', '.join(field.choices[:2])}]")
        words = tuple(_word(field, _scalar(field, item)) for item in items)
        twice = next((w for i, w in enumerate(words) if w in words[:i]), None)
        if twice:
            raise value.wrong(f"`{field.name}` names {twice} twice")
        return words
    scalar = _scalar(field, value)
    if field.kind == "word":
        return _word(field, scalar)
    if field.kind != "text":
        return _number(field, scalar)
    if is_empty(scalar):
        raise scalar.wrong(f"`{field.name}` is empty. {field.about}")
    return texts(field, scalar)


def is_empty(value: Value) -> bool:
    """Whether nothing was written for a key: YAML has three ways to say so."""
    if not isinstance(value, Scalar):
        return False
    text = str(value.value).strip()
    return not text or (not value.quoted and text in ("~", "null"))


def _scalar(field: Field, value: Value) -> Scalar:
    if not isinstance(value, Scalar):
        found = "a list" if isinstance(value, Items) else "a map"
        raise value.wrong(f"`{field.name}` takes {_article(field)}; got {found}")
    return value


def _word(field: Field, scalar: Scalar) -> str:
    text = str(scalar.value)
    if text not in field.choices:
        hint = did_you_mean(text, field.choices)
        raise scalar.wrong(f"`{field.name}` is {field.range_text()}; got {scalar.shown()}.{hint}")
    return text


def _number(field: Field, scalar: Scalar) -> float | int:
    pattern = _WHOLE if field.kind == "whole number" else _NUMBER
    text = str(scalar.value)
    takes = f"`{field.name}` takes {_article(field)}"
    if scalar.quoted and pattern.fullmatch(text[:_LONGEST]):
        raise scalar.wrong(f"{takes}; got text in quotes: write {text}")
    if len(text) > _LONGEST or not pattern.fullmatch(text):
        raise scalar.wrong(f"{takes}; got {text[:_LONGEST]!r}")
    number = int(text) if field.kind == "whole number" else float(text)
    if not math.isfinite(number):
        raise scalar.wrong(f"{takes}; {text} is too large")
    if not field.fits(number):
        raise scalar.wrong(f"`{field.name}` is {field.range_text()}; got {text}. {field.about}")
    return number


def _article(field: Field) -> str:
    text = f"a {field.kind}" if field.kind != "words" else "words"
    limits = field.range_text()
    return f"{text}, {limits}" if limits and not field.choices else limits or text
