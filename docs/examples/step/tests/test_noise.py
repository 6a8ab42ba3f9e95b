"""The step, held to what mlopt asks of anyone's: `pytest` beside this package's pyproject.toml."""

import numpy as np
import pytest
import tf_keras
from mlopt_noise import Noise
from mlopt_noise.work import shake

from mlopt.testing.steps import StepContract, context


class TestNoise(StepContract):
    settings = Noise(share=0.1, epochs=2, batch=32)
    impossible = Noise(epochs=2, batch=32)

    @classmethod
    def impossible_model(cls):
        layers = tf_keras.layers
        frozen = layers.Dense(3, activation="softmax", trainable=False)
        return tf_keras.Sequential([layers.Input((4,)), layers.BatchNormalization(), frozen])


def test_the_noise_is_its_share_of_each_kernel_and_nothing_else_moves(tmp_path):
    around = context(tmp_path)
    before = around.model.weights()
    done = shake(Noise(share=0.1, epochs=1), around, lambda model, epochs, name: None)
    for name, values in done.model.weights().items():
        moved = np.linalg.norm(values - before[name]) / np.linalg.norm(before[name])
        expected = 0.1 if name in done.facts["kernels"] else 0.0
        assert moved == pytest.approx(expected, rel=0.3), name
