"""Recipes that packages ship, found by entry point: ours come in through the same door as anyone else's.

A package with recipes names itself in the group `mlopt.recipes`; every .yaml in its folder is a recipe, called by its
path without the suffix.
"""

from pathlib import Path

from mlopt import plugins
from mlopt.errors import BadRequest
from mlopt.suggestions import did_you_mean


def recipe_files() -> dict[str, Path]:
    """Files by name, sorted. Where two packages have the same name, each is called "package/name"."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for package, folder in plugins.recipe_folders().items():
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            found.setdefault(name, []).append((package, path))
    named = {
        name if len(places) == 1 else f"{package}/{name}": path
        for name, places in found.items() for package, path in places
    }
    return dict(sorted(named.items()))


def path_of(name: str) -> Path:
    """The file of a shipped recipe. Raises `BadRequest` with the nearest known name."""
    files = recipe_files()
    if name not in files:
        hint = did_you_mean(name, files, mark="'") or f" There are {', '.join(files)}, or give a .yaml file."
        raise BadRequest(f"no recipe is called {name!r}.{hint}")
    return files[name]
