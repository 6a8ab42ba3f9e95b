"""Latency in fresh processes: pairs of baseline and new file in random order, until every rule on them has decided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.gate.budget import RANKS, Metric
from mlopt.gate.measuring import Measure
from mlopt.gate.rules import LOOKS, paired_bounds, paired_status
from mlopt.gate.verdict import Look, Process, Status
from mlopt.profile.contract import RunResult

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


def decide(
    new: Path, baseline: Path, *, measure_new: Measure, measure_baseline: Measure, tolerances: Mapping[Metric, float],
    alpha: float, seed: int, looks: Sequence[int] = LOOKS, on_pair: OnPair | None = None,
) -> Paired:
    """Measure pairs until each percentile of `tolerances` (largest growth, a fraction) is decided or pairs run out.

    The unit is a fresh process: runs within one share its memory layout and its moment, so they are summarised by the
    percentile and never tested. Which side of a pair goes first is drawn from `seed`.
    """
    draw = np.random.default_rng(seed)
    processes: list[Process] = []
    seen: dict[Metric, list[Look]] = {metric: [] for metric in tolerances}
    decided: dict[Metric, Status] = {}
    for number in range(looks[-1]):
        sides = [(NEW, new, measure_new), (BASELINE, baseline, measure_baseline)]
        for side, file, measure in sides if draw.random() < 0.5 else sides[::-1]:
            processes.append(as_process(measure(file), side, pair=number, order=len(processes)))
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
        processes=tuple(processes),
    )


def differences(processes: Sequence[Process], metric: Metric) -> np.ndarray:
    """log(new / baseline) of that percentile, one for each pair, in order."""
    values = {(p.pair, p.side): float(np.quantile(p.samples_us, RANKS[metric])) for p in processes if p.pair >= 0}
    pairs = sorted({pair for pair, _ in values})
    return np.array([np.log(values[pair, NEW] / values[pair, BASELINE]) for pair in pairs])


def alone(file: Path, *, measure: Measure, processes: int, first: int = 0) -> tuple[Process, ...]:
    """Fresh processes of one file, for an absolute limit."""
    return tuple(as_process(measure(file), NEW, pair=-1, order=first + n) for n in range(processes))


def as_process(result: RunResult, side: str, *, pair: int, order: int) -> Process:
    return Process(side=side, pair=pair, order=order, samples_us=result.samples_us, throttled=result.facts.throttled,
                   notes=result.notes)
