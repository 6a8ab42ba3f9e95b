"""Latency in fresh processes: pairs of baseline and new file in random order, until every rule on them has decided.

In one process both files take turns, a few milliseconds each, wherever the target can do that: what slows a machine
for a while then slows both. Otherwise a pair is two processes, one after the other, and a note says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.gate.budget import RANKS, Metric
from mlopt.gate.measuring import Measure, MeasurementFailed
from mlopt.gate.rules import LOOKS, paired_bounds, paired_status
from mlopt.gate.verdict import Look, Process, Status
from mlopt.profiling.contract import RunResult

NEW, BASELINE = "new", "baseline"
OnPair = Callable[[int, int], None]     # pairs done, pairs at most


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the looks at one percentile came to."""

    status: Status
    looks: tuple[Look, ...]
    spread: float                       # standard deviation of log(new / baseline) over the pairs


@dataclass(frozen=True, kw_only=True)
class Paired:
    decisions: Mapping[Metric, Decision]
    processes: tuple[Process, ...]
    apart: str = ""                     # why a pair was two processes; "" where it was one


def decide(
    new: Path, baseline: Path, *, measure: Measure, tolerances: Mapping[Metric, float], alpha: float, seed: int,
    apart: str = "", looks: Sequence[int] = LOOKS, on_pair: OnPair | None = None,
) -> Paired:
    """Measure pairs until each percentile of `tolerances` (largest growth, a fraction) is decided or pairs run out.

    The unit is a pair in fresh memory: runs within one process share its layout and its moment, so they are summarised
    and never tested. All orders are drawn from `seed`. With `apart`, the reason, a pair is two processes.
    """
    draw = np.random.default_rng(seed)
    processes: list[Process] = []
    seen: dict[Metric, list[Look]] = {metric: [] for metric in tolerances}
    decided: dict[Metric, Status] = {}
    for number in range(looks[-1]):
        pair: tuple[Process, ...] = ()
        if not apart:
            pair = _in_turns(new, baseline, measure, draw, pair=number)
            if not pair:
                apart = "the runner there times one file in a process"
        processes += pair or _one_by_one(new, baseline, measure, draw, pair=number)
        if on_pair:
            on_pair(number + 1, looks[-1])
        if number + 1 in looks:
            for metric, tolerance in tolerances.items():
                if metric in decided:
                    continue
                low, mean, high = (float(b) for b in paired_bounds(differences(processes, metric), alpha=alpha,
                                                                   looks=looks))
                low_ratio, ratio, high_ratio = np.exp([low, mean, high])
                seen[metric].append(Look(pairs=number + 1, low=float(low_ratio), ratio=float(ratio),
                                         high=float(high_ratio)))
                status = paired_status(low, high, tolerance=tolerance)
                if status is not None:
                    decided[metric] = status
            if len(decided) == len(tolerances):
                break
    return Paired(
        decisions={
            metric: Decision(status=decided.get(metric, Status.INCONCLUSIVE), looks=tuple(seen[metric]),
                             spread=float(differences(processes, metric).std(ddof=1)))
            for metric in tolerances
        },
        processes=tuple(processes), apart=apart,
    )


def _in_turns(
    new: Path, baseline: Path, measure: Measure, draw: np.random.Generator, *, pair: int
) -> tuple[Process, ...]:
    """One process with both; empty where the first such process shows that the target does not do that."""
    result = measure(new, beside=baseline, order_seed=int(draw.integers(2**31)))
    if not result.beside_samples_us:
        if pair:
            raise MeasurementFailed(result.facts.name, baseline, "it was not timed beside the new file, as before")
        return ()
    one = as_process(result, NEW, pair=pair, order=pair)
    other = Process(side=BASELINE, pair=pair, order=pair, samples_us=result.beside_samples_us, burst=result.burst,
                    throttled=result.facts.throttled, notes=result.notes)
    return one, other


def _one_by_one(
    new: Path, baseline: Path, measure: Measure, draw: np.random.Generator, *, pair: int
) -> tuple[Process, ...]:
    """Two processes, in an order that is drawn."""
    sides = [(NEW, new), (BASELINE, baseline)]
    return tuple(
        as_process(measure(file), side, pair=pair, order=2 * pair + n)
        for n, (side, file) in enumerate(sides if draw.random() < 0.5 else sides[::-1])
    )


def differences(processes: Sequence[Process], metric: Metric) -> np.ndarray:
    """log(new / baseline) of that percentile, one for each pair, in order."""
    sides = {(p.pair, p.side): p for p in processes if p.pair >= 0}
    pairs = sorted({pair for pair, _ in sides})
    return np.array([_difference(sides[pair, NEW], sides[pair, BASELINE], metric) for pair in pairs])


def _difference(new: Process, baseline: Process, metric: Metric) -> float:
    """Of one pair.

    A median is compared burst by burst, and the middle one of those ratios counts: a change of the machine's speed in
    the middle of a process then falls between two bursts, and does not decide on which side of it a median lies. A
    higher percentile is one of the whole process: what it shows happens too seldom to be in every burst.
    """
    if metric is Metric.P50 and new.burst:
        return float(np.median(_burst_medians(new) - _burst_medians(baseline)))
    here, there = (float(np.quantile(p.samples_us, RANKS[metric])) for p in (new, baseline))
    return float(np.log(here / there))


def _burst_medians(process: Process) -> np.ndarray:
    """Natural logarithms of the median of each burst."""
    times = np.log(process.samples_us)
    return np.array([np.median(times[at : at + process.burst]) for at in range(0, len(times), process.burst)])


def alone(file: Path, *, measure: Measure, processes: int, first: int = 0) -> tuple[Process, ...]:
    """Fresh processes of one file, for an absolute limit."""
    return tuple(as_process(measure(file), NEW, pair=-1, order=first + n) for n in range(processes))


def as_process(result: RunResult, side: str, *, pair: int, order: int) -> Process:
    return Process(side=side, pair=pair, order=order, samples_us=result.samples_us, burst=result.burst,
                   throttled=result.facts.throttled, notes=result.notes)
