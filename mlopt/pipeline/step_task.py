"""One step of a recipe, as the caller asks for it; and the names of what it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlopt.frameworks.fitting import Strategy
from mlopt.location import ModelLocation

MODEL = "model"                  # the folder in a step's own that `TrainableModel.save` wrote
HOLDS = "holds.npz"
RECORD = "step.json"


@dataclass(frozen=True, kw_only=True)
class Later:
    """A step that follows: what it would be refused for is said before this one trains."""

    number: int                          # in the recipe, from 1
    name: str
    settings: Mapping[str, Any]          # plain


@dataclass(frozen=True, kw_only=True)
class StepTask:
    """What to do to which model, and where its result goes."""

    number: int                          # in the recipe, from 1
    name: str
    settings: Mapping[str, Any]          # plain
    later: tuple[Later, ...]
    model: ModelLocation                 # the source, or what the last step left
    holds: Path | None                   # what the last step left
    validation_before: float | None      # of `model`, where the last step has measured it; it may be nan
    source: ModelLocation                # what the run began with
    framework: str                       # the name of the door that opens it
    train: Path                          # folders of samples
    validation: Path
    work: Path                           # half-done work: kept when this process is killed
    logs: Path
    dest: Path
    seed: int
    strategy: Strategy
    track: str
