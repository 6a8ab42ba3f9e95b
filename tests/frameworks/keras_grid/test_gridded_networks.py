"""Keras networks of many shapes with rounding in them: what stays, what is rounded, and what can be trained."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mlopt.errors import BadRequest
from mlopt.frameworks.keras.network.model import trainable
from mlopt.grid import ActivationGrid, before
from mlopt.network import Kind
from mlopt.scheme import MIXED_4_8, Granularity
from mlopt.testing.tiny import TINY, TinyModel, build, inputs_for

L = tf_keras.layers


def opened(model):
    tiny = TinyModel(model)
    return trainable(tiny.model, tiny.signature).folded(), inputs_for(tiny, 16)


EIGHT, FOUR = MIXED_4_8.weights


def formats(model, each=EIGHT):
    kinds = (Kind.CONVOLUTION, Kind.DEPTHWISE)
    return {node.name: each for node in model.network.nodes if node.kind in kinds}


def ranges(model, inputs):
    names = [node.name for node in model.network.nodes]
    return {
        name: ActivationGrid(low=min(0.0, float(values.min())), high=max(0.01, float(values.max())))
        for name, values in model.activations(names, inputs).items()
    }


@pytest.mark.parametrize("name", sorted(TINY))
def test_without_ranges_and_formats_the_network_is_what_it_was(name):
    model, inputs = opened(build(name))
    same = model.on_grid({}, {})
    assert same.network is model.network
    for key, values in model.predict(inputs).items():
        np.testing.assert_allclose(same.predict(inputs)[key], values, atol=1e-5)
    for key, values in model.weights().items():
        np.testing.assert_array_equal(same.weights()[key], values)


@pytest.mark.parametrize("name", sorted(TINY))
def test_rounding_everything_to_8_bits_changes_little_and_strips_to_the_rounded_kernels(name):
    model, inputs = opened(build(name))
    activations, wanted = ranges(model, inputs), formats(model)
    gridded = model.on_grid(activations, wanted)
    for key, values in model.predict(inputs).items():
        assert np.abs(gridded.predict(inputs)[key] - values).mean() < 0.02 * np.abs(values).max()
    found, kernels = gridded.grids()
    assert kernels.keys() == wanted.keys()
    assert found.keys() <= activations.keys()
    stripped = gridded.stripped()
    for node, grid in kernels.items():
        kernel = stripped.weights()[model.network.node(node).kernel.name]
        assert (grid.bits, grid.axis) == (8, model.network.node(node).kernel_axes[0])
        channels = np.moveaxis(kernel, grid.axis, -1) if kernel.shape[-1] != 1 else kernel[..., 0]
        whole = channels.reshape(-1, len(grid.steps)) / np.array(grid.steps)
        assert np.abs(whole - np.rint(whole)).max() < 1e-3
    again = stripped.on_grid(activations, wanted)
    for key, values in gridded.predict(inputs).items():     # rounding what is rounded changes nothing
        np.testing.assert_allclose(again.predict(inputs)[key], values, atol=0.02 * max(np.abs(values).max(), 1e-6))


def test_what_consumers_get_stands_on_the_grid_also_where_a_layer_is_used_twice():
    image = tf_keras.Input((4, 4, 2), name="image")
    twice = L.Conv2D(2, 3, padding="same", activation="relu", name="twice")
    once = twice(image)
    model, inputs = opened(tf_keras.Model(image, L.Add(name="sum")([once, twice(once)])))
    assert {"twice", "twice@1"} <= {node.name for node in model.network.nodes}
    activations = ranges(model, inputs)
    gridded = model.on_grid(activations, formats(model))
    found, _ = gridded.grids()
    for name, values in gridded.activations(["twice", "twice@1", "sum"], inputs).items():
        step = (found[name].high - found[name].low) / 255
        assert np.abs(values / step - np.rint(values / step)).max() < 1e-3
    assert found["twice"] != found["twice@1"]


def test_values_of_one_group_are_rounded_by_one_range():
    image = tf_keras.Input((4, 4, 2), name="image")
    parts = [L.Conv2D(2, 1, name=name)(image) for name in ("a", "b")]
    model, _ = opened(tf_keras.Model(image, L.Concatenate(name="joined")(parts)))
    wide = ActivationGrid(low=-3.0, high=5.0)
    group = ("a", "b", "joined")
    gridded = model.on_grid(dict.fromkeys(group, wide), {}, shared=[group], learned=group)
    learned = [v.name for v in gridded.keras_model.trainable_variables if "range" in v.name]
    assert learned == ["a/range/low:0", "a/range/high:0"]
    gridded.variables["a/range/high"].assign(0.5)
    found, _ = gridded.grids()
    assert found["a"] == found["b"] == found["joined"]
    assert found["a"].high == pytest.approx(4.0, abs=0.05)      # half of the first width of 8


def test_a_value_before_an_activation_function_can_be_seen_and_rounded():
    model, inputs = opened(build("small_convnet"))
    logits = model.on_grid({}, {}).activations([before("label")], inputs)[before("label")]
    np.testing.assert_allclose(tf.nn.softmax(logits), model.predict(inputs)["label"], atol=1e-6)
    coarse = ActivationGrid(low=-25.5, high=0.0)                # steps of 0.1, and nothing above zero
    gridded = model.on_grid({before("label"): coarse}, {})
    seen = gridded.activations([before("label")], inputs)[before("label")]
    np.testing.assert_allclose(seen, np.rint(np.clip(logits, -25.5, 0) * 10) / 10, atol=1e-5)


def test_weights_can_be_set_and_come_back():
    model, _ = opened(build("depthwise_convnet"))
    gridded = model.on_grid({}, formats(model))
    random = np.random.default_rng(0)
    new = {name: random.normal(size=values.shape).astype(np.float32) for name, values in gridded.weights().items()}
    gridded.set_weights(new)
    for name, values in gridded.weights().items():
        np.testing.assert_allclose(values, new[name], rtol=1e-5)
    for name, values in model.weights().items():                # the one it was made of keeps its own
        assert not np.allclose(values, new[name])


def test_a_few_steps_of_gradient_descent_bring_the_answers_nearer():
    model, inputs = opened(build("small_convnet"))
    gridded = model.on_grid(ranges(model, inputs), formats(model, FOUR), learned=list(ranges(model, inputs)))
    wanted, image = model.predict(inputs)["label"], tf.constant(inputs["image"])
    optimizer, losses = tf_keras.optimizers.Adam(2e-3), []
    for _ in range(25):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf_keras.losses.kl_divergence(wanted, gridded.keras_model(image, training=True)))
        variables = gridded.keras_model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


def test_it_can_be_cloned_for_a_strategy_and_compiled_by_xla():
    model, inputs = opened(build("depthwise_convnet"))
    gridded = model.on_grid(ranges(model, inputs), formats(model, FOUR))
    twin = tf_keras.models.clone_model(gridded.keras_model)
    twin.set_weights(gridded.keras_model.get_weights())
    features = tf.constant(inputs["features"])
    wanted = gridded.predict(inputs)["word"]
    np.testing.assert_allclose(twin(features), wanted, atol=1e-6)
    compiled = tf.function(gridded.keras_model, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(features), wanted, atol=0.01)


def test_what_is_on_its_grid_is_not_changed_any_more():
    model, _ = opened(build("autoencoder"))
    gridded = model.on_grid({}, formats(model))
    for change in (gridded.folded, lambda: gridded.without(["dense"]), lambda: gridded.narrowed({})):
        with pytest.raises(BadRequest, match="change it before `quantize`"):
            change()


def test_a_format_for_what_has_no_kernel_and_two_formats_for_one_kernel_are_refused():
    model, _ = opened(build("small_convnet"))
    with pytest.raises(ValueError, match=r"add \(Add\) has no kernel with a grid of 8 bits"):
        model.on_grid({}, {"add": EIGHT})
    image = tf_keras.Input((4, 4, 2), name="image")
    twice = L.Conv2D(2, 3, padding="same", name="twice")
    shared, _ = opened(tf_keras.Model(image, twice(twice(image))))
    with pytest.raises(ValueError, match="share twice/kernel"):
        shared.on_grid({}, {"twice": EIGHT, "twice@1": FOUR})


def test_one_step_for_a_whole_kernel_is_given_for_each_of_its_channels():
    # Symmetric, not learnt: the largest weight of the kernel has the largest integer, so one step is that over 127.
    model, _ = opened(build("depthwise_convnet"))
    whole = replace(EIGHT, granularity=Granularity.TENSOR)
    gridded = model.on_grid({}, formats(model, whole))
    weights, (_, kernels) = model.weights(), gridded.grids()
    for name, grid in kernels.items():
        node = model.network.node(name)
        wanted = np.abs(weights[node.kernel.name]).max() / 127
        assert len(grid.steps) == np.prod([node.kernel.shape[axis] for axis in node.kernel_axes])
        np.testing.assert_allclose(grid.steps, wanted, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"bits": 16}, {"symmetric": False}])
def test_a_format_that_cannot_be_trained_is_refused(wrong):
    model, _ = opened(build("autoencoder"))
    with pytest.raises(BadRequest, match="cannot be trained: 2 to 8 bits, symmetric, can"):
        model.on_grid({}, formats(model, replace(EIGHT, **wrong)))
