"""The task's metric of a network, read as the proof of an exported file reads it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlopt.data.samples import Samples
from mlopt.frameworks.protocol import TrainableModel
from mlopt.training.teachers import BATCH
from mlopt.verify.parity import measure_source
from mlopt.verify.task import identify_task


def score(model: TrainableModel, samples: Path, seed: int) -> float:
    """On a folder of samples; nan without labels. `seed` is of what the metric draws for its interval."""
    stored = Samples.open(samples)
    outputs = answers(model, stored)
    task = identify_task(model.signature, model.output_activations, outputs, stored.labels)
    measured = measure_source(
        outputs, task=task, samples="validation", labels=stored.labels, inputs=stored.rows, seed=seed
    )
    return measured.value


def answers(model: TrainableModel, samples: Samples) -> Mapping[str, np.ndarray]:
    """Outputs [N, ...] by name for all samples."""
    parts = [model.predict(batch) for batch in samples.batches(BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
