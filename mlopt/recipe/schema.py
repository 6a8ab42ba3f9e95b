"""The JSON Schema of a recipe file, made from the settings classes: an editor completes and checks by it."""

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

import msgspec

from mlopt import plugins
from mlopt.configuration.fields import fields_of
from mlopt.recipe.steps import Recipe

FILE = "recipe.schema.json"


def write_schema(dest: Path) -> Path:
    """Write recipe.schema.json into the folder `dest`."""
    path = dest / FILE
    path.write_text(json.dumps(recipe_schema(), indent=2) + "\n")
    return path


def recipe_schema() -> dict[str, Any]:
    """JSON Schema 2020-12. It knows keys, kinds and ranges; whether an order makes sense, `mlopt` alone knows."""
    around, steps = _without_steps(), plugins.steps()
    _, parts = msgspec.json.schema_components([around, *steps.values()], ref_template="#/$defs/{name}")
    for part in parts.values():
        part["additionalProperties"] = False
    for kind in steps.values():
        for name, field in fields_of(kind).items():
            if field.kind == "word":
                parts[kind.__name__]["properties"][name]["enum"] = sorted(field.choices)
    recipe = parts.pop(around.__name__)
    recipe["required"].append("steps")
    recipe["properties"]["steps"] = {
        "description": "What is done, in order.", "type": "array", "minItems": 1, "items": {"oneOf": [
            {
                "type": "object", "required": [name], "additionalProperties": False,
                "properties": {name: {"$ref": f"#/$defs/{kind.__name__}"}},
            }
            for name, kind in steps.items()
        ]},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **recipe, "$defs": parts}


def _without_steps() -> type:
    """`Recipe` without its steps: msgspec describes no union of dataclasses."""
    hints = typing.get_type_hints(Recipe, include_extras=True)
    others = [
        (f.name, hints[f.name]) if f.default is dataclasses.MISSING
        else (f.name, hints[f.name], dataclasses.field(default=f.default))
        for f in dataclasses.fields(Recipe) if f.name != "steps"
    ]
    return dataclasses.make_dataclass("Recipe", others, kw_only=True, namespace={"__doc__": Recipe.__doc__})
