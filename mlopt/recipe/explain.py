"""Steps and recipes in words, for people and as plain values: what each key takes, and what a recipe does."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlopt import plugins
from mlopt.configuration.fields import Field, fields_of
from mlopt.recipe import catalogue
from mlopt.recipe.load import find, load
from mlopt.recipe.steps import Recipe, Step, Training


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a step, as it is printed."""

    name: str                   # "student.width" for a nested one
    kind: str
    default: str                # as YAML writes it
    range: str                  # in words; empty where everything of its kind goes
    about: str
    shared: bool                # with every step that trains


@dataclass(frozen=True, kw_only=True)
class Shipped:
    name: str
    about: str
    steps: tuple[str, ...]
    path: Path


def explain_step(name: str) -> tuple[str, tuple[Key, ...]]:
    """What a step does, and its keys: its own first."""
    kind = plugins.load_step(name)
    shared = fields_of(Training)
    keys = [key for f in fields_of(kind).values() for key in _keys(f, shared=f.name in shared)]
    return kind.__doc__ or "", tuple(keys)


def list_recipes() -> tuple[Shipped, ...]:
    """What the catalogue holds, by name."""
    return tuple(
        Shipped(name=name, about=recipe.about, steps=tuple(step.name for step in recipe.steps), path=path)
        for name, path in catalogue.recipe_files().items() for recipe in [load(path)]
    )


def show_recipe(path_or_name: str) -> str:
    """The file of a recipe that makes sense, word for word."""
    load(path_or_name)
    return find(path_or_name).read_text(encoding="utf-8-sig")


def explain_recipe(recipe: Recipe) -> list[str]:
    """One line a step: what it does, and every key that it does not leave at its default, in words."""
    lines = []
    for number, step in enumerate(recipe.steps, 1):
        lines.append(f"{number}. {step.name}: {_first_sentence(type(step).__doc__ or '')}")
        lines += [f"   {key} {text}: {about}" for key, text, about in _said(step)]
    for export in recipe.export:
        lines.append(f"Writes {export.to} at {export.precision}.")
    if not recipe.export:
        lines.append("Writes what `mlopt compress` writes by default.")
    return lines


def plain_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as the mapping that its file holds, every key given."""
    steps = [{step.name: dataclasses.asdict(step)} for step in recipe.steps]
    return {**dataclasses.asdict(recipe), "steps": steps}


def _keys(field: Field, *, shared: bool, inside: str = "") -> list[Key]:
    if field.settings is not None:
        nested = fields_of(field.settings).values()
        return [key for f in nested for key in _keys(f, shared=shared, inside=f"{field.name}.")]
    return [Key(
        name=inside + field.name, kind=field.kind, default=_yaml(field.default), range=field.range_text(),
        about=field.about, shared=shared,
    )]


def _said(settings: Step | Any, inside: str = "") -> list[tuple[str, str, str]]:
    found = []
    for name, field in fields_of(type(settings)).items():
        value = getattr(settings, name)
        if field.settings is not None:
            found += _said(value, f"{name}.")
        elif value != field.default:
            found.append((inside + name, _yaml(value), field.about))
    return found


def _yaml(value: Any) -> str:
    """A default as a recipe would say it.

    >>> _yaml(0.001), _yaml(()), _yaml("adam"), _yaml("")
    ('0.001', '[]', 'adam', "''")
    """
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    if isinstance(value, float):
        return f"{value:g}"
    return (value or "''") if isinstance(value, str) else json.dumps(value)


def _first_sentence(text: str) -> str:
    return text.partition("\n")[0]

