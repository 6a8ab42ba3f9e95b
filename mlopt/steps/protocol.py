"""What every step takes and gives: a model in, a model out, and what was done, in words and numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlopt.frameworks.fitting import FitResult, Hold, Holder, Loss, OnEvent, Strategy
from mlopt.frameworks.protocol import GriddedModel, TrainableModel
from mlopt.grid import Grid
from mlopt.location import ModelLocation

Latencies = Callable[[Sequence[Path]], list[float]]
"""Microseconds of one int8 inference on this machine for models saved in folders, measured side by side."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a step works with. `holds` are kept by every later step."""

    model: TrainableModel
    source: ModelLocation                   # what the run began with: the default teacher
    train: Path                             # folder of samples
    validation: Path                        # another, split off before; choices are made on it, never on the test
    work: Path                              # this step's own folder: checkpoints and half-done work outlive a kill here
    seed: int
    holds: Mapping[str, Hold] = field(default_factory=dict)
    strategy: Strategy = Strategy.AUTO
    track: str = ""
    logs: Path | None = None                # TensorBoard event files
    on_event: OnEvent
    open_model: Callable[[ModelLocation], TrainableModel]     # another of this framework: a student, half-done work
    latencies: Latencies | None = None      # None where nothing can be timed


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a network weighs before anything is exported."""

    macs: int
    parameters: int
    nonzero: int


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished step."""

    model: TrainableModel
    holds: Mapping[str, Hold] = field(default_factory=dict)
    grid: Grid | None = None                # of a step that leaves one, with the model that still rounds
    gridded: GriddedModel | None = None
    fits: tuple[FitResult, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)       # plain values, for the report
    notes: tuple[str, ...] = ()


class Train(Protocol):
    """Train a model in place, so many epochs, as the step's settings say; the name tells trainings of a step apart.

    The holds of earlier steps are kept, or `holds` in their place; a schedule and further losses come on top.
    """

    def __call__(
        self, model: TrainableModel, epochs: int, name: str, *, holder: Holder | None = None,
        losses: Sequence[Loss] = (), freeze: Sequence[str] = (), holds: Mapping[str, Hold] | None = None,
    ) -> FitResult: ...


class Apply(Protocol):
    """What a step does: the function that its door names in `apply`.

    It raises `BadRequest` for settings that cannot work before it trains. Half-done work lies in `context.work`:
    started again after a kill, it goes on from there. The same seed leaves the same weights.
    """

    def __call__(self, settings: Any, context: Context, train: Train) -> Done: ...


class Check(Protocol):
    """What a step's door names in `check`: raise `BadRequest` for what cannot work on the context's network.

    It is asked before an earlier step trains, and changes nothing.
    """

    def __call__(self, settings: Any, context: Context) -> None: ...
