"""What workers tell and ask while they work: tagged values, the same on both sides of the pipe."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from mlopt import plain, worker

E = TypeVar("E")


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """One of the values below."""


class Doing(Told, frozen=True):
    """What a worker is at: `done` of `total` where that is known, and how a training stands."""

    doing: str
    exporting: str = ""             # the format that is being exported
    done: int = 0
    total: int = 0
    epoch: int = 0                  # from 1; 0 where nothing is trained
    epochs: int = 0
    loss: float = float("nan")
    validation: float = float("nan")
    left_s: float = float("nan")
    stays: bool = False             # a line to read, which the next one must not take the place of


class Opened(Told, frozen=True):
    """The model's description is kept."""


class Synthesised(Told, frozen=True):
    """Inputs made from the model itself are kept."""


class Answered(Told, frozen=True):
    """The model's outputs are kept."""


class Exported(Told, frozen=True):
    """The float file of a format is kept."""

    format: str


class Refused(Told, frozen=True):
    """The model cannot be written in a format."""

    format: str
    message: str


class Begun(Told, frozen=True):
    """A precision's file is being made or proven; the next event is about it, or the worker crashed at it."""

    precision: str


class Finished(Told, frozen=True):
    """A precision's file is made and proven, or known not to make sense."""

    precision: str


class NotMade(Told, frozen=True):
    """A precision's file could not be made."""

    precision: str
    message: str


Event = Doing | Opened | Synthesised | Answered | Exported | Refused | Begun | Finished | NotMade


class SamplesWanted(Told, frozen=True):
    """A question: which samples to run the model on."""


class LatenciesWanted(Told, frozen=True):
    """A question: how long the drafts of these float files take, side by side."""

    format: str
    float_files: tuple[Path, ...]


Question = SamplesWanted | LatenciesWanted


def tell(event: Event) -> None:
    """Tell the caller; outside a worker, nobody."""
    worker.emit(**plain.to_plain(event))


def ask(question: Question) -> object:
    """Wait for the caller's answer, as plain values. Only in a worker."""
    return worker.ask(plain.to_plain(question))


def heard(hear: Callable[[Event], None]) -> Callable[[dict[str, object]], None]:
    """For `Crew.run`: what hears a worker's events as values."""
    return lambda told: hear(plain.from_plain(told, Event))     # type: ignore[arg-type]  # a union is no type to mypy


def answered(answer: Callable[[Question], object]) -> Callable[[object], object]:
    """For `Crew.run`: what answers a worker's questions."""
    return lambda asked: answer(plain.from_plain(asked, Question))     # type: ignore[arg-type]  # as above
