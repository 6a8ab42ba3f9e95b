"""Masks take the smallest weights, in the pattern asked for, and the schedule takes them in time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt.frameworks.fitting import Hold
from mlopt.steps.kernels import Kernel, rounded, zipped_bytes
from mlopt.steps.prune import Prune
from mlopt.steps.prune.apply import Gradual
from mlopt.steps.prune.sparsity import across, fits, mask_of, ramp

SHAPES = st.sampled_from([(4, 8), (3, 3, 4, 4), (1, 8, 12), (2, 4, 4)])


def kernel_of(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(SHAPES, st.floats(0, 1), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_single_weights_go_smallest_first_and_as_many_as_asked(shape, sparsity, seed):
    kernel = kernel_of(shape, seed)
    mask = mask_of(kernel, sparsity, "unstructured", (len(shape) - 1, len(shape) - 2))
    assert (~mask).sum() == round(kernel.size * sparsity)
    if mask.any() and not mask.all():
        assert np.abs(kernel[~mask]).max() <= np.abs(kernel[mask]).min()


@given(SHAPES, st.floats(0, 0.5), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_two_of_four_input_channels_stay_and_they_are_the_larger_ones(shape, sparsity, seed):
    kernel = kernel_of(shape, seed)
    axis = len(shape) - 2
    mask = mask_of(kernel, sparsity, "2:4", (len(shape) - 1, axis))
    groups = np.moveaxis(mask, axis, -1).reshape(-1, 4)
    values = np.abs(np.moveaxis(kernel, axis, -1).reshape(-1, 4))
    assert set(groups.sum(axis=1).tolist()) <= {2, 4}
    for kept, sizes in zip(groups, values, strict=True):
        if kept.sum() == 2:
            assert sizes[kept].min() >= sizes[~kept].max()
    assert (groups.sum(axis=1) == 2).sum() == round(len(groups) * 2 * sparsity)


def test_at_half_every_four_lose_two_along_the_input_axis_of_a_convolution():
    kernel = kernel_of((3, 3, 8, 5), 0)
    mask = mask_of(kernel, 0.5, "2:4", (3, 2))
    for y in range(3):
        for x in range(3):
            for o in range(5):
                for start in (0, 4):
                    part = np.abs(kernel[y, x, start : start + 4, o])
                    assert set(np.flatnonzero(mask[y, x, start : start + 4, o])) == set(np.argsort(part)[2:])


@given(st.sampled_from([(2, 8), (3, 3, 3, 12)]), st.floats(0, 1), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_blocks_of_four_output_channels_go_together(shape, sparsity, seed):
    kernel = kernel_of(shape, seed)
    mask = mask_of(kernel, sparsity, "block-1x4", (len(shape) - 1, len(shape) - 2))
    blocks = mask.reshape(-1, 4)
    assert (blocks.all(axis=1) | ~blocks.any(axis=1)).all()
    assert (~blocks.any(axis=1)).sum() == round(len(blocks) * sparsity)
    norms = np.square(kernel.reshape(-1, 4), dtype=np.float64).sum(axis=1)
    kept = blocks.all(axis=1)
    if kept.any() and not kept.all():
        assert norms[~kept].max() <= norms[kept].min()


def test_a_transposed_kernel_has_its_blocks_on_its_own_output_axis():
    kernel = kernel_of((2, 2, 8, 3), 1)                # taps, out, in
    mask = mask_of(kernel, 0.5, "block-1x4", (2, 3))
    assert (mask[:, :, :4].all(axis=2) | ~mask[:, :, :4].any(axis=2)).all() and (~mask).sum() == 48


def test_a_pattern_that_does_not_divide_the_channels_is_told():
    assert "has 3" in fits((3, 3, 3, 8), "2:4", (3, 2)) and not fits((3, 3, 4, 8), "2:4", (3, 2))
    assert "has 6" in fits((3, 3, 4, 6), "block-1x4", (3, 2)) and not fits((3, 3, 3, 7), "unstructured", (3, 2))


def test_the_ramp_is_the_cubic_of_zhu_and_gupta():
    # s = sf + (si - sf) * (1 - (t - t0) / (n dt)) ** 3 with si = 0.2, sf = 0.9, t0 = 100, n dt = 200, at t = 150
    assert ramp(150, begin=100, end=300, first=0.2, last=0.9) == pytest.approx(0.9 - 0.7 * 0.75**3)


def test_magnitudes_across_layers_are_those_of_lamp():
    scores = across({"a": np.array([[4.0, 1.0]]), "b": np.array([9.0, 9.0, 0.0])})
    assert scores["a"].tolist() == [[1.0, 0.2]]                      # 4 / 4, 1 / (1 + 4)
    assert sorted(scores["b"].tolist()) == [0.0, 0.5, 1.0]           # 0, 9 / 18, 9 / 9


def kernel(name, shape):
    return Kernel(name=name, shape=shape, out_axis=len(shape) - 1, in_axis=len(shape) - 2)


def schedule(**changes):
    fields = {"settings": Prune(sparsity=0.8, epochs=1), "kernels": (kernel("k", (16, 16)),), "earlier": {}, "every": 5}
    return Gradual(**(fields | changes))


def test_the_schedule_rises_to_what_was_asked_and_stays():
    weights = {"k": kernel_of((16, 16), 2)}
    found, zeros = schedule(), []
    for step in range(0, 100, 5):
        mask = found.holds(step, 100, weights)["k"].mask
        assert not (mask & (weights["k"] == 0)).any() or zeros == []
        weights["k"] = weights["k"] * mask
        zeros.append(int((~mask).sum()))
    assert zeros == sorted(zeros) and zeros[0] == 0 and zeros[15:] == [round(0.8 * 256)] * 5
    expected = 0.8 * (1 - (1 - 25 / 75) ** 3)
    assert zeros[5] == round(expected * 256)


@pytest.mark.parametrize(("steps", "every", "begin", "end"), [(1, 1, 0.0, 0.75), (7, 3, 0.0, 1.0), (10, 4, 0.9, 1.0)])
def test_the_last_time_that_the_schedule_is_asked_it_asks_for_all(steps, every, begin, end):
    weights = {"k": kernel_of((16, 16), 3)}
    found = schedule(settings=Prune(sparsity=0.8, epochs=1, begin=begin, end=end), every=every)
    last = [found.holds(step, steps, weights) for step in range(0, steps, every)][-1]
    assert (~last["k"].mask).sum() == round(0.8 * 256)


def test_before_the_schedule_begins_nothing_is_held():
    found = schedule(settings=Prune(sparsity=0.8, epochs=1, begin=0.5))
    assert found.holds(45, 100, {"k": kernel_of((16, 16), 4)}) is None


def test_zeros_of_an_earlier_step_are_the_first_to_count():
    earlier = np.ones((16, 16), bool)
    earlier[:8] = False                                             # half of it, among them large weights
    found = schedule(earlier={"k": Hold(mask=earlier)}, settings=Prune(sparsity=0.75, epochs=1))
    mask = found.masks({"k": kernel_of((16, 16), 5)}, 1.0)["k"].mask
    assert not (mask & ~earlier).any() and (~mask).sum() == 192
    assert (~found.masks({"k": kernel_of((16, 16), 5)}, 0.0)["k"].mask).sum() == 128


def test_one_threshold_for_all_kernels_spares_the_small_one():
    kernels = (kernel("large", (32, 32)), kernel("small", (4, 4)))
    weights = {"large": kernel_of((32, 32), 6), "small": kernel_of((4, 4), 7)}
    found = schedule(kernels=kernels, settings=Prune(sparsity=0.9, epochs=1, scope="global"))
    masks = {name: hold.mask for name, hold in found.masks(weights, 1.0).items()}
    gone = sum(int((~mask).sum()) for mask in masks.values())
    assert gone == round(0.9 * 1040) and masks["small"].mean() > masks["large"].mean() and masks["small"].any()


def test_bytes_are_those_of_zlib():
    import zlib

    weights = {"k": kernel_of((8, 8), 8)}
    found = zipped_bytes(weights, (kernel("k", (8, 8)),))
    assert found["zipped_float_bytes"] == len(zlib.compress(weights["k"].tobytes(), 9))
    assert np.abs(rounded(weights["k"], 1)).max(axis=0).tolist() == [127] * 8
    assert rounded(np.zeros((2, 2)), 1).tolist() == [[0, 0], [0, 0]]
