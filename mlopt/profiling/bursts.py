"""Many files of one format in one process, timed in short turns: which is faster, when differences are a few percent.

The machine's mood moves between processes and within seconds; in turns of about 2 ms every file meets the same moods.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlopt import plain, plugins, worker
from mlopt.convert.protocol import Runtime
from mlopt.data.samples import Samples
from mlopt.model import Signature
from mlopt.profiling.runner.timing import warm_up
from mlopt.profiling.runner.turns import in_turns, order, turns_for

PROCESSES = 3               # fresh processes: memory layout differs between them
_SECONDS_A_FILE = 0.25
_MOST_RUNS = 5000           # of a file
_FEWEST_RUNS = 8
_WARM_UP_RUNS = 5


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
    warm = [warm_up(runtime.invoke, least=_WARM_UP_RUNS).median_us for runtime in runtimes]
    timed = in_turns(
        *(runtime.invoke for runtime in runtimes), runs=_MOST_RUNS, planned=turns_for(min(warm), max(warm)),
        most_seconds=max(_SECONDS_A_FILE, _FEWEST_RUNS * max(warm) / 1e6), draw=order(seed),
    )
    return [float(np.median(one.samples_us)) for one in timed]


def combined(by_process: Sequence[Sequence[float]]) -> list[float]:
    """One figure a file: the median over processes of its time against the first file's, in the first file's time.

    >>> combined([[10.0, 5.0], [20.0, 12.0], [10.0, 8.0]])
    [10.0, 6.0]
    """
    values = np.asarray(by_process, dtype=float)
    ratios = np.median(values / values[:, :1], axis=0)
    return [float(value) for value in ratios * np.median(values[:, 0])]
