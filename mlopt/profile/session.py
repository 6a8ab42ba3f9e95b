"""Profile files on a target: one fresh process for times and memory, another for operators, and a count where asked."""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlopt import files, plain
from mlopt.profile.contract import Arrival, DeviceFacts, MemoryBytes, OperatorTime, PhaseTimes, RunRequest, RunResult
from mlopt.profile.instructions import PLACES, Instructions, count
from mlopt.profile.statistics import Distribution, summarise
from mlopt.profile.target import Target, TargetUnusable
from mlopt.profile.targets import open_target
from mlopt.report import UNKNOWN

FORMATS = {".tflite": "tflite", ".onnx": "onnx"}
SCHEMA = 1

OnStep = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Under which conditions inferences are timed."""

    threads: int = 1
    cpus: tuple[int, ...] = ()
    rate_hz: float = 0.0               # 0: back to back
    runs: int = 700                    # p99 needs 662
    instructions: tuple[str, ...] = ()     # of mlopt.profile.instructions.PLACES
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class FileProfile:
    """What one file takes on one target. Raw times are kept: the rest can be worked out from them again."""

    file: str
    sha256: str
    target: str
    facts: DeviceFacts
    phases: PhaseTimes
    distribution: Distribution
    samples_us: tuple[float, ...]
    memory: MemoryBytes
    operators: tuple[OperatorTime, ...]
    operators_sum_us: float                # of the profiled runs; compare with distribution.p50
    instructions: tuple[Instructions, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What `mlopt profile` found."""

    settings: Settings
    profiles: tuple[FileProfile, ...]
    schema: int = SCHEMA


@dataclass(frozen=True, kw_only=True)
class Change:
    """One operation of two files; the side where it is missing is nan."""

    operation: str
    before_us: float
    after_us: float

    @property
    def difference_us(self) -> float:
        """After minus before, a missing side taken as no time at all."""
        return _or_zero(self.after_us) - _or_zero(self.before_us)


def profile(paths: Sequence[Path], on: str, settings: Settings, on_step: OnStep) -> Profile:
    """Profile each file on the target that `on` names; raises `TargetUnusable` or `TargetLost`."""
    target = open_target(on)
    return Profile(settings=settings, profiles=tuple(_one(path, target, settings, on_step) for path in paths))


def compare(before: FileProfile, after: FileProfile) -> tuple[Change, ...]:
    """Operations of the same name in the same place, the largest difference first.

    Two files of one network run the same operations in the same order until one fuses what the other does not; the
    n-th "Convolution" of one is then the n-th of the other.
    """
    old, new = _by_operation(before.operators), _by_operation(after.operators)
    changes = [
        Change(operation=name, before_us=old.get(name, UNKNOWN), after_us=new.get(name, UNKNOWN))
        for name in dict.fromkeys((*old, *new))
    ]
    return tuple(sorted(changes, key=lambda c: -abs(c.difference_us)))


def _one(path: Path, target: Target, settings: Settings, on_step: OnStep) -> FileProfile:
    if not path.is_file():
        raise TargetUnusable(target.name, f"there is no file {path}", "Give an exported .tflite or .onnx file.")
    if path.suffix not in FORMATS:
        raise TargetUnusable(target.name, f"no runtime reads {path.name}", f"Give one of {', '.join(FORMATS)}.")
    request = RunRequest(
        file="", format=FORMATS[path.suffix], nonce="", threads=settings.threads, cpus=settings.cpus,
        arrival=Arrival.FIXED_RATE if settings.rate_hz else Arrival.BACK_TO_BACK, rate_hz=settings.rate_hz,
        runs=settings.runs, seed=settings.seed,
    )
    unknown = [place for place in settings.instructions if place not in PLACES]
    if unknown:
        raise TargetUnusable(", ".join(unknown), "no instructions are counted there", f"Give {', '.join(PLACES)}.")
    on_step(f"{path.name}: times and memory on {target.name}")
    timed = _measured(target, path, request)
    on_step(f"{path.name}: operators on {target.name}")
    profiled = _measured(target, path, replace(request, operators=True, memory=False, runs=min(settings.runs, 200)))
    counts, notes = _counts(path, settings, on_step)
    return FileProfile(
        file=str(path), sha256=files.digest(path), target=target.name, facts=timed.facts, phases=timed.phases,
        distribution=summarise(timed), samples_us=timed.samples_us, memory=timed.memory, operators=profiled.operators,
        operators_sum_us=sum(op.mean_us for op in profiled.operators) if profiled.operators else UNKNOWN,
        instructions=counts, notes=tuple(dict.fromkeys((*timed.notes, *profiled.notes, *notes))),
    )


def _measured(target: Target, path: Path, request: RunRequest) -> RunResult:
    result = target.measure(path, replace(request, nonce=secrets.token_hex(8)))
    if result.error:
        raise TargetUnusable(target.name, f"{path.name} was not measured: {result.error}")
    return result


def _counts(path: Path, settings: Settings, on_step: OnStep) -> tuple[tuple[Instructions, ...], tuple[str, ...]]:
    """Instructions on each processor asked for; one that cannot be counted is told."""
    counted, notes = [], []
    for processor in settings.instructions:
        on_step(f"{path.name}: instructions on {processor}")
        try:
            counted.append(count(path, processor, seed=settings.seed))
        except TargetUnusable as err:
            notes.append(f"no instructions on {processor}: {err}")
    return tuple(counted), tuple(notes)


def _by_operation(operators: Sequence[OperatorTime]) -> dict[str, float]:
    """Mean time by "name #n", the n-th operation of that name in the order of execution.

    The runtime's names are taken, not the layers': exported files keep few of those.
    """
    seen: dict[str, int] = {}
    found = {}
    for operator in sorted(operators, key=lambda op: op.index):
        seen[operator.name] = seen.get(operator.name, 0) + 1
        found[f"{operator.name} #{seen[operator.name]}"] = operator.mean_us
    return found


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def to_plain(found: Profile) -> dict[str, object]:
    """Plain values for JSON; an unknown number is None."""
    made = _without_nan(plain.to_plain(found))
    assert isinstance(made, dict)
    return made


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
