"""What a tensor or a kernel of a file was in training: told by values and by steps, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt.convert.trained import GridMismatch, Kernel, affine, factor_notes, kernels_on, nodes_of
from mlopt.grid import ActivationGrid, Grid, WeightGrid
from mlopt.scheme import INT8


def grid(**weights: WeightGrid) -> Grid:
    return Grid(scheme=INT8, activations={}, weights=weights, folder=Path())


@given(low=st.floats(-50, 0, width=32), high=st.floats(0, 50, width=32))
@settings(max_examples=300, deadline=None)
def test_steps_are_those_of_tensorflows_fake_quantization(low, high):
    if high - low < 1e-6:
        return
    scale, zero = affine(ActivationGrid(low=low, high=high))
    ends = tf.quantization.fake_quant_with_min_max_vars(tf.constant([-1e4, 0.0, 1e4]), low, high).numpy()
    assert ends[1] == 0 and 0 <= zero <= 255 and scale == np.float32(scale)
    assert np.allclose(ends, [-zero * scale, 0, (255 - zero) * scale], rtol=3e-7, atol=0)


def test_a_range_that_never_moves_stores_its_zero():
    assert affine(ActivationGrid(low=0.0, high=0.0)) == (1.0, 0)


def test_a_half_is_rounded_up_as_tensorflow_does():
    assert affine(ActivationGrid(low=-0.5, high=254.5)) == (1.0, 1)
    assert affine(ActivationGrid(low=-2.5, high=252.5)) == (1.0, 3)


def rows(*values):
    return np.array(values, np.float32).reshape(2, 1, -1)


def test_a_tensor_is_the_node_that_gives_its_values():
    nodes = {"a": rows(1, 2, 3, 4)[:, 0], "b": rows(1, 2, 3, 5)[:, 0]}
    tensors = {7: (rows(1, 2, 3, 5),), 8: (rows(1, 2, 3, 4.00001),), 9: (rows(1, 2, 3, 9),)}
    assert nodes_of(tensors, nodes) == {7: "b", 8: "a"}


def test_a_relu_that_clips_nothing_is_told_from_what_it_reads_by_order():
    nodes = {"sum": rows(1, 2), "relu": rows(1, 2)}
    assert nodes_of({1: (rows(1, 2),), 2: (rows(1, 2),)}, nodes) == {1: "sum", 2: "relu"}
    assert nodes_of({1: (rows(1, 2),)}, nodes) == {1: "relu"}       # joined to one operation
    assert nodes_of({k: (rows(1, 2),) for k in (1, 2, 3)}, nodes) == {1: "relu", 2: "relu", 3: "relu"}


def test_channels_may_stand_first_in_a_file():
    last = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    first = np.moveaxis(last, -1, 1)[:, None]
    assert nodes_of({"t": (first, np.moveaxis(first, 2, -1))}, {"n": last}) == {"t": "n"}
    assert nodes_of({"t": (first,)}, {"n": last}) == {}


def test_a_kernel_is_the_whole_numbers_of_the_steps_that_it_stands_on():
    wanted = grid(one=WeightGrid(bits=4, axis=1, steps=(0.5, 0.1)), two=WeightGrid(bits=8, axis=1, steps=(0.3, 0.7)))
    kernel = Kernel(values=np.array([[0.5, -1.5], [0.7, 0.1]], np.float32), axis=0, label="DENSE#0")
    other = Kernel(values=np.array([[3.0, -30.0], [0.7, 7.0]], np.float32), axis=0, label="DENSE#1")
    found = kernels_on({0: kernel, 1: other}, wanted)
    assert found[0].node == "one" and found[0].bits == 4
    assert found[0].whole.tolist() == [[1, -3], [7, 1]] and found[0].whole.dtype == np.int8
    assert found[1].node == "two" and found[1].whole.tolist() == [[10, -100], [1, 10]]


def test_a_layer_used_twice_may_be_one_kernel_and_a_kernel_of_zeros_leaves_others_their_node():
    steps = WeightGrid(bits=8, axis=1, steps=(0.5,))
    used = Kernel(values=np.array([[0.5, 1.0]], np.float32), axis=0, label="a")
    nothing = Kernel(values=np.zeros((1, 2), np.float32), axis=0, label="b")
    assert kernels_on({0: used}, grid(first=steps, second=steps))[0].node == "first"
    found = kernels_on({0: nothing, 1: used}, grid(first=steps, second=WeightGrid(bits=8, axis=1, steps=(0.3,))))
    assert [found[0].node, found[1].node] == ["second", "first"]


def test_a_depthwise_kernel_repeats_the_step_of_its_input_channel():
    wanted = grid(wide=WeightGrid(bits=8, axis=2, steps=(0.5, 0.25)))
    values = np.array([1.0, -0.5, 0.25, 0.75], np.float32).reshape(1, 1, 1, 4)
    found = kernels_on({0: Kernel(values=values, axis=3, label="dw", depthwise=True)}, wanted)
    assert found[0].whole.reshape(-1).tolist() == [2, -1, 1, 3] and found[0].steps.tolist() == [0.5, 0.5, 0.25, 0.25]


def test_a_number_that_the_exporter_drew_into_a_kernel_leaves_its_whole_numbers():
    wanted = WeightGrid(bits=8, axis=1, steps=(0.5, 0.25))
    whole = np.random.default_rng(0).integers(-100, 101, (2, 30))
    values = (0.2 * whole * np.array([[0.5], [0.25]])).astype(np.float32)
    found = kernels_on({0: Kernel(values=values, axis=0, label="c")}, grid(gate=wanted))[0]
    assert np.array_equal(found.whole, whole) and found.factor == pytest.approx(0.2)
    assert found.steps == pytest.approx([0.1, 0.05]) and "gate by 0.2" in factor_notes([found])[0]
    noise = np.random.default_rng(1).normal(size=(2, 30)).astype(np.float32)
    with pytest.raises(GridMismatch, match="gate"):
        kernels_on({0: Kernel(values=noise, axis=0, label="c")}, grid(gate=wanted))


@pytest.mark.parametrize(("steps", "bits", "words"), [
    ((0.4,), 8, "0.5 steps off"), ((0.05,), 4, "4-bit steps"), ((0.5, 0.5, 0.5), 8, "3 channels"),
])
def test_a_node_without_its_kernel_is_named_with_the_reason(steps, bits, words):
    kernel = Kernel(values=np.array([[0.5, 1.0]], np.float32), axis=0, label="DENSE#0")
    with pytest.raises(GridMismatch, match=words) as caught:
        kernels_on({0: kernel}, grid(lost=WeightGrid(bits=bits, axis=1, steps=steps)))
    assert caught.value.nodes == ["lost"] and "lost" in str(caught.value)
