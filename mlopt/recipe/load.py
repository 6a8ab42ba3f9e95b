"""A recipe file to a `Recipe`: every key known, every value of its kind and in its range, the order sensible."""

import dataclasses
import difflib
import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from mlopt import plugins
from mlopt.recipe import catalogue
from mlopt.recipe.check import find_problem
from mlopt.recipe.document import Items, RecipeInvalid, Scalar, Table, Value, read_document
from mlopt.recipe.fields import Field, fields_of
from mlopt.recipe.steps import NO_TEACHER, THE_SOURCE, Export, Recipe, Step

SCHEMA = 1
_LATER = {"search": "searching over a recipe's settings is not there yet: give each key one value"}
_LONGEST = 40        # characters of a number
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?(0|[1-9]\d{0,17})", re.ASCII)


def load(path_or_name: Path | str) -> Recipe:
    """The recipe in a YAML file, or of the catalogue by its name. Raises `RecipeInvalid` with file and line."""
    return _Reader(find(path_or_name)).recipe()


def find(path_or_name: Path | str) -> Path:
    """The file that is meant: one that exists, or a name of the catalogue."""
    path = Path(path_or_name)
    if isinstance(path_or_name, Path) or path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise RecipeInvalid(path, 0, "there is no such file. For the shipped recipes: mlopt recipes list")
        return path
    return catalogue.path_of(path_or_name)


