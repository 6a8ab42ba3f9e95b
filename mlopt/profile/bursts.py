"""Many files of one format in one process, timed in short turns: which is faster, when differences are a few percent.

The machine's mood moves between processes and within seconds; in turns of about 2 ms every file meets the same moods.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlopt import plain, plugins, worker
from mlopt.convert.protocol import Runtime
from mlopt.data.samples import Samples
from mlopt.model import Signature

PROCESSES = 3               # fresh processes: memory layout differs between them
_BURST_S = 0.002
_SECONDS_A_FILE = 0.25
_FEWEST_ROUNDS = 8


def time_drafts(
    format: str, float_files: Sequence[Path], signature: Signature, samples: Path, seed: int
) -> list[float]:
    """In a worker: median microseconds of one inference of a drafted int8 file of each of these float files."""
    door = plugins.load_converter(format)
    drafts = []
    for number, file in enumerate(float_files):
        worker.emit(doing="drafting files to time", done=number, total=len(float_files))
        drafts.append(file.with_name(f"draft{door.suffix}"))
        if not drafts[-1].exists():
            plain.resolve(door.draft)(file, drafts[-1], Samples.open(samples))
    return time_files(format, drafts, signature, samples, seed)


def time_files(format: str, files: Sequence[Path], signature: Signature, samples: Path, seed: int) -> list[float]:
    """In a worker: median microseconds of one inference of each file, on the first of the samples."""
    open_runtime = plain.resolve(plugins.load_converter(format).open_runtime)
    runtimes: list[Runtime] = [open_runtime(file, signature) for file in files]
    for runtime in runtimes:
        runtime.stage(Samples.open(samples).rows(0, 1))
    return [float(np.median(times)) * 1e6 for times in in_turns(runtimes, seed)]


def in_turns(runtimes: Sequence[Runtime], seed: int) -> list[list[float]]:
    """Seconds of each inference of each staged runtime; in every round all have a turn, in an order drawn anew."""
    order = random.Random(seed)
    times: list[list[float]] = [[] for _ in runtimes]
    places = list(range(len(runtimes)))
    until = time.perf_counter() + _SECONDS_A_FILE * len(runtimes)
    rounds = 0
    while rounds < _FEWEST_ROUNDS or time.perf_counter() < until:
        order.shuffle(places)
        for place in places:
            times[place] += _burst(runtimes[place])
        rounds += 1
    return times


def _burst(runtime: Runtime) -> list[float]:
    """Inferences for about 2 ms, after one that fills the caches and is not counted."""
    runtime.invoke()
    seconds: list[float] = []
    until = time.perf_counter() + _BURST_S
    while not seconds or time.perf_counter() < until:
        start = time.perf_counter()
        runtime.invoke()
        seconds.append(time.perf_counter() - start)
    return seconds


def combined(by_process: Sequence[Sequence[float]]) -> list[float]:
    """One figure a file: the median over processes of its time against the first file's, in the first file's time.

    >>> combined([[10.0, 5.0], [20.0, 12.0], [10.0, 8.0]])
    [10.0, 6.0]
    """
    values = np.asarray(by_process, dtype=float)
    ratios = np.median(values / values[:, :1], axis=0)
    return [float(value) for value in ratios * np.median(values[:, 0])]
