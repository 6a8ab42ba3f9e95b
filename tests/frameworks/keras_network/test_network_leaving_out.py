"""Nodes left out: residual blocks, activations, and what cannot go."""

import numpy as np
import pytest
import tf_keras

from mlopt.errors import BadRequest
from mlopt.frameworks.keras.network.model import trainable

L = tf_keras.layers


def residual(ports, shake, *, branch_first):
    image = tf_keras.Input((6, 6, 3), name="image")
    stem = L.ReLU(name="stem")(L.Conv2D(4, 3, padding="same", name="conv")(image))
    y = L.ReLU(name="mid")(L.Conv2D(8, 1, name="wide")(stem))
    y = L.BatchNormalization(name="norm")(L.Conv2D(4, 1, name="narrow")(y))
    x = L.Add(name="sum")([y, stem] if branch_first else [stem, y])
    model = shake(tf_keras.Model(image, L.Dense(2, name="out")(L.GlobalAveragePooling2D(name="gap")(x))))
    return trainable(model, ports(model))


@pytest.mark.parametrize("branch_first", [True, False])
@pytest.mark.parametrize("nodes", [["sum"], ["sum", "norm", "narrow", "mid", "wide"]])
def test_a_residual_block_without_its_addition_is_its_shortcut(ports, shake, rows, branch_first, nodes):
    network = residual(ports, shake, branch_first=branch_first)
    short = network.without(nodes)
    assert [node.name for node in short.network.nodes] == ["image", "conv", "stem", "gap", "out"]
    given, weights = rows(network.signature), network.weights()
    stem = network.activations(["stem"], given)["stem"]
    wanted = stem.mean(axis=(1, 2)) @ weights["out/kernel"] + weights["out/bias"]
    np.testing.assert_allclose(short.predict(given)["out"], wanted, rtol=1e-4, atol=1e-5)
    assert short.signature == network.signature
    assert network.network.parameters > short.network.parameters


def test_a_node_is_replaced_by_what_it_reads(ports, shake, rows):
    network = residual(ports, shake, branch_first=True)
    short, given = network.without(["mid", "norm"]), rows(network.signature)
    assert short.network.node("narrow").inputs == ("wide",) and short.network.node("sum").inputs == ("narrow", "stem")
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(short.predict(given)["out"], network.predict(given)["out"], rtol=1e-3)


def test_a_node_that_changes_the_shape_cannot_go_and_the_message_says_so(ports, shake):
    network = residual(ports, shake, branch_first=True)
    with pytest.raises(BadRequest, match=r"wide cannot be left out: what reads it takes \[6, 6, 8\].*stem \[6, 6, 4\]"):
        network.without(["wide"])
    with pytest.raises(BadRequest, match="no node nobody"):
        network.without(["nobody"])
    with pytest.raises(BadRequest, match="image cannot be left out"):
        network.without(["image"])


def test_a_shorter_model_keeps_the_name_of_an_output_that_went(ports, shake, rows):
    vector = tf_keras.Input((3,), name="vector")
    x = L.Dense(3, name="dense")(vector)
    model = shake(tf_keras.Model(vector, L.Dense(3, name="last")(x)))
    network = trainable(model, ports(model))
    short, given = network.without(["last"]), rows(network.signature)
    assert short.keras_model.output_names == ["last"] and short.network.outputs == ("last",)
    np.testing.assert_allclose(short.predict(given)["last"], network.activations(["dense"], given)["dense"])


def test_all_blocks_of_a_convnet_can_go_one_after_the_other(opened):
    _, network, given = opened("small_convnet")
    short = network.without(["add"]).without(["re_lu_1"])
    assert short.predict(given)["label"].shape == (4, 4)
    assert "conv2d_1" not in {node.name for node in short.network.nodes}