@dataclasses.dataclass(frozen=True)
class _Reader:
    path: Path

    def recipe(self) -> Recipe:
        known = fields_of(Recipe)
        root = self._table(read_document(self.path), "a recipe is a map with schema, about and steps")
        self._schema(root)
        self._allow(root, known, "a recipe")
        steps = self._items(root.entries["steps"], "steps", "- distill: {epochs: 10}")
        if not steps:
            raise self._wrong(root.lines["steps"], f"`steps` is empty: name one of {', '.join(plugins.step_names())}")
        read = [self._step(item) for item in steps]
        exports = self._items(root.entries["export"], "export", "- {to: tflite, precision: int8}") \
            if "export" in root.entries else ()
        scalars = {k: self._field(known[k], root.entries[k]) for k in ("about", "seed") if k in root.entries}
        recipe = Recipe(
            schema=SCHEMA, steps=tuple(step for step, _ in read), export=tuple(self._export(e) for e in exports),
            **scalars,
        )
        self._check(recipe, [table for _, table in read])
        return recipe

    def _schema(self, root: Table) -> None:
        """First of all: what another version means by a key is not known."""
        found = root.entries.get("schema")
        if found is None:
            raise self._wrong(root.line, "says no schema: begin with `schema: 1`")
        if not isinstance(found, Scalar) or found.text != str(SCHEMA):
            text = found.text if isinstance(found, Scalar) else "a list or map"
            raise self._wrong(found.line, f"schema is {text}; this mlopt reads schema {SCHEMA}")

    def _step(self, item: Value) -> tuple[Step, Table]:
        """One step, and the table of what it says."""
        if isinstance(item, Scalar):
            raise self._wrong(item.line, f"a step is a map with its settings: write `- {item.text}: {{...}}`")
        table = self._table(item, "a step is a map from its name to its settings")
        if len(table.entries) != 1:
            named = ", ".join(table.entries) or "nothing"
            raise self._wrong(table.line, f"a step has one name; here stand {named}. Indent its settings below it, "
                                          "and begin each step with a dash")
        ((name, said),) = table.entries.items()
        known = plugins.step_names()
        if name not in known:
            raise self._wrong(table.lines[name], f"no step is called `{name}`." + _nearest(name, known))
        if isinstance(said, Scalar) and not said.quoted and said.text in ("", "~", "null"):
            said = Table(entries={}, lines={}, line=said.line)
        settings = self._table(said, f"`{name}` takes a map of settings, e.g. {name}: {{epochs: 10}}")
        return self._settings(plugins.load_step(name), settings, f"`{name}`"), settings

    def _export(self, item: Value) -> Export:
        table = self._table(item, "an export is a map, e.g. {to: tflite, precision: int8}")
        export: Export = self._settings(Export, table, "an export")
        formats = plugins.converter_names()
        if export.to not in formats:
            raise self._wrong(table.lines["to"], f"no format is called `{export.to}`." + _nearest(export.to, formats))
        precisions = [p.name for p in plugins.load_converter(export.to).precisions]
        if export.precision not in precisions:
            raise self._wrong(table.lines["precision"], f"{export.to} has no precision `{export.precision}`."
                              + _nearest(export.precision, precisions))
        return export

    def _settings(self, kind: type, table: Table, where: str) -> Any:
        known = fields_of(kind)
        self._allow(table, known, where)
        return kind(**{name: self._field(known[name], value) for name, value in table.entries.items()})

    def _allow(self, table: Table, known: Collection[str], where: str) -> None:
        for name, line in table.lines.items():
            if name in _LATER and where == "a recipe":
                raise self._wrong(line, f"`{name}`: {_LATER[name]}")
            if name not in known:
                raise self._wrong(line, f"{where} has no key `{name}`." + _nearest(name, known))
        required = fields_of(Recipe) if where == "a recipe" else fields_of(Export) if where == "an export" else {}
        missing = [name for name, field in required.items() if field.required and name not in table.entries]
        if missing:
            raise self._wrong(table.line, f"{where} needs the key `{missing[0]}`: {required[missing[0]].about}")

    def _field(self, field: Field, value: Value) -> Any:
        if field.kind == "settings":
            assert field.settings is not None
            table = self._table(value, f"`{field.name}` takes a map of {', '.join(fields_of(field.settings))}")
            return self._settings(field.settings, table, f"`{field.name}`")
        if field.kind == "words":
            items = self._items(value, field.name, f"{field.name}: [{', '.join(field.choices[:2])}]")
            words = tuple(self._word(field, self._scalar(field, item)) for item in items)
            twice = next((w for i, w in enumerate(words) if w in words[:i]), None)
            if twice:
                raise self._wrong(value.line, f"`{field.name}` names {twice} twice")
            return words
        scalar = self._scalar(field, value)
        if field.kind == "word":
            return self._word(field, scalar)
        if field.kind == "text":
            return self._text(field, scalar)
        return self._number(field, scalar)

    def _scalar(self, field: Field, value: Value) -> Scalar:
        if not isinstance(value, Scalar):
            found = "a list" if isinstance(value, Items) else "a map"
            raise self._wrong(value.line, f"`{field.name}` takes {_article(field)}; got {found}")
        return value

    def _word(self, field: Field, scalar: Scalar) -> str:
        if scalar.text not in field.choices:
            raise self._wrong(scalar.line, f"`{field.name}` is {field.range_text()}; got {scalar.text[:80]!r}."
                              + _nearest(scalar.text, field.choices, listed=False))
        return scalar.text

    def _text(self, field: Field, scalar: Scalar) -> str:
        if not scalar.text.strip() or (not scalar.quoted and scalar.text in ("~", "null")):
            raise self._wrong(scalar.line, f"`{field.name}` is empty. {field.about}")
        if field.name == "file":
            return self._model(scalar.text, scalar.line)
        if field.name == "teacher" and scalar.text.strip() != NO_TEACHER:
            return ",".join(self._teacher(part, scalar.line) for part in scalar.text.split(","))
        return scalar.text.strip()

    def _teacher(self, text: str, line: int) -> str:
        """One of several that are averaged: the source itself, or a file."""
        if text.strip() == NO_TEACHER:
            raise self._wrong(line, f"`teacher: {NO_TEACHER}` stands alone: here are others beside it")
        if text.strip() == THE_SOURCE:
            return THE_SOURCE
        path = self._model(text, line)
        if "," in path:
            raise self._wrong(line, f"teachers are parted by commas, and {path!r} has one: move or link that file")
        return path

    def _model(self, text: str, line: int) -> str:
        """A model file, a relative one taken from the recipe's folder; it exists."""
        path = self.path.parent / Path(text.strip()).expanduser()
        if not text.strip() or not path.exists():
            near = _nearest(text.strip(), (THE_SOURCE, NO_TEACHER), listed=False)
            raise self._wrong(line, f"there is no model {str(path)!r}.{near}")
        return str(path)

    def _number(self, field: Field, scalar: Scalar) -> float | int:
        pattern = _WHOLE if field.kind == "whole number" else _NUMBER
        text = scalar.text
        if scalar.quoted and pattern.fullmatch(text[:_LONGEST]):
            raise self._wrong(scalar.line, f"`{field.name}` takes {_article(field)}; got text in quotes: write {text}")
        if len(text) > _LONGEST or not pattern.fullmatch(text):
            raise self._wrong(scalar.line, f"`{field.name}` takes {_article(field)}; got {text[:_LONGEST]!r}")
        number = int(text) if field.kind == "whole number" else float(text)
        if not math.isfinite(number):
            raise self._wrong(scalar.line, f"`{field.name}` takes {_article(field)}; {text} is too large")
        if not field.fits(number):
            raise self._wrong(scalar.line, f"`{field.name}` is {field.range_text()}; got {text}. {field.about}")
        return number

    def _check(self, recipe: Recipe, tables: Sequence[Table]) -> None:
        problem = find_problem(recipe, said=[frozenset(table.entries) for table in tables])
        if problem is not None:
            table = tables[problem.step]
            raise self._wrong(table.lines.get(problem.key, table.line), problem.sentence)

    def _table(self, value: Value, wanted: str) -> Table:
        if isinstance(value, Table):
            return value
        found = f"a list of {len(value.items)}" if isinstance(value, Items) else repr(value.text[:80])
        raise self._wrong(value.line, f"{wanted}; got {found}")

    def _items(self, value: Value, name: str, example: str) -> tuple[Value, ...]:
        if isinstance(value, Items):
            return value.items
        raise self._wrong(value.line, f"`{name}` takes a list, e.g. {example}")

    def _wrong(self, line: int, found: str) -> RecipeInvalid:
        return RecipeInvalid(self.path, line, found)


def _article(field: Field) -> str:
    text = f"a {field.kind}" if field.kind != "words" else "words"
    limits = field.range_text()
    return f"{text}, {limits}" if limits and not field.choices else limits or text


def _nearest(name: str, known: Collection[str], *, listed: bool = True) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f" Did you mean `{near[0]}`?"
    return f" There are {', '.join(known)}." if listed else ""
