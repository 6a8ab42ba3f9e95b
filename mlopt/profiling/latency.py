"""Latency on this host: each file against the float file of its format, in turns, so that the machine's moods cancel.

A pair is one inference of the float file and one of the candidate, in alternating order, on one thread. Their ratio
is what a candidate is judged by: absolute times of a shared machine move by a fifth, paired ratios by a few percent.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from mlopt import plain, plugins, worker
from mlopt.convert.protocol import Runtime
from mlopt.data.samples import Samples
from mlopt.model import Signature
from mlopt.profiling.runner.device import FEATURES, processor
from mlopt.profiling.statistics import quantile_interval
from mlopt.report import UNKNOWN, Interval, Latency

PROCESSES = 3               # fresh processes a format: memory layout differs between them, and shows as a bias in one
_MOST_PAIRS = 100           # a process; 300 in all give an order-statistic interval of about 6 % of the ranks each side
_FEWEST_PAIRS = 12
_SECONDS_A_FILE = 0.25      # after which a slow file has enough pairs
_WARM_UP_RUNS = 10
_WARM_UP_S = 0.05


def time_pairs(
    format: str, float_file: Path, files: Mapping[str, Path], signature: Signature, samples: Path
) -> dict[str, list[list[float]]]:
    """In a worker: precision -> [[float seconds, candidate seconds], ...]."""
    open_runtime = plain.resolve(plugins.load_converter(format).open_runtime)
    sample = Samples.open(samples).rows(0, 1)
    base = _staged(open_runtime(float_file, signature), sample)
    pairs = {}
    for precision, path in files.items():
        candidate = _staged(open_runtime(path, signature), sample)
        pairs[precision] = _pairs(base, candidate)
        worker.emit(timed=precision)
    return pairs


def _staged(runtime: Runtime, sample: Mapping[str, np.ndarray]) -> Runtime:
    runtime.stage(sample)
    until = time.perf_counter() + _WARM_UP_S
    for _ in range(_WARM_UP_RUNS):
        runtime.invoke()
        if time.perf_counter() > until:
            break
    return runtime


def _pairs(base: Runtime, candidate: Runtime) -> list[list[float]]:
    until = time.perf_counter() + _SECONDS_A_FILE
    pairs: list[list[float]] = []
    while len(pairs) < _MOST_PAIRS and (len(pairs) < _FEWEST_PAIRS or time.perf_counter() < until):
        if len(pairs) % 2:
            after = _once(candidate)
            before = _once(base)
        else:
            before = _once(base)
            after = _once(candidate)
        pairs.append([before, after])
    return pairs


def _once(runtime: Runtime) -> float:
    start = time.perf_counter()
    runtime.invoke()
    return time.perf_counter() - start


def summarise(by_process: Sequence[Sequence[Sequence[float]]]) -> Latency:
    """The ratio's median over all pairs of all processes.

    Its interval is the median's order-statistic interval, widened to hold every process's own median: processes
    differ by more than their pairs do.

    >>> latency = summarise([[[2.0, 1.0]] * 20, [[2.0, 1.2]] * 20])
    >>> latency.ratio_interval.low, latency.ratio_interval.high
    (0.5, 0.6)
    """
    pairs = np.concatenate([np.asarray(p, dtype=float).reshape(-1, 2) for p in by_process])
    if len(pairs) == 0:
        return Latency(reason="no pair was timed")
    ratios = pairs[:, 1] / pairs[:, 0]
    low, high = median_interval(ratios)
    medians = [float(np.median(np.asarray(p)[:, 1] / np.asarray(p)[:, 0])) for p in by_process if len(p)]
    return Latency(
        p50_ms=float(np.median(pairs[:, 1])) * 1e3,
        ratio=float(np.median(ratios)),
        ratio_interval=Interval(low=min(low, *medians), high=max(high, *medians)),
        pairs=len(pairs),
    )


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of the median from order statistics (binomial with p = 1/2).

    nan where too few values for that level (under 6 at 95 %).

    >>> median_interval(np.arange(1.0, 11.0))
    (2.0, 9.0)
    """
    low, high = quantile_interval(values, 0.5, level)
    return (low, high) if low <= high else (UNKNOWN, UNKNOWN)


class HostFacts(TypedDict):
    """What this machine is, as far as latency depends on it; see `report.Host`."""

    processor: str
    features: list[str]


def host() -> HostFacts:
    name, flags = processor()
    return {"processor": name, "features": [f for f in FEATURES if f in flags]}
