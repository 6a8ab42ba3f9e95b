"""One fresh process on a target, checked before its numbers count: a lost or a broken measurement is never a pass."""

import math
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

from mlopt import plain, plugins
from mlopt.errors import MloptError
from mlopt.gate.budget import LatencyBudget
from mlopt.profiling.contract import Arrival, RunRequest, RunResult
from mlopt.profiling.target import Target


class Measure(Protocol):
    """One fresh process of a file; with `beside`, of two that take turns in it, in an order drawn from `order_seed`."""

    def __call__(self, file: Path, *, beside: Path | None = None, order_seed: int = 0) -> RunResult: ...


Measures = Callable[[str, RunRequest], Measure]    # how a target measures under the conditions of a request
_OPEN_TARGET = "mlopt.profiling.targets:open_target"


class MeasurementFailed(MloptError):
    """Nothing that counts came back; the gate goes on and exits with 3."""

    def __init__(self, target: str, file: Path | str, found: str) -> None:
        self.target, self.file, self.found = target, str(file), found
        super().__init__(f"{file} on {target}: {found}")


class Targets:
    """Targets by their names, each opened once, when something is first measured there."""

    def __init__(self) -> None:
        self._open: dict[str, Target] = {}

    def __call__(self, name: str, request: RunRequest) -> Measure:
        """The `Measures` of real targets."""
        def measure(file: Path, *, beside: Path | None = None, order_seed: int = 0) -> RunResult:
            asked = replace(request, nonce=secrets.token_hex(8), format=format_of(file), order_seed=order_seed)
            return checked(self.get(name).measure(file, asked, beside), asked, name, file)

        return measure

    def get(self, name: str) -> Target:
        if name not in self._open:
            open_target = cast("Callable[[str], Target]", plain.resolve(_OPEN_TARGET))
            self._open[name] = open_target(name)
        return self._open[name]


def format_of(file: Path) -> str:
    """By the name's ending; raises `MeasurementFailed` where no runtime here reads it."""
    found = plugins.format_of(file)
    if found is None:
        raise MeasurementFailed("every target", file, f"no runtime reads *{file.suffix or ' without an ending'}; "
                                f"there are {', '.join(plugins.suffixes())}")
    return found


def checked(result: RunResult, request: RunRequest, target: str, file: Path) -> RunResult:
    """`result`, or `MeasurementFailed` where it is another request's, an error, or holds no times.

    A request for memory may come back without times: an emulated board has none to give.
    """
    found = ""
    if result.error:
        found = result.error
    elif result.nonce != request.nonce:
        found = "the answer belongs to another request"
    elif not request.memory and not result.samples_us:
        found = "no run was timed" + "".join(f"; {note}" for note in result.notes)
    elif not all(math.isfinite(s) and s > 0 for s in (*result.samples_us, *result.beside_samples_us)):
        found = "a time is not above 0"
    elif result.beside_samples_us and (result.burst < 1 or len(result.beside_samples_us) != len(result.samples_us)):
        found = "the times of two files in turns do not belong together"
    if found:
        raise MeasurementFailed(target, file, found)
    return result


def latency_request(entry: LatencyBudget) -> RunRequest:
    """Times alone, under the budget's conditions; file, format and nonce are filled in for each process."""
    return RunRequest(
        file="", format="", nonce="", threads=entry.threads, cpus=entry.cpus,
        arrival=Arrival.FIXED_RATE if entry.rate_hz else Arrival.BACK_TO_BACK, rate_hz=entry.rate_hz, runs=entry.runs,
        most_seconds=entry.most_seconds, memory=False,
    )


def why_apart(entry: LatencyBudget, new: Path, baseline: Path) -> str:
    """Why these two files cannot take turns in one process; "" where they can."""
    if entry.rate_hz:
        return "at a fixed rate one file would wait for the other"
    if entry.threads > 1:
        return "a runtime's threads go on turning for a while after an inference, and would slow the other file"
    if format_of(new) != format_of(baseline):
        return "they need two runtimes"
    return ""


def memory_request() -> RunRequest:
    """Memory and counts; the few runs are there so that lazy allocations have happened."""
    return RunRequest(file="", format="", nonce="", runs=5, most_seconds=5.0)
