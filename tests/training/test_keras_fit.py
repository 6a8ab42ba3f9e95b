"""A training loop on tiny real models: what it optimises, what it holds, what it refuses, and that it repeats."""

from dataclasses import replace

import numpy as np
import pytest

from mlopt.frameworks.fitting import FitTask, Hold, LabelKind, LabelLoss, Optimizer, Schedule
from mlopt.testing import tiny

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


def trainable(name: str, seed: int = 0):
    from mlopt.frameworks.keras.network.model import trainable as take_apart

    one = tiny.TinyModel(tiny.build(name, seed))
    return take_apart(one.model, one.signature)


def categories(**settings) -> LabelLoss:
    return LabelLoss(output="label", kind=LabelKind.CATEGORIES, **settings)


@pytest.fixture
def task(blobs, tmp_path):
    return FitTask(
        samples=blobs("train", 64), validation=blobs("validation", 32, seed=1), losses=(categories(),), epochs=3,
        batch=16, optimizer=Optimizer(learning_rate=5e-3), checkpoints=tmp_path / "checkpoints",
    )


def quiet(event):
    pass


def test_a_training_learns_and_tells_each_epoch(task):
    model = trainable("small_convnet")
    result = model.fit(replace(task, epochs=8), quiet)
    assert [facts.epoch for facts in result.epochs] == list(range(1, 9))
    assert result.epochs[-1].losses["total"] < 0.5 * result.epochs[0].losses["total"]
    assert result.validation == result.epochs[-1].validation > 0.9
    assert (result.steps, result.replicas, result.resumed_at_step) == (32, 1, 0)
