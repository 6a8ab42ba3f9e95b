"""Which format the steps of a recipe time narrower networks in, settled before any work starts."""

from dataclasses import replace

from mlopt import extras, frameworks, plugins
from mlopt.convert.protocol import Converter, Place
from mlopt.errors import BadRequest, MissingExtra
from mlopt.location import ModelLocation
from mlopt.recipe.steps import Recipe


def with_formats(recipe: Recipe, model: ModelLocation) -> Recipe:
    """The recipe with a format named in every step that times networks.

    Raises `BadRequest`, `UnknownPlugin` or `MissingExtra` where it names one that cannot be timed here.
    """
    steps = tuple(
        step if step.timed_in is None else step.timing(timed_format(step.timed_in, frameworks.of(model).name).name)
        for step in recipe.steps
    )
    return replace(recipe, steps=steps)


def timed_format(asked: str, framework: str) -> Converter:
    """The format of that name, or the first installed one where none is asked for.

    It can be timed on this machine, drafts an int8 file in a moment, and has an exporter for the framework's models.
    """
    doors = sorted(map(plugins.load_converter, plugins.converter_names()), key=lambda door: -door.takes_longest)
    able = [door for door in doors if Place.HOST in door.places and door.draft and framework in door.exporters]
    names = " and ".join(door.name for door in able) or "none"
    purpose = "`slim: {latency: ...}`"
    if asked:
        door = plugins.load_converter(asked)
        if door.name not in [each.name for each in able]:
            raise BadRequest(f"{purpose} cannot time {asked} files of {framework} models on this machine; of the "
                             f"formats it can time {names}: name one in `format`, or take macs, parameters or bytes")
        extras.require(door.extra, f"{purpose} in {door.name}")
        return door
    for door in able:
        if not extras.missing(door.extra):
            return door
    if not able:
        raise BadRequest(f"no format of {framework} models can be timed here, so {purpose} has nothing to measure: "
                         "take macs, parameters or bytes")
    raise MissingExtra(able[0].extra, extras.missing(able[0].extra), purpose)
