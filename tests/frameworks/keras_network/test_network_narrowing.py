"""Fewer channels: the rebuilt network equals the one whose channels are silenced."""

import numpy as np
import pytest
import tf_keras

from mlopt.channels.coupling import couple
from mlopt.errors import BadRequest
from mlopt.frameworks.keras.network.model import trainable
from mlopt.testing import tiny

L = tf_keras.layers
ALL = (*tiny.TINY, "inverted_residuals", "squeeze_excite", "unet", "densenet", "siamese", "nested_outputs", "by_dict",
       "oddities", "volumes")  # fmt: skip


def near(got, wanted):
    assert got.keys() == wanted.keys()
    for name, one in wanted.items():
        np.testing.assert_allclose(got[name], one, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(one).max()))


def test_a_convolution_and_what_follows_are_cut_to_what_is_named(ports, shake, rows):
    image = tf_keras.Input((5, 5, 2), name="image")
    x = L.BatchNormalization(name="norm")(L.Conv2D(4, 3, name="conv")(image))
    model = shake(tf_keras.Model(image, L.Dense(2, name="out")(L.Flatten()(L.ReLU()(x)))))
    network = trainable(model, ports(model))
    stay = np.array([0, 3])
    flat = np.concatenate([stay + 4 * i for i in range(9)])
    kept = {
        "conv/kernel": {3: stay}, "conv/bias": {0: stay}, "out/kernel": {0: flat},
        **{f"norm/{part}": {0: stay} for part in ("gamma", "beta", "moving_mean", "moving_variance")},
    }  # fmt: skip
    small = network.narrowed(kept)
    assert small.network.node("conv").shape == (3, 3, 2) and small.network.node("out").shape == (2,)
    assert small.network.weights()["out/kernel"].shape == (18, 2)
    given = rows(network.signature)
    mask = network.weights()
    mask["out/kernel"][np.setdiff1d(np.arange(36), flat)] = 0
    wide = trainable(model, ports(model))
    wide.set_weights(mask)
    near(small.predict(given), wide.predict(given))
    assert small.signature == network.signature and small.keras_model.output_names == ["out"]


@pytest.mark.parametrize(
    ("name", "form"),
    [(name, "trained") for name in ALL] + [(name, "folded") for name in ("inverted_residuals", "densenet", "siamese")],
)
def test_the_rebuilt_network_equals_the_silenced_one(opened, name, form):
    _, network, given = opened(name)
    model = network.folded() if form == "folded" else network
    groups, random = couple(model.network), np.random.default_rng(7)
    assert groups.free, "nothing could be cut in this model"
    weights = model.weights()
    dropped = {g.name: np.sort(random.permutation(g.units)[: random.integers(1, g.units)]) for g in groups.free}
    small = model.narrowed(groups.kept(dropped))
    model.set_weights(groups.masked(weights, dropped))
    silenced = model.predict(given)
    model.set_weights(weights)
    near(small.predict(given), silenced)
    assert small.network.macs < model.network.macs
    assert [node.name for node in small.network.nodes] == [node.name for node in model.network.nodes]


def test_the_original_stays_as_it_was(opened):
    _, network, given = opened("small_convnet")
    before = network.predict(given)
    groups = couple(network.network)
    network.narrowed(groups.kept({g.name: np.array([0]) for g in groups.free}))
    near(network.predict(given), before)


def test_a_layer_without_channels_is_refused(opened):
    _, network, _ = opened("autoencoder")
    with pytest.raises(BadRequest, match="no channel of dense/kernel would stay"):
        network.narrowed({"dense/kernel": {1: np.array([], np.int64)}})


def test_indices_that_do_not_fit_each_other_are_told_by_the_weight(opened):
    _, network, _ = opened("autoencoder")
    with pytest.raises(ValueError, match=r"dense/bias has the shape \[2\]; got \[16\]"):
        network.narrowed({"dense/kernel": {1: np.array([0, 1])}})
    with pytest.raises(ValueError, match="no weight nobody/kernel"):
        network.narrowed({"nobody/kernel": {0: np.array([0])}})
