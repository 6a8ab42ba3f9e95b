"""Dataclasses to plain values and back, for files and pipes: paths as text, nan kept, types checked on the way in."""

import importlib
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


def resolve(name: str) -> Any:
    """The object "module:attribute", its module imported now."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def error_class(name: str) -> type[MloptError]:
    """The error class "module:Name", as a worker named it."""
    found = resolve(name)
    assert issubclass(found, MloptError), name
    return found


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
