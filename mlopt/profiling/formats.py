"""Which formats can be measured where, by their doors."""

from pathlib import Path

from mlopt import plugins
from mlopt.convert.protocol import Place


def measurable(place: Place = Place.HOST) -> tuple[str, ...]:
    """Names of the formats whose files can be measured there, those first whose doors say so first."""
    doors = [plugins.load_converter(name) for name in plugins.converter_names()]
    return tuple(door.name for door in sorted(doors, key=lambda door: -door.takes_longest) if place in door.places)


def endings(place: Place = Place.HOST) -> str:
    """The endings of such files, for a sentence."""
    return ", ".join(plugins.load_converter(name).suffix for name in measurable(place))


def format_of(file: Path, place: Place = Place.HOST) -> str | None:
    """The format of a file that can be measured there, by its name; None where it cannot."""
    found = plugins.format_of(file)
    return found if found in measurable(place) else None
