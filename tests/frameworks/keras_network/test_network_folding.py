"""Batch normalization folded away, in each of the ways that are exact."""

import numpy as np
import pytest
import tf_keras

from mlopt.frameworks.keras.network.model import trainable
from mlopt.network import Kind
from mlopt.testing import tiny

L = tf_keras.layers
ALL = (*tiny.TINY, "inverted_residuals", "squeeze_excite", "unet", "densenet", "siamese", "nested_outputs", "by_dict",
       "oddities", "volumes")  # fmt: skip
NORMS_LEFT = {"volumes": ["batch_normalization"]}


def norms(model):
    return [node.name for node in model.network.nodes if node.kind is Kind.NORMALIZATION]


def near(got, wanted):
    for name, one in wanted.items():
        np.testing.assert_allclose(got[name], one, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(one).max()))


@pytest.mark.parametrize("name", ALL)
def test_a_folded_network_computes_the_same_with_no_normalization_that_could_go(opened, name):
    _, network, given = opened(name)
    folded = network.folded()
    near(folded.predict(given), network.predict(given))
    assert norms(folded) == NORMS_LEFT.get(name, [])
    assert folded.signature == network.signature
    assert folded.keras_model.output_names == network.keras_model.output_names


def test_a_kernel_is_scaled_by_its_output_channel_and_the_bias_moved(ports):
    image = tf_keras.Input((2, 2, 1), name="image")
    conv, norm = L.Conv2D(2, 1, name="conv"), L.BatchNormalization(epsilon=0.0, name="norm")
    model = tf_keras.Model(image, L.ReLU()(norm(conv(image))))
    conv.set_weights([np.array([[[[1.0, 2.0]]]]), np.array([3.0, 4.0])])
    norm.set_weights([np.array([2.0, 3.0]), np.array([10.0, 20.0]), np.array([1.0, 2.0]), np.array([4.0, 9.0])])
    weights = trainable(model, ports(model)).folded().weights()
    # scale 2 / sqrt(4) = 1 and 3 / sqrt(9) = 1; bias (3 - 1) * 1 + 10 and (4 - 2) * 1 + 20
    np.testing.assert_allclose(weights["conv/kernel"].ravel(), [1.0, 2.0])
    np.testing.assert_allclose(weights["conv/bias"], [12.0, 22.0])
    assert list(weights) == ["conv/kernel", "conv/bias"]


def test_normalization_before_a_dense_layer_goes_into_it(opened):
    _, network, _ = opened("densenet")
    assert network.network.node("label").inputs == ("batch_normalization_5",)
    assert network.folded().network.node("label").inputs == ("flatten",)


def test_normalization_behind_an_activation_becomes_a_depthwise_layer_of_its_name(opened):
    _, network, given = opened("streaming_conv1d")
    folded = network.folded()
    node = folded.network.node("batch_normalization")
    assert (node.kind, node.op, node.multiplier) == (Kind.DEPTHWISE, "DepthwiseConv1D", 1)
    both = [model.activations(["batch_normalization"], given)["batch_normalization"] for model in (network, folded)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5, atol=1e-6)


def test_a_convolution_that_somebody_else_reads_too_keeps_its_values(ports, shake, rows):
    image = tf_keras.Input((4, 4, 2), name="image")
    x = L.Conv2D(3, 3, padding="same", name="conv")(image)
    model = shake(tf_keras.Model(image, L.Add(name="sum")([x, L.ReLU()(L.BatchNormalization(name="norm")(x))])))
    network = trainable(model, ports(model))
    folded, given = network.folded(), rows(network.signature)
    assert folded.network.node("norm").kind is Kind.DEPTHWISE
    both = [one.activations(["conv", "sum"], given) for one in (network, folded)]
    near(both[1], both[0])


def test_padding_with_zeros_behind_normalization_is_not_moved(ports, shake, rows):
    image = tf_keras.Input((4, 4, 2), name="image")
    x = L.Conv2D(3, 3, padding="same", name="padded")(L.BatchNormalization(name="norm")(image))
    model = shake(tf_keras.Model(image, x))
    network = trainable(model, ports(model))
    folded, given = network.folded(), rows(network.signature)
    assert folded.network.node("norm").kind is Kind.DEPTHWISE
    near(folded.predict(given), network.predict(given))


def test_normalization_of_an_input_goes_into_a_convolution_without_padding(ports, shake, rows):
    image = tf_keras.Input((4, 4, 2), name="image")
    x = L.Conv2D(3, 3, use_bias=False, name="conv")(L.BatchNormalization(name="norm")(image))
    model = shake(tf_keras.Model(image, x))
    network = trainable(model, ports(model))
    folded, given = network.folded(), rows(network.signature)
    assert [node.name for node in folded.network.nodes] == ["image", "conv"]
    near(folded.predict(given), network.predict(given))


def test_dropout_between_does_not_hold_folding_up(ports, shake, rows):
    vector = tf_keras.Input((5,), name="vector")
    x = L.BatchNormalization(name="norm")(L.Dropout(0.3, name="drop")(L.Dense(4, name="dense")(vector)))
    model = shake(tf_keras.Model(vector, L.Dense(2, name="out")(L.ReLU(name="relu")(x))))
    network = trainable(model, ports(model))
    folded, given = network.folded(), rows(network.signature)
    assert [node.name for node in folded.network.nodes] == ["vector", "dense", "drop", "relu", "out"]
    near(folded.predict(given), network.predict(given))


def test_a_normalization_that_ends_the_model_leaves_its_name_to_the_output(ports, shake, rows):
    vector = tf_keras.Input((5,), name="vector")
    model = shake(tf_keras.Model(vector, L.BatchNormalization(name="embedding")(L.Dense(4, name="dense")(vector))))
    network = trainable(model, ports(model))
    folded, given = network.folded(), rows(network.signature)
    assert folded.keras_model.output_names == ["embedding"] and folded.network.outputs == ("embedding",)
    assert folded.network.node("embedding").kind is Kind.PASS
    near(folded.predict(given), network.predict(given))


def test_one_convolution_under_two_normalizations_keeps_them(ports, shake, rows):
    left, right = tf_keras.Input((4, 4, 1), name="left"), tf_keras.Input((4, 4, 1), name="right")
    conv = L.Conv2D(3, 1, name="conv")
    x = L.Add()([L.BatchNormalization(name="a")(conv(left)), L.BatchNormalization(name="b")(conv(right))])
    model = shake(tf_keras.Model([left, right], x))
    network = trainable(model, ports(model))
    folded, given = network.folded(), rows(network.signature)
    assert {folded.network.node(name).kind for name in "ab"} == {Kind.DEPTHWISE}
    near(folded.predict(given), network.predict(given))


def test_folding_twice_changes_nothing_more(opened):
    _, network, given = opened("densenet")
    once = network.folded()
    twice = once.folded()
    assert twice.network == once.network
    near(twice.predict(given), once.predict(given))
