"""A recipe file to a `Recipe`: every key known, every value of its kind and in its range, the order sensible."""

from collections.abc import Sequence
from pathlib import Path

from mlopt import plugins
from mlopt.configuration.fields import Field, fields_of
from mlopt.configuration.settings import is_empty, read_field, read_settings, refuse_missing
from mlopt.configuration.values import ConfigurationInvalid, Scalar, Source, Table, Value
from mlopt.configuration.yaml import read_yaml
from mlopt.recipe import catalogue
from mlopt.recipe.check import find_problem
from mlopt.recipe.steps import NO_TEACHER, THE_SOURCE, Export, Recipe, Step
from mlopt.suggestions import did_you_mean

SCHEMA = 1
LARGEST_BYTES = 1 << 16      # of a recipe file; the shipped ones have about a thousand
_LATER = {"search": "searching over a recipe's settings is not there yet: give each key one value"}


class RecipeInvalid(ConfigurationInvalid):
    """A recipe that says nothing that can be done."""


def load(path_or_name: Path | str) -> Recipe:
    """The recipe in a YAML file, or of the catalogue by its name. Raises `RecipeInvalid` with file and line."""
    source = Source(path=find(path_or_name), refusal=RecipeInvalid)
    document = read_yaml(source, most_bytes=LARGEST_BYTES)
    if document is None:
        raise source.wrong(0, "is empty. See one that works: mlopt recipes show qat-int8")
    return _recipe(document.table("a recipe is a map with schema, about and steps"))


def find(path_or_name: Path | str) -> Path:
    """The file that is meant: one that exists, or a name of the catalogue."""
    path = Path(path_or_name)
    if isinstance(path_or_name, Path) or path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise RecipeInvalid(path, 0, "there is no such file. For the shipped recipes: mlopt recipes list")
        return path
    return catalogue.path_of(path_or_name)


def _recipe(root: Table) -> Recipe:
    known = fields_of(Recipe)
    _refuse_schema(root)
    for name in _LATER.keys() & root.entries.keys():
        raise root.wrong_at(name, f"`{name}`: {_LATER[name]}")
    root.allow(known, "a recipe")
    refuse_missing(Recipe, root, "a recipe")
    steps = root.entries["steps"].items("`steps` takes a list, e.g. - distill: {epochs: 10}")
    if not steps:
        raise root.wrong_at("steps", f"`steps` is empty: name one of {', '.join(plugins.step_names())}")
    read = [_step(item) for item in steps]
    exports = root.entries["export"].items("`export` takes a list, e.g. - {to: tflite, precision: int8}") \
        if "export" in root.entries else ()
    scalars = {k: read_field(known[k], root.entries[k], texts=_text) for k in ("about", "seed") if k in root.entries}
    recipe = Recipe(
        schema=SCHEMA, steps=tuple(step for step, _ in read), export=tuple(_export(e) for e in exports), **scalars,
    )
    _refuse_order(recipe, [table for _, table in read])
    return recipe


def _refuse_schema(root: Table) -> None:
    """First of all: what another version means by a key is not known."""
    found = root.entries.get("schema")
    if found is None:
        raise root.wrong("says no schema: begin with `schema: 1`")
    if not isinstance(found, Scalar) or found.value != str(SCHEMA):
        text = found.value if isinstance(found, Scalar) else "a list or map"
        raise found.wrong(f"schema is {text}; this mlopt reads schema {SCHEMA}")


def _step(item: Value) -> tuple[Step, Table]:
    """One step, and the table of what it says."""
    if isinstance(item, Scalar):
        raise item.wrong(f"a step is a map with its settings: write `- {item.value}: {{...}}`")
    table = item.table("a step is a map from its name to its settings")
    if len(table.entries) != 1:
        named = ", ".join(table.entries) or "nothing"
        raise table.wrong(f"a step has one name; here stand {named}. Indent its settings below it, and begin each step "
                          "with a dash")
    ((name, said),) = table.entries.items()
    known = plugins.step_names()
    if name not in known:
        raise table.wrong_at(name, f"no step is called `{name}`.{did_you_mean(name, known, listed=True)}")
    if isinstance(said, Scalar) and not said.quoted and is_empty(said):
        said = Table(source=said.source, line=said.line, entries={}, lines={})
    settings = said.table(f"`{name}` takes a map of settings, e.g. {name}: {{epochs: 10}}")
    return read_settings(plugins.load_step(name), settings, f"`{name}`", texts=_text), settings


def _export(item: Value) -> Export:
    table = item.table("an export is a map, e.g. {to: tflite, precision: int8}")
    table.allow(fields_of(Export), "an export")
    refuse_missing(Export, table, "an export")
    export = read_settings(Export, table, "an export", texts=_text)
    formats = plugins.converter_names()
    if export.to not in formats:
        hint = did_you_mean(export.to, formats, listed=True)
        raise table.wrong_at("to", f"no format is called `{export.to}`.{hint}")
    precisions = [p.name for p in plugins.load_converter(export.to).precisions]
    if export.precision not in precisions:
        hint = did_you_mean(export.precision, precisions, listed=True)
        raise table.wrong_at("precision", f"{export.to} has no precision `{export.precision}`.{hint}")
    return export


def _text(field: Field, scalar: Scalar) -> str:
    """Text as it stands, but for names of models: those are files, which exist."""
    text = str(scalar.value).strip()
    if field.name == "file":
        return _model(text, scalar)
    if field.name == "teacher" and text != NO_TEACHER:
        return ",".join(_teacher(part.strip(), scalar) for part in text.split(","))
    return text


def _teacher(text: str, scalar: Scalar) -> str:
    """One of several that are averaged: the source itself, or a file."""
    if text == NO_TEACHER:
        raise scalar.wrong(f"`teacher: {NO_TEACHER}` stands alone: here are others beside it")
    if text == THE_SOURCE:
        return THE_SOURCE
    path = _model(text, scalar)
    if "," in path:
        raise scalar.wrong(f"teachers are parted by commas, and {path!r} has one: move or link that file")
    return path


def _model(text: str, scalar: Scalar) -> str:
    """A model file, a relative one taken from the recipe's folder; it exists."""
    path = scalar.source.path.parent / Path(text).expanduser()
    if not text or not path.exists():
        raise scalar.wrong(f"there is no model {str(path)!r}.{did_you_mean(text, (THE_SOURCE, NO_TEACHER))}")
    return str(path)


def _refuse_order(recipe: Recipe, tables: Sequence[Table]) -> None:
    problem = find_problem(recipe, said=[frozenset(table.entries) for table in tables])
    if problem is not None:
        raise tables[problem.step].wrong_at(problem.key, problem.sentence)
