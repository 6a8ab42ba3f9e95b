"""A recipe step's surroundings around a tiny real model, for tests of steps. Imports TensorFlow."""

from pathlib import Path
from typing import Any

import numpy as np

from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.frameworks import open_trainable
from mlopt.location import ModelLocation
from mlopt.steps.protocol import Context
from mlopt.testing import tiny


def context(
    folder: Path, model: str | Any = "small_convnet", *, labels: str | np.ndarray = "answers", count: int = 96,
    seed: int = 0, **changes: Any,
) -> Context:
    """Around the model of that name in `tiny`, or a `tf_keras` one, saved in `folder` with samples to train on.

    `labels` are the model's own answers as classes, so that training has something to learn and nothing to unlearn;
    "none"; or an array of `count` for the training samples. Validation has a quarter as many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "source.h5"
    (tiny.build(model, seed) if isinstance(model, str) else model).save(path)
    opened = open_trainable(ModelLocation(path))
    for role, rows in (("train", count), ("validation", max(8, count // 4))):
        random = np.random.default_rng(seed + (role == "validation"))
        inputs = {
            spec.name: random.normal(size=(rows, *(d or 1 for d in spec.shape[1:]))).astype(np.float32)
            for spec in opened.signature.inputs
        }
        given: np.ndarray | None = None
        if isinstance(labels, np.ndarray):
            given = labels[:rows]
        elif labels == "answers":
            given = opened.predict(inputs)[opened.signature.outputs[0].name].argmax(axis=-1).astype(np.int64)
        write_arrays(folder / role, inputs, role=Role.TEST, labels=given, origin="given", signature=opened.signature)
    fields: dict[str, Any] = {
        "model": opened, "source": ModelLocation(path), "train": folder / "train", "validation": folder / "validation",
        "work": folder / "store/work-0", "seed": seed, "on_event": lambda event: None, "open_model": open_trainable,
        "logs": folder / "logs",
    }
    return Context(**(fields | changes))
