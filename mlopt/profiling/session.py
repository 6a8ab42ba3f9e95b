"""Profile files on a target: one fresh process for times and memory, another for operators, and a count where asked."""

import itertools
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mlopt import files, plain
from mlopt.profiling.contract import Arrival, DeviceFacts, MemoryBytes, OperatorTime, PhaseTimes, RunRequest, RunResult
from mlopt.profiling.energy import NOT_TOLD, Energy, energy_of
from mlopt.profiling.formats import endings, format_of
from mlopt.profiling.instructions import PLACES, Instructions, count
from mlopt.profiling.shares import Share, by_unit, kind
from mlopt.profiling.statistics import TimeSummary, summarise
from mlopt.profiling.target import Target, TargetUnusable
from mlopt.profiling.targets import open_target
from mlopt.report import UNKNOWN

SCHEMA = 1

@dataclass(frozen=True, kw_only=True)
class Step:
    """What is about to be measured, for whoever waits: one process each."""

    file: str
    doing: str                         # "times and memory", "operators", "instructions on cortex-a72"
    on: str                            # the target
    number: int                        # from 1
    total: int


OnStep = Callable[[Step], None]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Under which conditions inferences are timed."""

    threads: int = 1
    cpus: tuple[int, ...] = ()
    rate_hz: float = 0.0               # 0: back to back
    runs: int = 700                    # p99 needs 662
    instructions: tuple[str, ...] = ()     # of mlopt.profiling.instructions.PLACES
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class FileProfile:
    """What one file takes on one target. Raw times are kept: the rest can be worked out from them again."""

    file: str
    sha256: str
    target: str
    facts: DeviceFacts
    phases: PhaseTimes
    distribution: TimeSummary
    samples_us: tuple[float, ...]
    memory: MemoryBytes
    operators: tuple[OperatorTime, ...]
    operators_sum_us: float                # what `operators` add up to; compare with operators_plain_us
    operators_plain_us: float = UNKNOWN    # an inference without profiling, in turns with those in the same process
    operators_invoke_us: float = UNKNOWN   # an inference with profiling: the difference is what profiling costs
    units: tuple[Share, ...] = ()          # the operators' time by what executed them
    energy: Energy = NOT_TOLD
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
    _check(paths, target.name, settings)
    numbers, total = itertools.count(1), len(paths) * (2 + len(settings.instructions))

    def announce(path: Path, doing: str) -> None:
        on_step(Step(file=path.name, doing=doing, on=target.name, number=next(numbers), total=total))

    profiles = tuple(_one(path, target, settings, partial(announce, path)) for path in paths)
    return Profile(settings=settings, profiles=profiles)


def compare(before: FileProfile, after: FileProfile) -> tuple[Change, ...]:
    """Operations of the same kind in the same place, the largest difference first.

    Two files of one network run the same operations in the same order until one fuses what the other does not; the
    n-th CONV_2D of one is then the n-th of the other, whatever kernel the runtime took for it.
    """
    old, new = _by_operation(before.operators), _by_operation(after.operators)
    changes = [
        Change(operation=name, before_us=old.get(name, UNKNOWN), after_us=new.get(name, UNKNOWN))
        for name in dict.fromkeys((*old, *new))
    ]
    return tuple(sorted(changes, key=lambda c: -abs(c.difference_us)))


def _check(paths: Sequence[Path], target: str, settings: Settings) -> None:
    """Refuse what cannot be measured before anything is: a mistake in the last name costs no minutes."""
    for path in paths:
        if not path.is_file():
            raise TargetUnusable(target, f"there is no file {path}", f"Give an exported file: {endings()}.")
        if format_of(path) is None:
            raise TargetUnusable(target, f"no runtime reads {path.name}", f"Give one of {endings()}.")
    unknown = [place for place in settings.instructions if place not in PLACES]
    if unknown:
        raise TargetUnusable(", ".join(unknown), "no instructions are counted there", f"Give {', '.join(PLACES)}.")


def _one(path: Path, target: Target, settings: Settings, announce: Callable[[str], None]) -> FileProfile:
    request = RunRequest(
        file="", format=format_of(path) or "", nonce="", threads=settings.threads, cpus=settings.cpus,
        arrival=Arrival.FIXED_RATE if settings.rate_hz else Arrival.BACK_TO_BACK, rate_hz=settings.rate_hz,
        runs=settings.runs, seed=settings.seed,
    )
    announce("times and memory")
    timed = _measured(target, path, request)
    announce("operators")
    profiled = _measured(target, path, replace(request, operators=True, memory=False, runs=min(settings.runs, 200)))
    counts, notes = _counts(path, settings, announce)
    return FileProfile(
        file=str(path), sha256=files.digest(path), target=target.name, facts=timed.facts, phases=timed.phases,
        distribution=summarise(timed), samples_us=timed.samples_us, memory=timed.memory, operators=profiled.operators,
        operators_sum_us=sum(op.mean_us for op in profiled.operators) if profiled.operators else UNKNOWN,
        operators_plain_us=_number(profiled.extra.get("operators_plain_us", "")),
        operators_invoke_us=profiled.operators_invoke_us, units=by_unit(profiled.operators), energy=energy_of(timed),
        instructions=counts, notes=tuple(dict.fromkeys((*timed.notes, *profiled.notes, *notes))),
    )


def _measured(target: Target, path: Path, request: RunRequest) -> RunResult:
    result = target.measure(path, replace(request, nonce=secrets.token_hex(8)))
    if result.error:
        raise TargetUnusable(target.name, f"{path.name} was not measured: {result.error}")
    return result


def _counts(
    path: Path, settings: Settings, announce: Callable[[str], None]
) -> tuple[tuple[Instructions, ...], tuple[str, ...]]:
    """Instructions on each processor asked for; one that cannot be counted is told."""
    counted, notes = [], []
    for processor in settings.instructions:
        announce(f"instructions on {processor}")
        try:
            counted.append(count(path, processor, seed=settings.seed))
        except TargetUnusable as err:
            notes.append(f"no instructions on {processor}: {err}")
    return tuple(counted), tuple(notes)


def _by_operation(operators: Sequence[OperatorTime]) -> dict[str, float]:
    """Mean time by "KIND #n", the n-th of that kind in the order of execution.

    Neither the runtime's names are taken, which tell a kernel's types, nor the layers', of which exported files keep
    few. What XNNPACK runs behind an operation on its behalf, such as a clamp after an addition, is a kind of its own.
    """
    seen: dict[str, int] = {}
    found = {}
    leader: OperatorTime | None = None
    for operator in sorted(operators, key=lambda op: op.index):
        name, stem = kind(operator), operator.name.partition(" (")[0]
        follows = leader and operator.op == leader.op and not leader.name.startswith(stem)
        if follows and operator.op and " (" in operator.name:
            name = f"{name}, {stem.lower()}"
        else:
            leader = operator
        seen[name] = seen.get(name, 0) + 1
        found[f"{name} #{seen[name]}"] = operator.mean_us
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return UNKNOWN


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
