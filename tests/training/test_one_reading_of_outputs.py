"""Training and the proof of files read one model's outputs alike, whatever makes them."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from mlopt import outputs
from mlopt.frameworks import open_model
from mlopt.frameworks.keras.fitting.student import heads, student
from mlopt.frameworks.keras.network.model import trainable
from mlopt.location import ModelLocation
from mlopt.outputs import Head

ROWS = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)


def dense(x, **settings):
    return layers.Dense(4, **settings)(x)


def hidden_softmax(x):
    grown = tf.exp(dense(x))
    return grown / tf.reduce_sum(grown, axis=-1, keepdims=True)


MAKING = {
    "softmax": (lambda x: dense(x, activation="softmax"), Head.SOFTMAX),
    "softmax of another shape": (lambda x: layers.Reshape((2, 2))(dense(x, activation="softmax")), Head.SOFTMAX),
    "softmax that no operation tells": (hidden_softmax, Head.SOFTMAX),
    "sigmoid flags": (lambda x: dense(x, activation="sigmoid"), Head.SIGMOID),
    "logits": (dense, Head.PLAIN),
    "logits that lie in 0..1": (
        lambda x: dense(x, kernel_initializer=tf_keras.initializers.RandomUniform(-0.01, 0.01, seed=1),
                        bias_initializer=tf_keras.initializers.Constant(0.5)), Head.PLAIN),
    "a rectified value": (lambda x: dense(x, activation="relu"), Head.PLAIN),
    "a direction": (lambda x: layers.UnitNormalization()(dense(x)), Head.PLAIN),
}


@pytest.mark.parametrize("name", MAKING)
def test_training_and_proof_judge_an_output_alike(name, tmp_path):
    make, expected = MAKING[name]
    tf_keras.utils.set_random_seed(0)
    x = tf_keras.Input((6,), name="x")
    model = tf_keras.Model(x, make(x))
    model.save(tmp_path / "m.h5")
    source = open_model(ModelLocation(path=tmp_path / "m.h5"))
    network = trainable(model, source.source.signature)
    [port] = source.source.signature.outputs
    values = source.predict({"x": ROWS})
    proof = outputs.decide(source.source.signature, source.source.output_activations, values).main
    one = student(network, network.keras_model, None, freeze=(), nodes=())
    [trained] = heads(one, {"x": ROWS}, network.output_activations).values()
    assert proof.head is trained is expected
    asked = network.predict({"x": ROWS})
    assert outputs.decide(network.signature, network.output_activations, asked).main.kind is proof.kind
    assert values[port.name].shape == next(iter(asked.values())).shape
