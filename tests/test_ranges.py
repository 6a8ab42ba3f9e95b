"""Range rules and grids, held to numpy, to hand-worked numbers, and to their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlopt.distribution import Distribution
from mlopt.ranges import (
    Range,
    least_squares,
    min_max,
    observed,
    percentile,
    rounded,
    sqnr_db,
    symmetric_scales,
    unsigned_grid,
)

VALUES = hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e4, 1e4, width=32))
SPANS = st.tuples(st.floats(-1e6, 0), st.floats(0, 1e6)).map(lambda ends: Range(low=ends[0], high=ends[1]))


def distribution(*parts) -> Distribution:
    found = observed()
    for part in parts:
        found.add(np.asarray(part, dtype=np.float32))
    return found


def test_percentiles_of_values_in_pieces_are_those_of_all_at_once():
    random = np.random.default_rng(0)
    parts = [random.normal(0, size, 4000) for size in (0.5, 1.0, 3.0)]
    for percent in (90.0, 99.0, 99.9):
        assert percentile(distribution(*parts), percent) == percentile(distribution(np.concatenate(parts)), percent)


def test_min_max_is_widened_to_hold_zero():
    assert min_max(distribution([2.0, 5.0])) == Range(low=0.0, high=5.0)
    assert min_max(distribution([-2.0, -1.0])) == Range(low=-2.0, high=0.0)


def test_percentile_leaves_the_asked_share_outside_to_a_bin():
    values = np.random.default_rng(1).normal(size=50_000)
    found = distribution(values)
    step = found.width
    for percent in (99.0, 99.9):
        tail = (100 - percent) / 200 * (1 + 1e-9)
        span = percentile(found, percent)
        assert (values < span.low - step).mean() <= tail <= (values < span.low + 2 * step).mean() + 1 / values.size
        assert (values > span.high + step).mean() <= tail <= (values > span.high - 2 * step).mean() + 1 / values.size


def test_percentile_100_keeps_everything():
    assert percentile(distribution([-1.0, 3.0, 4.0]), 100.0) == Range(low=-1.0, high=4.0)


@given(VALUES, st.sampled_from([99.9999, 99.99, 99.0, 90.0]))
def test_a_percentile_lies_within_min_max_and_holds_zero(values, percent):
    span, whole = percentile(distribution(values), percent), min_max(distribution(values))
    slack = 1e-6 * (whole.high - whole.low)
    assert whole.low - slack <= span.low <= 0 <= span.high <= whole.high + slack


def test_least_squares_cuts_a_lone_outlier_and_not_a_uniform_range():
    normal = np.random.default_rng(2).normal(size=100_000)
    assert least_squares(distribution(normal, [40.0]), levels=16).high < 10
    uniform = np.linspace(-1, 1, 100_001)
    assert least_squares(distribution(uniform)).high == pytest.approx(1.0, abs=0.03)


def test_least_squares_gives_no_more_error_than_min_max():
    values = np.random.default_rng(3).laplace(size=20_000).astype(np.float32)
    errors = []
    for span in (min_max(distribution(values)), least_squares(distribution(values), levels=16)):
        scale, zero_point = unsigned_grid(span, levels=16)
        errors.append(np.square(values - rounded(values, scale, zero_point, 0, 15)).mean())
    assert errors[1] < 0.8 * errors[0]


@given(SPANS)
def test_zero_is_exact_on_every_grid(span):
    scale, zero_point = unsigned_grid(span)
    assert 0 <= zero_point <= 255 and scale > 0 and scale == float(np.float32(scale))
    assert rounded(np.zeros(1), scale, zero_point, 0, 255)[0] == 0.0


@given(SPANS, st.floats(0, 1))
def test_a_value_inside_the_range_moves_by_at_most_a_step(span, place):
    scale, zero_point = unsigned_grid(span)
    value = span.low + place * (span.high - span.low)
    moved = abs(rounded(np.array([value]), scale, zero_point, 0, 255)[0] - value)
    assert moved <= scale * 1.001 + 1e-37


def test_a_range_from_zero_has_its_zero_point_at_zero():
    assert unsigned_grid(Range(low=0.0, high=6.0)) == (float(np.float32(6 / 255)), 0)
    assert unsigned_grid(Range(low=-1.28, high=1.27)) == (float(np.float32(2.55 / 255)), 128)
    assert unsigned_grid(Range(low=0.0, high=0.0)) == (1.0, 0)


@pytest.mark.parametrize("ends", [(0.5, 1.0), (-1.0, -0.5), (0.0, np.inf), (np.nan, 1.0)])
def test_a_range_without_zero_or_end_is_a_bad_argument(ends):
    with pytest.raises(ValueError, match="range"):
        Range(low=ends[0], high=ends[1])


@settings(max_examples=50)
@given(hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(-100, 100, width=32)), st.integers(0, 2))
def test_symmetric_scales_put_the_largest_weight_on_the_last_step(weights, axis):
    scales = symmetric_scales(weights, axis)
    for channel, scale in zip(np.moveaxis(weights, axis, 0), scales, strict=True):
        peak = np.abs(channel).max()
        if peak > 1e-30:
            assert round(float(peak / scale)) == 127
        assert np.isfinite(scale) and scale > 0


def test_signal_to_noise_by_hand():
    assert sqnr_db(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == pytest.approx(20.0)  # 25 over 0.25
    assert sqnr_db(np.ones(3), np.ones(3)) == float("inf")
    assert np.isnan(sqnr_db(np.zeros(3), np.ones(3)))
