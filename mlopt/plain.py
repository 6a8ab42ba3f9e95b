"""Dataclasses to plain values and back, for files and pipes: paths as text, nan kept, types checked on the way in."""

import functools
import importlib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mlopt.errors import MloptError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dicts, lists, text and numbers only."""
    return msgspec.to_builtins(value, enc_hook=_encode)


def from_plain(value: Any, kind: type[T]) -> T:
    """The dataclass again; raises `msgspec.ValidationError` that names the field where it does not fit."""
    return msgspec.convert(value, kind, dec_hook=_decode, strict=False)


def from_json(value: Any, kind: type[T]) -> T:
    """The dataclass out of a JSON that anybody may have written; `null` where a number belongs becomes nan.

    Types are taken as they stand: text or a truth value is no number. A field that is declared as one of
    `mlopt.quantities` lies in its range. Raises `msgspec.ValidationError` that names the place.
    """
    return msgspec.convert(_held_to_ranges(value, kind, "$"), kind, dec_hook=_decode)


def resolve(name: str) -> Any:
    """The object "module:attribute", its module imported now."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def error_class(name: str) -> type[MloptError]:
    """The error class "module:Name", as a worker named it."""
    found = resolve(name)
    assert issubclass(found, MloptError), name
    return found


def _held_to_ranges(value: Any, kind: Any, place: str) -> Any:
    """`value` with nan for each null in the place of a number; what is of another type is left as it is."""
    metadata = getattr(kind, "__metadata__", ())
    if metadata:
        kind = typing.get_args(kind)[0]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        if value is None and types.NoneType in typing.get_args(kind):
            return None
        kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
    if value is None:
        return float("nan") if kind is float else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        _refuse_outside(value, metadata, place)
        return value
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        kinds = _field_kinds(kind)
        return {name: _held_to_ranges(v, kinds.get(name), f"{place}.{name}") for name, v in value.items()}
    inner = typing.get_args(kind)
    if inner and isinstance(value, list):
        alike = len(inner) == 1 or inner[-1] is Ellipsis      # else a tuple of as many kinds
        each = [inner[0]] * len(value) if alike else [*inner, *[None] * len(value)]
        return [_held_to_ranges(v, k, f"{place}[{n}]") for n, (v, k) in enumerate(zip(value, each, strict=False))]
    if inner and isinstance(value, dict):
        return {name: _held_to_ranges(v, inner[-1], f"{place}.{name}") for name, v in value.items()}
    return value


def _refuse_outside(value: float, metadata: tuple[Any, ...], place: str) -> None:
    """Raise where a number that is not nan lies outside the range that its declaration carries."""
    limits = {name: limit for each in metadata for name, limit in (each.extra_json_schema or {}).items()}
    least, most, above = limits.get("minimum"), limits.get("maximum"), limits.get("exclusiveMinimum")
    if (least is not None and value < least) or (above is not None and value <= above):
        bound = f"at least {least:g}" if least is not None else f"above {above:g}"
        raise msgspec.ValidationError(f"{value!r} is out of range: it is {bound} - at `{place}`")
    if most is not None and value > most:
        raise msgspec.ValidationError(f"{value!r} is out of range: it is at most {most:g} - at `{place}`")


@functools.cache
def _field_kinds(kind: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in fields(kind)}


def _encode(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "item"):               # a numpy scalar
        return value.item()
    raise TypeError(f"{type(value).__name__} does not travel between processes: write it to a file")


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise TypeError(f"cannot build {kind} from {type(value).__name__}")
