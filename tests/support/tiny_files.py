"""A tiny model's file with samples, as a user would have them."""

from pathlib import Path

import numpy as np


def model_and_samples(folder: Path, *, samples: int = 160, test: int = 120) -> None:
    """model.h5, and samples.npz / test.npz whose labels are the model's own answers: the source is right on all."""
    from mlopt.testing import tiny

    model = tiny.build("small_convnet")
    model.save(folder / "model.h5", save_format="h5")
    wrapped = tiny.TinyModel(model)
    for name, seed, count in (("samples", 1, samples), ("test", 2, test)):
        inputs = tiny.inputs_for(wrapped, count, seed)
        labels = wrapped.predict(inputs)["label"].argmax(axis=1)
        np.savez(folder / f"{name}.npz", image=inputs["image"], label=labels)
