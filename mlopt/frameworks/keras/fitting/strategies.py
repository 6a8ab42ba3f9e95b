"""Which devices work together: the framework's own engine, chosen by a task."""

from dataclasses import dataclass
from typing import Any

from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Strategy
from mlopt.frameworks.keras.fitting.student import Trainee
from mlopt.frameworks.keras.quiet import tf


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Replicas of one model; each takes its own part of a batch."""

    strategy: Any
    first: int = 0                  # number of the first replica of this process
    here: int = 1                   # replicas of this process
    writes: bool = True             # this process writes checkpoints and logs
    half_precision: bool = False
    notes: tuple[str, ...] = ()

    @property
    def replicas(self) -> int:
        return int(self.strategy.num_replicas_in_sync)

    def places(self, batch: int) -> slice:
        """Of the batch of all replicas, what this process works on."""
        return slice(self.first * batch, (self.first + self.here) * batch)

    def model_of(self, trainee: Trainee) -> Any:
        """The trainee's Keras model, its variables on the devices."""
        return trainee.keras_model


def engine(strategy: Strategy) -> Engine:
    """Raises `BadRequest` for devices that are not there."""
    if strategy in (Strategy.AUTO, Strategy.ONE):
        return Engine(strategy=tf.distribute.get_strategy())
    raise BadRequest(f"the strategy {strategy.value} cannot be used here")
