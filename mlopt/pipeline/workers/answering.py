"""What a model answers on samples, and how good that is: the reference that files are held against."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt import cache, worker
from mlopt.data.samples import Samples
from mlopt.events import Answered, Doing, tell
from mlopt.frameworks.protocol import TrainedModel
from mlopt.model import SourceModel
from mlopt.verify.outputs_seen import OUTPUTS, OutputsSeen
from mlopt.verify.parity import chunks, measure_source
from mlopt.verify.task import identify_task

BASELINE = "baseline.json"
_BATCH = 256          # rows of one inference: large enough for BLAS, small enough for memory


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which samples, and where the outputs go."""

    samples: Path
    samples_name: str                    # "test", "holdout", "synthesised", "validation"
    dest: Path


def answer(model: TrainedModel, asked: Asked, seed: int) -> None:
    """Write NAME.npy [N, ...] for each output, and the task's figures on them."""
    tell(Doing(doing="running the source"))
    samples = Samples.open(asked.samples)
    with worker.result(asked.dest) as folder:
        outputs: dict[str, np.memmap] = {}
        done = 0
        for batch in samples.batches(_BATCH):
            for name, values in model.predict(batch).items():
                if name not in outputs:
                    outputs[name] = np.lib.format.open_memmap(
                        folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(samples.count, *values.shape[1:])
                    )
                outputs[name][done : done + len(values)] = values
            done += len(next(iter(batch.values())))
            tell(Doing(doing="running the source", done=done, total=samples.count))
        for array in outputs.values():
            array.flush()
        _judge(model.source, outputs, samples, asked, folder=folder, seed=seed)
    tell(Answered())


def _judge(
    source: SourceModel, outputs: Mapping[str, np.ndarray], samples: Samples, asked: Asked, *, folder: Path,
    seed: int,
) -> None:
    """Write how good the outputs are, and what they look like."""
    task = identify_task(source.signature, source.output_activations, outputs, samples.labels)
    cache.write_record(folder / BASELINE, measure_source(
        outputs, task=task, samples=asked.samples_name, labels=samples.labels, inputs=samples.rows, seed=seed
    ))
    seen = OutputsSeen(task.outputs)
    for start, stop in chunks(outputs):
        seen.add({name: array[start:stop] for name, array in outputs.items()})
    cache.write_record(folder / OUTPUTS, seen.fingerprints())
