"""A trained, or trainable, model at the edge: one protocol, and each framework behind its door, imported late."""

from typing import TYPE_CHECKING, cast

from mlopt import plain, plugins
from mlopt.errors import BadRequest, ModelUnreadable
from mlopt.location import ModelLocation

if TYPE_CHECKING:       # doors lie beneath this room: asking for one imports no arrays
    from mlopt.frameworks.door import CheckDevices, Framework, Open, OpenTrainable
    from mlopt.frameworks.fitting import Strategy
    from mlopt.frameworks.protocol import TrainableModel, TrainedModel


def of(location: ModelLocation) -> "Framework":
    """The door of the framework that opens what lies there; light, for callers.

    Raises `ModelUnreadable`, saying what was found and what mlopt takes, where none does.
    """
    doors = [plugins.load_framework(name) for name in plugins.framework_names()]
    refusals: list[ModelUnreadable] = []
    for door in doors:
        try:
            door.check(location)
        except ModelUnreadable as err:
            refusals.append(err)
        else:
            return door
    if len(refusals) == 1:
        raise refusals[0]
    taken = f"mlopt takes {', or '.join(door.takes for door in doors)}."
    raise ModelUnreadable(location.path, refusals[0].found if refusals else "no framework is installed", taken)


def open_model(location: ModelLocation) -> "TrainedModel":
    """Open a trained model by its framework, see `mlopt.frameworks.door.Open`. Imports it: for its own workers."""
    return cast("Open", plain.resolve(of(location).open))(location)


def open_trainable(location: ModelLocation) -> "TrainableModel":
    """Open a model that can be taken apart and trained, see `OpenTrainable`. Imports its framework: for its workers."""
    door = of(location)
    if not door.open_trainable:
        raise BadRequest(f"{location.path}: {door.name} models are not trained here. Compress it without a recipe.")
    return cast("OpenTrainable", plain.resolve(door.open_trainable))(location)


def check_devices(location: ModelLocation, strategy: "Strategy") -> None:
    """Raise `BadRequest` where the devices of a strategy are not there. Imports the framework: for its workers."""
    door = of(location)
    if door.check_devices:
        cast("CheckDevices", plain.resolve(door.check_devices))(strategy)
    elif strategy.value not in ("auto", "one"):
        raise BadRequest(f"--strategy {strategy}: {door.name} trains on one device alone. Leave it out.")
