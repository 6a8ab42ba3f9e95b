"""Percentiles of raw times with intervals that assume nothing about their distribution, and what the outliers were.

Everything here is about one process. Processes differ by more than their runs do, so that two files are compared by
pairs of processes (`mlopt.gate`), never by these intervals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlopt.profiling.contract import RunResult
from mlopt.report import UNKNOWN

OUTLIER = 3.0               # times the median: what a reader should ask about
_SURE = 0.99                # a percentile is given when the second largest run bounds it with this confidence


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """One percentile of one process's runs; nan and a reason where there are too few of them."""

    fraction: float                 # 0.5, 0.9, 0.99
    us: float = UNKNOWN
    low_us: float = UNKNOWN         # 95 % interval; nan on a side where the runs do not bound it
    high_us: float = UNKNOWN
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TimeSummary:
    """Times of one process. No run is left out of any of these numbers."""

    runs: int
    p50: Percentile
    p90: Percentile
    p99: Percentile
    least_us: float
    mean_us: float
    most_us: float
    outliers: int                   # runs above three medians
    outliers_preempted: int         # of these, runs during which the system took the process off its processor
    outliers_woken_late: int        # of the others, runs at a fixed rate that the system started late
    notes: tuple[str, ...] = ()


def summarise(result: RunResult) -> TimeSummary:
    """What the samples of a result say, and what may be said of its outliers."""
    samples = np.asarray(result.samples_us, dtype=float)
    if not len(samples):
        nothing = {f: Percentile(fraction=f, reason=result.error or "no run was timed") for f in (0.5, 0.9, 0.99)}
        return TimeSummary(
            runs=0, p50=nothing[0.5], p90=nothing[0.9], p99=nothing[0.99], least_us=UNKNOWN, mean_us=UNKNOWN,
            most_us=UNKNOWN, outliers=0, outliers_preempted=0, outliers_woken_late=0,
        )
    above = np.flatnonzero(samples > OUTLIER * np.median(samples))
    held_up = _places(result.extra.get("preempted", "")).intersection(above)
    late = _places(result.extra.get("woken_late", "")).intersection(above) - held_up
    return TimeSummary(
        runs=len(samples), p50=percentile(samples, 0.5), p90=percentile(samples, 0.9), p99=percentile(samples, 0.99),
        least_us=float(samples.min()), mean_us=float(samples.mean()), most_us=float(samples.max()),
        outliers=len(above), outliers_preempted=len(held_up), outliers_woken_late=len(late),
        notes=_notes(samples, len(above), len(held_up), len(late), result),
    )


def percentile(values: Sequence[float] | np.ndarray, fraction: float) -> Percentile:
    """A percentile as an order statistic (of rank ceil(n * fraction)) with its 95 % interval.

    A percentile of the tail is refused below `least_runs`: the largest of a few runs is no p99.

    >>> percentile(range(1, 1001), 0.9).us, percentile(range(1, 1001), 0.9).low_us
    (900.0, 881.0)
    >>> percentile(range(200), 0.99).reason
    'p99 needs 662 runs, there are 200'
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    needed = least_runs(fraction) if fraction > 0.5 else 1
    if len(ordered) < needed:
        reason = f"p{100 * fraction:g} needs {needed} runs, there are {len(ordered)}"
        return Percentile(fraction=fraction, reason=reason)
    low, high = quantile_interval(ordered, fraction)
    if fraction == 0.5:
        value = float(np.median(ordered))
    else:
        value = float(ordered[max(math.ceil(len(ordered) * fraction - 1e-9), 1) - 1])
    return Percentile(fraction=fraction, us=value, low_us=low, high_us=high)


def quantile_interval(values: np.ndarray, fraction: float, level: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of a quantile from order statistics.

    The number of values below the true quantile is binomial with p = `fraction`; each side misses it with at most
    half of 1 - `level`. nan on a side where there are too few values.

    >>> quantile_interval(np.arange(1.0, 201.0), 0.9)
    (171.0, 189.0)
    """
    from scipy.special import bdtr, bdtrc  # the binomial's distribution function, from below and from above

    n, tail = len(values), (1 - level) / 2
    below = int(np.sum(bdtr(np.arange(n), n, fraction) <= tail))            # rank of the lower end, 0: there is none
    above = int(np.sum(bdtrc(np.arange(n), n, fraction) <= tail))           # ranks from the upper end on
    ordered = np.sort(values)
    return (
        float(ordered[below - 1]) if below else UNKNOWN,
        float(ordered[n - above]) if above else UNKNOWN,
    )


def least_runs(fraction: float) -> int:
    """Fewest runs from which a percentile may be told: the second largest is above it with 99 % confidence.

    So one outlier does not decide. The same numbers as in MLPerf's rules for early stopping.

    >>> least_runs(0.9), least_runs(0.99)
    (64, 662)
    """
    n = 2
    while fraction**n + n * fraction ** (n - 1) * (1 - fraction) > 1 - _SURE:
        n += 1
    return n


def _notes(samples: np.ndarray, outliers: int, held_up: int, late: int, result: RunResult) -> tuple[str, ...]:
    notes = []
    if outliers:
        share = float(np.sort(samples)[-outliers:].sum() / samples.sum())
        known = [f"the system took the process off its processor in {held_up}"] if held_up else []
        if late:
            known.append(f"it woke the process late for {late}")
        rest = outliers - held_up - late
        if rest:
            known.append(f"no such reason is seen for {rest}: a slower clock, a virtual machine's host, or the model")
        notes.append(
            f"{outliers} of {len(samples)} runs took over {OUTLIER:g} medians and {share:.0%} of the time; "
            + "; ".join(known)
        )
    if result.batch_per_sample > 1:
        notes.append(
            f"percentiles are of means over {result.batch_per_sample} inferences each, and so closer together than "
            "those of single ones"
        )
    if result.facts.throttled:
        notes.append("the processor was slower after the runs than before: the later runs are not like the first")
    return tuple(notes)


def _places(text: str) -> set[int]:
    return {int(place) for place in text.split(",") if place.strip().isdigit()}
