"""Tiny models and folders of samples that trainings run on."""

from pathlib import Path

import numpy as np
import pytest

from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role


@pytest.fixture
def blobs(tmp_path):
    """`blobs(name, count, seed)` writes images [8, 8, 3] of 4 classes, each with one bright quarter; the folder."""

    def write(name: str = "train", count: int = 64, seed: int = 0, labels: bool = True) -> Path:
        random = np.random.default_rng(seed)
        classes = np.arange(count) % 4
        images = random.normal(0, 0.5, (count, 8, 8, 3)).astype(np.float32)
        for i, c in enumerate(classes):
            images[i, 4 * (c // 2) : 4 * (c // 2) + 4, 4 * (c % 2) : 4 * (c % 2) + 4] += 2.0
        folder = tmp_path / name
        write_arrays(
            folder, {"image": images}, role=Role.TEST, labels=classes.astype(np.int32) if labels else None
        )
        return folder

    return write
