"""The JSON Schemas of a report and of its summary, generated from the types so that they cannot disagree."""

import json
from pathlib import Path
from typing import Any

import msgspec

from mlopt.render.summary import Summary
from mlopt.report import Report

FILES = {"report.schema.json": Report, "compress.schema.json": Summary}


def write_schemas(dest: Path) -> tuple[Path, ...]:
    """Write report.schema.json and compress.schema.json into the folder `dest`; gives their paths."""
    paths = []
    for name, kind in FILES.items():
        path = dest / name
        path.write_text(json.dumps(schema_of(kind), indent=2, allow_nan=False) + "\n")
        paths.append(path)
    return tuple(paths)


def schema_of(kind: type) -> dict[str, Any]:
    """JSON Schema 2020-12 of what is written: every field present, and null for a number that is unknown."""
    schema = _as_written(msgspec.json.schema(kind, schema_hook=_path_is_text), nan_is_null=kind is Report)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _as_written(node: Any, *, nan_is_null: bool) -> Any:
    if isinstance(node, list):
        return [_as_written(item, nan_is_null=nan_is_null) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _as_written(value, nan_is_null=nan_is_null) for key, value in node.items() if key != "default"}
    if nan_is_null and found.get("type") == "number":
        found["type"] = ["number", "null"]
    if isinstance(found.get("properties"), dict):
        found["required"] = list(found["properties"])
    return found


def _path_is_text(kind: type) -> dict[str, str]:
    if kind is Path:
        return {"type": "string"}
    raise NotImplementedError(kind)
