"""A report as strict JSON and back: what is unknown is null on disk and `nan` in memory."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from mlopt.errors import MloptError
from mlopt.report import UNKNOWN, Report

SCHEMA = 1     # the newest version of a report that this code writes and reads


def to_json(report: Report) -> bytes:
    """Strict JSON, indented; NaN and infinities become null."""
    return msgspec.json.format(msgspec.json.encode(report, enc_hook=_path_as_text), indent=1)


def from_json(data: bytes) -> Report:
    """The report again; null becomes `nan`. Raises `MloptError` for what is no report of a version known here."""
    try:
        plain = msgspec.json.decode(data)
    except msgspec.DecodeError as err:
        raise MloptError(f"this is not a report: {err}. A report is the report.json that mlopt compress wrote") from err
    version = plain.get("schema") if isinstance(plain, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise MloptError("this is not a report: it has no schema version. mlopt compress writes report.json")
    if version > SCHEMA:
        raise MloptError(f"the report has schema {version}, this mlopt reads up to {SCHEMA}: upgrade mlopt to read it")
    try:
        return msgspec.convert(_with_nan(plain, Report), Report, dec_hook=_text_as_path, strict=False)
    except msgspec.ValidationError as err:
        raise MloptError(f"this report cannot be read: {err}") from err


def _with_nan(value: Any, kind: Any) -> Any:
    """`value` with `nan` for each null that stands where `kind` has a number."""
    if value is None:
        return UNKNOWN if kind is float else None
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        kinds = _field_kinds(kind)
        return {name: _with_nan(v, kinds.get(name)) for name, v in value.items()}
    inner = typing.get_args(kind)
    if inner and isinstance(value, list):
        return [_with_nan(v, inner[0]) for v in value]
    if inner and isinstance(value, dict):
        return {name: _with_nan(v, inner[-1]) for name, v in value.items()}
    return value


@cache
def _field_kinds(kind: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _path_as_text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a report holds no {type(value).__name__}")


def _text_as_path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise TypeError(f"a report holds no {kind}")
