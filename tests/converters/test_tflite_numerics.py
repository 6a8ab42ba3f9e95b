"""The arithmetic behind the TFLite files, against brute force, hand calculation and LiteRT's own kernels."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlopt_tflite import flatfile, mixed, rounding
from mlopt_tflite.bias import through_channels
from mlopt_tflite.engine import to_real, to_stored
from mlopt_tflite.judge import agreement, distance, noise
from mlopt_tflite.mixed import Choice, Plan
from mlopt_tflite.patches import conv_patches
from mlopt_tflite.ranges import least_error
from mlopt_tflite.scales import affine, constant_affine
from mlopt_tflite.weights import Layer, fitted, spanned

from mlopt import ranges

int4s = st.lists(st.integers(-8, 7), min_size=1, max_size=40)
choices = st.lists(
    st.builds(
        Choice, op=st.just(0), saved_bytes=st.integers(0, 40).map(lambda n: 16 * n), noise=st.integers(0, 30).map(float)
    ),
    max_size=7,
).map(lambda cs: [Choice(op=i, saved_bytes=c.saved_bytes, noise=c.noise) for i, c in enumerate(cs)])


@given(int4s)
def test_four_bit_numbers_come_back_as_they_went_in(numbers):
    packed = flatfile.pack_int4(np.array(numbers))
    assert len(packed) == -(-len(numbers) // 2)
    assert flatfile.unpack_int4(packed, (len(numbers),)).tolist() == numbers


@given(st.floats(-1e4, -1e-6), st.floats(1e-6, 1e4), st.sampled_from(["int8", "int16"]))
def test_zero_is_stored_exactly_and_the_ends_of_a_range_are_reached_within_half_a_step(low, high, kind):
    scale, zero = affine(low, high, kind)
    dtype = np.dtype(kind)
    assert to_real(to_stored(np.zeros(1, np.float32), dtype, scale, zero), scale, zero).tolist() == [0.0]
    ends = np.array([low, high], np.float32)
    back = to_real(to_stored(ends, dtype, scale, zero), scale, zero)
    assert np.all(np.abs(back - ends) <= scale * 1.01)   # rounding the zero point moves an end by half a step more


def test_a_byte_range_is_stored_without_loss():
    scale, zero = affine(0.0, 255.0, "int8")
    pixels = np.arange(256, dtype=np.float32)
    assert np.array_equal(to_real(to_stored(pixels, np.dtype("int8"), scale, zero), scale, zero), pixels)


def test_a_repeated_constant_is_exact():
    scale, zero = constant_affine(np.full(3, -0.3), "int8")
    stored = to_stored(np.full(3, -0.3, np.float32), np.dtype("int8"), scale, zero)
    assert stored.tolist() == [-127] * 3 and to_real(stored, scale, zero)[0] == pytest.approx(-0.3, rel=1e-6)


def test_the_least_squared_error_clips_a_lone_outlier_and_keeps_a_flat_range():
    flat, tailed = ranges.observed(), ranges.observed()
    even = np.linspace(0, 1, 10**6).astype(np.float32)   # rounding to 4/255 would cost 20, clipping 4 to 1.3 costs 7
    flat.add(even)
    tailed.add(np.append(even, np.float32(4.0)))
    assert least_error(flat)[1] == pytest.approx(1.0)
    assert 1.0 <= least_error(tailed)[1] < 2.5


def test_nothing_and_zeros_have_an_empty_range():
    empty, zeros = ranges.observed(), ranges.observed()
    zeros.add(np.zeros(5, np.float32))
    assert (0.0, 0.0) == least_error(empty) == least_error(zeros)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 2))])
def test_patches_times_weights_are_a_convolution(same, stride, dilation):
    import tensorflow as tf

    random = np.random.default_rng(2)
    image, kernel = random.normal(size=(9, 11, 3)), random.normal(size=(3, 2, 3, 4))
    rows = conv_patches(image, (3, 2), stride, dilation, same=same, count=10**6, random=random)
    expected = tf.nn.conv2d(image[None], kernel, stride, "SAME" if same else "VALID", dilations=dilation)[0].numpy()
    assert np.allclose(rows @ kernel.reshape(-1, 4), expected.reshape(-1, 4))


def test_sampled_patches_are_some_of_all_patches_each_once():
    image = np.arange(36.0).reshape(6, 6, 1)
    rows = conv_patches(image, (1, 1), (1, 1), (1, 1), same=True, count=10, random=np.random.default_rng(0))
    assert len(rows) == 10 and len(set(rows.ravel().tolist())) == 10


def test_fitted_scales_are_never_worse_than_scales_that_clip_nothing():
    weights = np.random.default_rng(3).standard_t(3, size=(6, 3, 3, 5)).astype(np.float32)
    error = {f: ((f(weights, 0, 4).real() - weights) ** 2).sum() for f in (fitted, spanned)}
    assert error[fitted] < error[spanned]


def test_depthwise_scales_run_along_the_last_axis():
    weights = np.ones((1, 3, 3, 2), np.float32) * np.array([1.27, 12.7], np.float32)
    quantized = spanned(weights, 3, 8)
    assert quantized.scale.tolist() == pytest.approx([0.01, 0.1]) and np.all(quantized.values == 127)


def test_carried_rounding_moves_the_output_less_than_rounding_to_nearest():
    random = np.random.default_rng(4)
    inputs = random.normal(size=(3000, 6)) @ random.normal(size=(6, 40)) + 0.1 * random.normal(size=(3000, 40))
    weights = random.normal(size=(8, 40)).astype(np.float32)
    covariance = np.cov(inputs.T, bias=True)
    moved = {
        name: ((inputs - inputs.mean(0)) @ (q.real() - weights).T).var()
        for name, q in {"nearest": fitted(weights, 0, 4), "carried": rounding.carried(weights, covariance, 4)}.items()
    }
    assert moved["carried"] < 0.25 * moved["nearest"]


def test_carried_rounding_without_correlation_is_rounding_to_nearest():
    weights = np.array([[0.7, -0.33, 0.12], [0.05, 0.7, -0.7]], np.float32)
    quantized = rounding.carried(weights, np.eye(3), 4)
    nearest = np.rint(weights / quantized.scale[:, None])
    assert np.array_equal(quantized.values, nearest)


@given(choices)
@settings(max_examples=60, deadline=None)
def test_the_frontier_holds_every_plan_that_no_other_beats_and_no_other_plan(found):
    every = []
    for size in range(len(found) + 1):
        for some in combinations(found, size):
            every.append((sum(c.saved_bytes for c in some), sum(c.noise for c in some)))
    best = {
        (saved, cost) for saved, cost in every
        if not any((s >= saved and n < cost) or (s > saved and n <= cost) for s, n in every)
    }
    assert {(p.saved_bytes, p.noise) for p in mixed.frontier(found)} == best


def test_the_largest_acceptable_plan_is_chosen_by_measurement():
    plans = [Plan(ops=frozenset(range(n)), saved_bytes=16 * n, noise=float(n)) for n in range(9)]
    chosen, found, measured = mixed.choose(
        plans, lambda p: mixed.Distance(noise=0.001 * len(p.ops), agreement=1.0 - 0.005 * len(p.ops))
    )
    assert len(chosen.ops) == 5 and found.agreement == 0.975 and measured <= 6


def test_without_an_acceptable_plan_everything_stays_at_8_bits():
    plans = [Plan(ops=frozenset(range(n)), saved_bytes=16 * n, noise=float(n)) for n in range(4)]
    good, bad = mixed.Distance(noise=0.001, agreement=0.99), mixed.Distance(noise=0.001, agreement=0.97)
    chosen, _, _ = mixed.choose(plans, lambda p: bad if p.ops else good)
    assert chosen.ops == frozenset()


def test_agreement_of_scores_is_by_the_largest_and_of_values_by_size_of_error():
    scores = np.array([[0.6, 0.4], [0.1, 0.9]])
    assert agreement(scores, scores[:, ::-1]) == 0.0
    values = np.array([[3.0, 4.0], [30.0, 40.0]])   # lengths 5 and 50
    assert agreement(values, values + np.array([0.0, 1.0])) == 0.5


def test_noise_that_is_not_finite_is_infinite():
    assert noise(np.ones((2, 1)), np.array([[1.0], [np.nan]])) == float("inf")
    assert distance({"y": np.ones((2, 1))}, {"y": np.full((2, 1), np.inf)}).noise == float("inf")


def test_a_depthwise_response_belongs_to_the_channel_that_made_it():
    layer = Layer(
        op=0, kind="DEPTHWISE_CONV_2D", input=0, weight=1, bias=None, output=2, axis=3, shape=(1, 2, 1, 4)
    )
    weights = np.arange(8.0).reshape(1, 2, 1, 4)   # two outputs for each of two channels
    assert through_channels(layer, weights, np.array([1.0, 10.0])).tolist() == [4.0, 6.0, 80.0, 100.0]


@given(st.floats(0, 1e-13), st.sampled_from(["int8", "int16"]))
def test_a_range_of_next_to_nothing_still_has_a_scale_that_float32_can_hold(high, kind):
    scale, zero = affine(0.0, high, kind)
    stored = to_stored(np.zeros(1, np.float32), np.dtype(kind), scale, zero)
    assert np.float32(scale) > 0 and to_real(stored, scale, zero).tolist() == [0.0]


def test_where_8_bits_miss_the_bound_a_plan_may_not_be_much_worse_than_they_are():
    plans = [Plan(ops=frozenset(range(n)), saved_bytes=16 * n, noise=float(n)) for n in range(4)]
    agreements = {0: 0.90, 1: 0.895, 2: 0.85, 3: 0.80}
    chosen, _, _ = mixed.choose(plans, lambda p: mixed.Distance(noise=0.001, agreement=agreements[len(p.ops)]))
    assert len(chosen.ops) == 1
