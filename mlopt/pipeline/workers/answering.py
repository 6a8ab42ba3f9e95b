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
from mlopt.report import Baseline
from mlopt.verify.parity import measure_source
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
        cache.write_record(folder / BASELINE, _baseline(model.source, outputs, samples, asked.samples_name, seed))
    tell(Answered())


def _baseline(
    source: SourceModel, outputs: Mapping[str, np.ndarray], samples: Samples, name: str, seed: int
) -> Baseline:
    task = identify_task(source.signature, source.output_activations, outputs, samples.labels)
    return measure_source(
        outputs, task=task, samples=name, labels=samples.labels, inputs=samples.rows, seed=seed
    )
