"""Plug-ins by entry point: names without importing anything, then one loaded at a time."""

import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from mlopt.errors import MloptError
from mlopt.suggestions import did_you_mean

if TYPE_CHECKING:   # the protocol stands below this file in the import order
    from mlopt.convert.protocol import Converter
    from mlopt.frameworks.door import Framework
    from mlopt.recipe.steps import Step

CONVERTERS = "mlopt.converters"
FRAMEWORKS = "mlopt.frameworks"
RECIPES = "mlopt.recipes"
STEPS = "mlopt.steps"


class UnknownPlugin(MloptError):
    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        self.kind, self.name, self.known = kind, name, known
        hint = did_you_mean(name, known, mark="'")
        super().__init__(f"no {kind} is called {name!r}; there are {', '.join(known)}.{hint}")


def _loaded(group: str, kind: str, name: str) -> object:
    """What an entry point names; raises `UnknownPlugin`."""
    found = _entry_points(group)
    if name not in found:
        refuse_unknown(kind, name, sorted(found))
    return found[name].load()


def framework_names() -> list[str]:
    return sorted(_entry_points(FRAMEWORKS))


def load_framework(name: str) -> "Framework":
    """The door of that framework; raises `UnknownPlugin` with the nearest known name."""
    door = cast("type[Framework]", _loaded(FRAMEWORKS, "framework", name))
    return door()


def framework_imports() -> dict[str, frozenset[str]]:
    """Top-level packages of each framework, by its door's name."""
    return {name: load_framework(name).imports for name in framework_names()}


def converter_names() -> list[str]:
    return sorted(_entry_points(CONVERTERS))


def load_converter(name: str) -> "Converter":
    """The door of that format; raises `UnknownPlugin` with the nearest known name."""
    door = cast("type[Converter]", _loaded(CONVERTERS, "format", name))
    return door()


def step_names() -> list[str]:
    return sorted(_entry_points(STEPS))


def load_step(name: str) -> "type[Step]":
    """The door of that step: the class of its settings. Raises `UnknownPlugin` with the nearest known name."""
    return cast("type[Step]", _loaded(STEPS, "step", name))


def steps() -> "dict[str, type[Step]]":
    """Every step's door by its name."""
    return {name: load_step(name) for name in step_names()}


def format_of(file: Path) -> str | None:
    """The format that reads files of that name; None where none does."""
    for name in converter_names():
        door = load_converter(name)
        if any(file.name.endswith(suffix) for suffix in (door.suffix, *door.other_suffixes)):
            return name
    return None


def suffixes() -> tuple[str, ...]:
    """Of all files that a format reads."""
    doors = map(load_converter, converter_names())
    return tuple(suffix for door in doors for suffix in (door.suffix, *door.other_suffixes))


def sources() -> dict[str, Path]:
    """The folder, or the one file, of each package that plugs code in; nothing is imported."""
    points = [point for group in (CONVERTERS, FRAMEWORKS, STEPS) for point in _entry_points(group).values()]
    return _places({point.module.partition(".")[0] for point in points} - {"mlopt"})


def recipe_folders() -> dict[str, Path]:
    """The folder of each package that ships recipes, by the package's name; nothing is imported."""
    places = _places({point.module for point in _entry_points(RECIPES).values()})
    return {name: path for name, path in places.items() if path.is_dir()}


def _places(packages: set[str]) -> dict[str, Path]:
    specs = {name: importlib.util.find_spec(name) for name in sorted(packages)}
    return {
        name: Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        for name, spec in specs.items() if spec is not None and spec.origin
    }


def refuse_unknown(kind: str, name: str, known: list[str]) -> NoReturn:
    raise UnknownPlugin(kind, name, known)


def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
