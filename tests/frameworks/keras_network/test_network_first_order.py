"""What weights add to the loss, against gradients worked out by hand or by Keras."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import LabelLoss
from mlopt.frameworks.keras.network.model import trainable
from mlopt.outputs import LabelKind

L = tf_keras.layers
LOSS = LabelLoss(output="label", kind=LabelKind.CATEGORIES)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    random = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("first-order") / "samples"
    arrays = {"image": random.normal(size=(100, 8, 8, 3)).astype(np.float32)}
    return write(folder, arrays, random.integers(0, 4, 100)), arrays


def write(folder, inputs, labels):
    write_arrays(folder, inputs, role=Role.TRAIN, labels=labels)
    return folder


def test_without_labels_it_is_the_change_of_the_sum_of_squares_of_scores(ports, tmp_path):
    vector = tf_keras.Input((2,), name="vector")
    layer = L.Dense(2, activation="softmax", name="label")
    model = tf_keras.Model(vector, layer(vector))
    kernel, bias = np.array([[1.0, 2.0], [-1.0, 0.5]]), np.array([0.5, -1.0])
    layer.set_weights([kernel, bias])
    rows = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]], np.float32)
    network = trainable(model, ports(model))
    (found,) = network.first_order_terms(write(tmp_path / "s", {"vector": rows}, None), "label", None, count=3, seed=0)
    scores = rows @ kernel + bias
    np.testing.assert_allclose(found["label/kernel"], 2 * rows.T @ scores / 3 * kernel, rtol=1e-5)
    np.testing.assert_allclose(found["label/bias"], 2 * scores.mean(axis=0) * bias, rtol=1e-5)


def test_with_labels_it_is_the_gradient_of_the_cross_entropy_of_keras(opened, images):
    model, network, _ = opened("small_convnet")
    folder, arrays = images
    labels = np.load(folder / "labels.npy")
    found = list(network.first_order_terms(folder, "label", LOSS, count=100, seed=3))
    chosen = np.sort(np.random.default_rng(3).permutation(100)[:100])
    assert len(found) == 4
    for terms, start in zip(found, (0, 32, 64, 96), strict=True):
        picked = chosen[start : start + 32]
        with tf.GradientTape() as tape:
            scores = model(arrays["image"][picked], training=False)
            loss = tf.reduce_mean(tf_keras.losses.sparse_categorical_crossentropy(labels[picked], scores))
        variable = next(w for w in model.trainable_weights if w.name == "conv2d/kernel:0")
        wanted = tape.gradient(loss, variable).numpy() * variable.numpy()
        np.testing.assert_allclose(terms["conv2d/kernel"], wanted, rtol=1e-3, atol=1e-6)
        weights = network.network.weights()
        assert set(terms) == {name for name, weight in weights.items() if weight.role not in ("mean", "variance")}
        assert all(values.shape == weights[name].shape for name, values in terms.items())


def test_labels_with_a_share_for_each_class_count_as_class_numbers_do(opened, images, tmp_path):
    _, network, _ = opened("small_convnet")
    folder, arrays = images
    shares = np.eye(4, dtype=np.float32)[np.load(folder / "labels.npy")]
    (one,) = network.first_order_terms(folder, "label", LOSS, count=32, seed=3)
    (other,) = network.first_order_terms(write(tmp_path / "s", arrays, shares), "label", LOSS, count=32, seed=3)
    for name, values in one.items():
        np.testing.assert_allclose(other[name], values, rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_figures_and_another_other_rows(opened, images):
    _, network, _ = opened("small_convnet")
    one, two, other = (
        next(network.first_order_terms(images[0], "label", LOSS, count=20, seed=seed)) for seed in (1, 1, 2)
    )
    assert all((one[name] == two[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)


def test_values_and_binary_labels_are_understood(ports, shake, tmp_path):
    vector = tf_keras.Input((3,), name="vector")
    rows = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    for activation, kind in (("sigmoid", LabelKind.BINARY), ("sigmoid", LabelKind.VALUES), (None, LabelKind.VALUES)):
        model = shake(tf_keras.Model(vector, L.Dense(1, activation=activation, name="label")(vector)))
        network = trainable(model, ports(model))
        labels = (rows[:, 0] > 0).astype(np.float32)
        folder = write(tmp_path / f"{activation}{kind}", {"vector": rows}, labels)
        (found,) = network.first_order_terms(folder, "label", LabelLoss(output="label", kind=kind), count=10, seed=0)
        with tf.GradientTape() as tape:
            loss = {LabelKind.BINARY: tf_keras.losses.binary_crossentropy, LabelKind.VALUES: tf_keras.losses.mse}[kind]
            value = tf.reduce_mean(loss(labels[:, None], model(rows)))
        kernel = model.trainable_weights[0]
        wanted = tape.gradient(value, kernel).numpy() * kernel.numpy()
        np.testing.assert_allclose(found["label/kernel"], wanted, rtol=1e-3, atol=1e-6)


def test_a_loss_on_labels_that_are_not_there_is_refused(opened, tmp_path):
    _, network, given = opened("small_convnet")
    folder = write(tmp_path / "s", {"image": given["image"]}, None)
    with pytest.raises(BadRequest, match="has no labels"):
        next(network.first_order_terms(folder, "label", LOSS, count=4, seed=0))


def test_what_reads_a_channel_counts_in_a_frozen_layer_too(ports, shake, tmp_path):
    vector = tf_keras.Input((3,), name="vector")
    hidden = L.Dense(4, name="hidden")(vector)
    model = shake(tf_keras.Model(vector, L.Dense(2, activation="softmax", name="label", trainable=False)(hidden)))
    network = trainable(model, ports(model))
    rows = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    (terms,) = network.first_order_terms(
        write(tmp_path / "s", {"vector": rows}, np.arange(8) % 2), "label", LOSS, count=8, seed=0
    )
    assert np.abs(terms["label/kernel"]).max() > 0
