"""What a framework brings to a training: the arithmetic of its steps. `mlopt.training` decides everything else: the
order of samples, epochs, learning rates, early stopping, checkpoints and what is told of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import numpy as np

from mlopt.data.samples import Samples
from mlopt.frameworks.fitting import FitTask, Hold

Placed = TypeVar("Placed")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A task with its samples opened and found to fit the model."""

    task: FitTask
    train: Samples
    validation: Samples | None
    mirrors: str                            # the input that an output without labels is held to; "" for none
    stored: Mapping[str, np.ndarray]        # outputs of teachers by name of the output, a row a training sample


class Figure(StrEnum):
    """What epochs are compared by."""

    ACCURACY = "accuracy"
    MINUS_LOSS = "minus the loss"
    MINUS_DISTANCE = "minus the distance to the teacher"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Steps:
    """Consecutive steps of one epoch, counted from the start of the training."""

    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Batches:
    """What steps read, as it is stored: arrays [steps, rows of this process, ...]."""

    inputs: Mapping[str, np.ndarray]        # by name of the input; `Samples.as_seen` says how a model sees them
    teacher: Mapping[str, np.ndarray]       # rows of `Lesson.stored`
    labels: np.ndarray | None               # None where no loss reads them


Told = tuple[Steps, np.ndarray]
"""Steps that are done and their losses, float [steps, parts]."""


class Peers:
    """The processes that train together. These are the answers of a process that trains alone."""

    writes: bool = True             # whether this process writes checkpoints and logs
    steps_per_call: int = 0         # where all must agree on it; 0: as many as take a quarter of a second

    def decided(self, flag: bool) -> bool:
        """What all of them do; all ask at the same time."""
        return flag

    def all_same(self, number: int) -> bool:
        """Whether every process has this number."""
        return True


class Stepper(Protocol[Placed]):
    """A model that is trained, with its losses, its optimizer and the devices that it is on.

    The same state, steps and samples give the same state, bit for bit. Arrays go in and out by name.
    """

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the losses that `run` gives, "total" last."""
        ...

    @property
    def replicas(self) -> int:
        """How many batches of `FitTask.batch` samples make one step."""
        ...

    @property
    def working(self) -> int:
        """How many parts of the samples are worked on at a time, for the report; more than `replicas` where workers
        step on their own.
        """
        ...

    @property
    def places(self) -> slice:
        """Of the samples of one step, which this process works on."""
        ...

    @property
    def peers(self) -> Peers: ...

    @property
    def measures(self) -> Figure:
        """What `figure` is."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of this training, in sentences."""
        ...

    @property
    def ready(self) -> bool:
        """False where the next `run` builds something first, so that it says nothing about the time of a step."""
        ...

    def place(self, batches: Batches) -> Placed:
        """Bring samples to where the steps read them. Called ahead of the steps, in a thread of its own."""
        ...

    def run(self, steps: Steps, rates: Sequence[float], placed: Placed) -> Iterator[Told]:
        """Make these steps, each with its learning rate; what is told are those that are done, in order."""
        ...

    def drained(self) -> Iterator[Told]:
        """Wait for steps that `run` began and has not told of."""
        ...

    def figure(self) -> float:
        """Of the validation samples, higher is better; nan where nothing can be measured."""
        ...

    def weights(self) -> dict[str, np.ndarray]:
        """By their names in the network and as it computes with them, rounding left out: for a `Holder`."""
        ...

    def hold(self, holds: Mapping[str, Hold], *, now: bool) -> None:
        """After each step from here on, and with `now` at once, make these true; others are no longer held."""
        ...

    def values(self) -> dict[str, np.ndarray]:
        """Copies of all that belongs to the model, by name: every name of the network is in it, statistics too."""
        ...

    def optimizer(self) -> dict[str, np.ndarray]:
        """Copies of all else that the next step depends on, by name."""
        ...

    def restore(self, values: Mapping[str, np.ndarray], optimizer: Mapping[str, np.ndarray] | None = None) -> None:
        """Go back to what `values` and `optimizer` gave; without the latter the model alone goes back."""
        ...

    def deliver(self) -> None:
        """Give the model that the training began with its values as they stand."""
        ...


AnyStepper = Stepper[Any]
