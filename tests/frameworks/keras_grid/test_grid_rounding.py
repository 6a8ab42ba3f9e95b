"""The layers that round, held to TensorFlow's own reference and to values worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt.frameworks.keras.grid.layers import Rounding, nudged, on_grid, rounded_with_plain_gradient, sizes
from mlopt.ranges import fitted_scales, rounded, symmetric_scales

L = tf_keras.layers


def dense(bits, kernel):
    layer = on_grid(L.Dense)(units=kernel.shape[1], bits=bits, learnt=bits == 4, kept=(1,), name="layer")
    layer.build((None, kernel.shape[0]))
    layer.set_kernel(kernel)
    return layer


def test_values_are_rounded_to_256_steps_and_cut_off_at_the_ends():
    # From -1.0 to 4.1 are 255 steps of 0.02: zero is the 50th, 0.013 rounds to 0.02, 9 is cut to 4.1.
    layer = Rounding(-1.0, 4.1)
    assert layer(tf.constant([-3.0, 0.0, 0.013, 0.009, 9.0])).numpy().tolist() == pytest.approx([-1, 0, 0.02, 0, 4.1])


@given(st.floats(-50, 0), st.floats(0.01, 50), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_values_and_slopes_are_those_of_tensorflow_and_the_grid_told_is_the_one_used(low, high, seed):
    values = tf.constant(np.random.default_rng(seed).normal(0, 20, (3, 7)).astype(np.float32))
    layer = Rounding(low, high)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        mine = layer(values)
        reference = tf.quantization.fake_quant_with_min_max_vars(values, low, high)
    assert np.allclose(mine, reference, atol=1e-5 * (high - low))
    assert np.array_equal(tape.gradient(mine, values), tape.gradient(reference, values))
    end_low, end_high = nudged(*(float(end) for end in layer.range()))
    steps = (mine.numpy() - end_low) / ((end_high - end_low) / 255)
    assert np.abs(steps - np.rint(steps)).max() < 1e-2
    assert steps.min() > -0.01
    assert steps.max() < 255.01


def test_the_gradient_for_gpus_is_that_of_tensorflow():
    values = tf.constant(np.random.default_rng(0).normal(0, 2, (50, 7)).astype(np.float32))
    weights = tf.constant(np.random.default_rng(1).normal(size=(50, 7)).astype(np.float32))
    ends = [tf.constant(-1.3), tf.constant(2.1)]
    found = []
    for rounding in (rounded_with_plain_gradient, tf.quantization.fake_quant_with_min_max_vars):
        with tf.GradientTape() as tape:
            tape.watch([values, *ends])
            total = tf.reduce_sum(rounding(values, *ends) * weights)
        found.append(tape.gradient(total, [values, *ends]))
    for mine, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5)


def test_the_gradient_goes_straight_through_inside_of_the_range_and_ends_outside_of_it():
    values = tf.constant([-3.0, 0.3, 2.0])
    layer = Rounding(-1.0, 1.0, learned=True)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(layer(values) * tf.constant([1.0, 10.0, 100.0]))
    by_value, low, high = tape.gradient(total, [values, *layer.trainable_variables])
    assert by_value.numpy().tolist() == [0, 10, 0]
    # Only what is cut off moves an end; the width is 2, and nothing but the batch is there to scale by: 1 / sqrt(255).
    assert float(low) == pytest.approx(2 / 255**0.5)
    assert float(high) == pytest.approx(200 / 255**0.5)


def test_an_end_that_is_zero_stays_zero_and_a_fixed_range_learns_nothing():
    relu, fixed = Rounding(0.0, 5.0, learned=True), Rounding(-1.0, 5.0)
    for layer in (relu, fixed):
        layer(tf.zeros((1, 2)))
    assert [v.name.rpartition("/")[2] for v in relu.trainable_variables] == ["high:0"]
    assert not fixed.trainable_variables


def test_a_range_keeps_zero_inside_wherever_training_moves_its_ends():
    layer = Rounding(-1.0, 1.0, learned=True)
    layer(tf.zeros((1, 1)))
    layer.low.assign(0.7)
    layer.high.assign(-0.2)
    low, high = (float(end) for end in layer.range())
    assert low == 0
    assert 0 < high < 1e-6
    assert np.isfinite(layer(tf.constant([[3.0]])).numpy()).all()


def test_a_mean_between_two_steps_falls_to_the_side_of_the_average_pooling_kernel():
    # Steps of 1 from 0 to 255 are stored as -128 to 127. 2.5 is stored -125.5, away from zero: -126, which is 2;
    # 200.5 is stored 72.5: 73, which is 201. Without pooling both go up.
    layer = Rounding(0.0, 255.0)
    values = tf.constant([2.5, 200.5, 2.7])
    assert layer(values, pooled=True).numpy().tolist() == [2, 201, 3]
    assert layer(values).numpy().tolist() == [3, 201, 3]


def test_an_8_bit_kernel_reaches_127_in_every_output_channel():
    kernel = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    layer = dense(8, kernel)
    steps = symmetric_scales(kernel, 1)
    assert np.allclose(layer.rounded_kernel(), np.rint(kernel / steps) * steps, atol=1e-6)
    assert np.allclose(np.abs(layer.rounded_kernel()).max(axis=0), 127 * steps, rtol=1e-5)


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=12, deadline=None)
def test_a_4_bit_kernel_begins_with_the_steps_of_the_least_squared_error(seed, heavy):
    random = np.random.default_rng(seed)
    kernel = (random.standard_t(2, (30, 2)) if heavy else random.normal(size=(30, 2))).astype(np.float32)
    layer = dense(4, kernel)
    wanted = rounded(kernel, fitted_scales(kernel, [1], 7), 0, -7, 7)
    off = np.abs(layer.rounded_kernel() - wanted) > 1e-5 * np.abs(kernel).max()
    assert off.mean() < 0.05        # a weight between two steps falls to either side
    widest = symmetric_scales(kernel, 1, 7)
    error = np.square(layer.rounded_kernel() - kernel).sum()
    assert error <= np.square(rounded(kernel, widest, 0, -7, 7) - kernel).sum() * (1 + 1e-4)


def test_4_bit_steps_learn_by_what_rounding_added_and_by_what_was_cut_off():
    layer = dense(4, np.array([[0.23], [-0.1], [0.7], [0.7]], np.float32))
    layer.first_steps.assign([[0.1]])
    layer.stretch.assign([[0.5]])           # steps of 0.05: 0.23 is 4.6 of them, 0.7 would be 14 and is cut to 7
    np.testing.assert_allclose(layer.rounded_kernel(), [[0.25], [-0.1], [0.35], [0.35]], atol=1e-6)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.constant([[1.0, 2.0, 3.0, 0.0]])))
    kernel, stretch = tape.gradient(total, [layer.kernel, layer.stretch])
    # Esser et al. 2020: 5 - 4.6 for what is rounded, 7 for what is cut, over sqrt(4 weights * 7); times a first step.
    assert float(stretch[0, 0]) == pytest.approx(0.1 * (0.4 + 2 * 0 + 3 * 7) / 28**0.5, rel=1e-4)
    np.testing.assert_allclose(kernel / layer.kernel_sizes, [[1], [2], [0], [0]], atol=1e-6)


def test_a_kernel_gets_the_gradient_of_what_was_rounded_times_its_size():
    kernel = np.array([[0.5, 20.0], [-1.0, 3.0]], np.float32)
    layer, inputs = dense(8, kernel), tf.constant([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(inputs))
    (gradient,) = tape.gradient(total, [v for v in layer.trainable_variables if "kernel" in v.name])
    assert np.allclose(gradient, np.array([[1.0, 1.0], [2.0, 2.0]]) * sizes(kernel, [1]))


def test_what_is_trained_has_the_size_at_which_kernels_begin_whatever_the_folded_size_is():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 8, 4)) * np.array([1e-3, 0.1, 1.0, 50.0])
    trained = kernel / sizes(kernel.astype(np.float32), [3])
    # The largest channel is 50,000 times the smallest; a thousandth of it is the least that is evened out.
    assert np.sqrt(np.square(trained).mean(axis=(0, 1, 2)))[1:] == pytest.approx([np.sqrt(2 / 72)] * 3, rel=1e-4)
    assert sizes(np.zeros((2, 2), np.float32), [1]).tolist() == [[1.0, 1.0]]


def test_a_channel_of_zeros_stays_zeros():
    layer = dense(4, np.array([[0.0, 1.0], [0.0, -0.3]], np.float32))
    assert np.array_equal(layer.rounded_kernel()[:, 0], [0, 0])
    assert np.isfinite(layer.rounded_kernel()).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_a_depthwise_kernel_with_a_multiplier_has_a_step_for_each_output_channel(bits):
    layer = on_grid(L.DepthwiseConv2D)(kernel_size=3, depth_multiplier=2, bits=bits, learnt=bits == 4, kept=(2, 3))
    layer.build((None, 8, 8, 4))
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 2)).astype(np.float32) * np.arange(1, 9).reshape(4, 2)
    layer.set_kernel(kernel)
    assert layer.steps().shape == (1, 1, 4, 2)
    assert np.allclose(
        layer(tf.ones((1, 3, 3, 4)))[0, 0, 0], layer.rounded_kernel().numpy().sum(axis=(0, 1)).ravel(), atol=1e-4
    )


def test_a_layer_is_whole_again_after_it_was_called():
    layer = dense(8, np.ones((2, 2), np.float32))
    before = layer.kernel
    layer(tf.ones((1, 2)))
    with pytest.raises(tf.errors.InvalidArgumentError):
        layer.call(tf.ones((1, 3)))
    assert layer.kernel is before
