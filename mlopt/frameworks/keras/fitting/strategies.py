"""Which devices work together: the framework's own engine, chosen by a task."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Strategy
from mlopt.frameworks.keras.fitting.student import Trainee
from mlopt.frameworks.keras.network.building import build
from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.stepper import Peers, Steps, Told


@dataclass(frozen=True, kw_only=True)
class Engine(Peers):
    """Replicas of one model; each takes its own part of a batch."""

    strategy: Any
    first: int = 0                  # number of the first replica of this process
    here: int = 1                   # replicas of this process
    writes: bool = True             # this process writes checkpoints and logs
    notes: tuple[str, ...] = ()

    steps_per_call: int = 0         # 0: as many as take a quarter of a second
    _functions: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def working(self) -> int:
        """How many parts of the samples are worked on at a time."""
        return self.replicas

    def caller(self) -> "Caller":
        return Synchronous()

    @property
    def replicas(self) -> int:
        return int(self.strategy.num_replicas_in_sync)

    def places(self, batch: int) -> slice:
        """Of the batch of all replicas, what this process works on."""
        return slice(self.first * batch, (self.first + self.here) * batch)

    def live(self, trainee: Trainee) -> tuple[Any, Mapping[str, Any] | None]:
        """The trainee's Keras model, its variables on the devices, and its symbolic tensors by node.

        Called in the strategy's scope. Where that needs variables of its own, they are those of a twin.
        """
        built = getattr(trainee, "built", None)
        if not tf.distribute.has_strategy():
            return trainee.keras_model, None if built is None else built.tensors
        plan = getattr(trainee, "plan", None)
        if plan is None:
            raise BadRequest("this model has no plan to build replicas from: train it with --strategy one")
        twin = build(plan)
        for copy, own in zip(twin.model.weights, trainee.keras_model.weights, strict=True):
            copy.assign(own.numpy())
        return twin.model, twin.tensors


class Caller(Protocol):
    """Who calls the graph."""

    def call(self, function: Any, steps: Steps, arguments: tuple[Any, ...]) -> Iterator[Told]:
        """Make a call; losses [steps, parts] of those that are done, in the order in which they were made."""
        ...

    def drained(self) -> Iterator[Told]:
        """Those of all others, once they are done."""
        ...


class Synchronous:
    """Calls that are done when they return."""

    def call(self, function: Any, steps: Steps, arguments: tuple[Any, ...]) -> Iterator[Told]:
        yield steps, np.asarray(function(*arguments).numpy())

    def drained(self) -> Iterator[Told]:
        return iter(())


def check(strategy: Strategy) -> None:
    """Raise `BadRequest` for devices that are not there."""
    if strategy is Strategy.TPU and not tf.config.list_logical_devices("TPU"):
        raise BadRequest("no TPU is here: train with --strategy auto, or on a machine that has one")


def engine(strategy: Strategy) -> Engine:
    """Of the devices of this process; raises `BadRequest` for devices that are not there."""
    check(strategy)
    gpus, cpus = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    if strategy is Strategy.TPU:
        return Engine(strategy=tf.distribute.TPUStrategy(), notes=("a TPU was never seen by this program's tests",))
    if strategy is Strategy.ONE or (strategy is Strategy.AUTO and len(gpus) < 2):
        return Engine(strategy=tf.distribute.get_strategy())
    devices = [device.name for device in (gpus or cpus)]
    if strategy in (Strategy.AUTO, Strategy.MIRRORED):
        if len(devices) == 1:
            only = "this machine has one device to mirror on: the training runs on it alone"
            return Engine(strategy=tf.distribute.get_strategy(), notes=(only,))
        return Engine(strategy=tf.distribute.MirroredStrategy(devices), here=len(devices))
    raise BadRequest(f"the strategy {strategy.value} needs processes of its own: see `remote`")
