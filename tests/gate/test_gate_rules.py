"""Numbers to a status: exact, scores, percentiles."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from mlopt.gate import rules
from mlopt.gate.verdict import Status

NAN = float("nan")
COUNTS = st.integers(0, 10**12)


def exact(value, *, max=None, growth=None, floor=0, ratchet=False, baseline=None):
    return rules.exact(value, max=max, growth=growth, floor=floor, ratchet=ratchet, baseline=baseline)


@given(COUNTS, COUNTS)
def test_a_ceiling_lets_through_exactly_what_is_not_above_it(value, limit):
    assert (exact(value, max=limit).status is Status.PASS) == (value <= limit)


@given(COUNTS, st.integers(0, 400), COUNTS)
def test_growth_is_compared_without_rounding(baseline, percent, value):
    allowed = Fraction(baseline) * (1 + Fraction(percent, 100))
    assert (exact(value, growth=percent / 100, baseline=baseline).status is Status.PASS) == (value <= allowed)


@given(COUNTS, COUNTS, COUNTS)
def test_a_floor_allows_small_growth_of_small_numbers(baseline, floor, value):
    found = exact(value, growth=0.0, floor=floor, baseline=baseline)
    assert (found.status is Status.PASS) == (value <= baseline + floor)


@given(COUNTS, COUNTS, COUNTS)
def test_a_ratchet_never_lets_a_value_above_the_limit_grow(value, limit, baseline):
    passed = exact(value, max=limit, ratchet=True, baseline=baseline).status is Status.PASS
    assert passed == (value <= max(limit, baseline))


def test_a_broken_growth_is_not_covered_by_a_kept_ceiling():
    found = exact(104, max=1000, growth=0.03, baseline=100)
    assert (found.status, found.rule, found.limit) == (Status.FAIL, "growth", 103)


@pytest.mark.parametrize("limit", [{"max": 5}, {"growth": 0.1, "baseline": 5}, {"ratchet": True, "baseline": 5}])
def test_a_missing_figure_fails(limit):
    assert exact(None, **limit).status is Status.FAIL


@pytest.mark.parametrize("limit", [{"growth": 0.1}, {"ratchet": True}, {"growth": 0.1, "max": 100}])
def test_a_missing_baseline_fails_what_needs_one(limit):
    assert exact(5, **limit).status is Status.FAIL


@pytest.mark.parametrize(("value", "limit", "status"), [
    (0.86, {"min": 0.86}, Status.PASS), (0.8599, {"min": 0.86}, Status.FAIL), (0.01, {"max": 0.01}, Status.PASS),
    (0.0101, {"max": 0.01}, Status.FAIL), (NAN, {"min": 0.0}, Status.FAIL), (NAN, {"max": 1.0}, Status.FAIL),
    (0.87 - 0.005, {"fall": 0.005, "baseline": 0.87}, Status.PASS),
    (0.864, {"fall": 0.005, "baseline": 0.87}, Status.FAIL),
    (0.87, {"fall": 0.005}, Status.FAIL), (0.9, {"min": 0.86, "fall": 0.005, "baseline": 0.95}, Status.FAIL),
    (0.85, {"min": 0.86, "fall": 0.5, "baseline": 0.95}, Status.FAIL),
])
def test_scores_keep_their_side_and_nan_keeps_none(value, limit, status):
    assert rules.score(value, **limit).status is status


@pytest.mark.parametrize(("limits", "broken"), [
    ({"allow": ["ADD"]}, ("allow", ("CONV_2D",))), ({"forbid": ["CONV_2D"]}, ("forbid", ("CONV_2D",))),
    ({"baseline": ["ADD"]}, ("ratchet", ("CONV_2D",))), ({"allow": ["ADD", "CONV_2D", "MUL"]}, ("", ())),
    ({"baseline": ["ADD", "CONV_2D", "MUL"]}, ("", ())),
])
def test_operations_are_held_against_sets(limits, broken):
    settings = {"allow": None, "forbid": (), "baseline": None} | limits
    assert rules.op_set(["CONV_2D", "ADD"], **settings) == broken


def test_a_file_without_known_operations_is_missing_and_not_empty():
    assert rules.op_set([], allow=["ADD"], forbid=(), baseline=None)[0] == "missing"


@pytest.mark.parametrize("rank", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_the_fewest_runs_leave_the_slowest_one_out(rank, confidence):
    n = rules.fewest_runs(rank, confidence)
    assert stats.binom.sf(1, n, 1 - rank) >= confidence > stats.binom.sf(1, n - 1, 1 - rank)


@pytest.mark.parametrize(("n", "rank"), [(50, 0.5), (200, 0.9), (1000, 0.99), (70, 0.9)])
def test_percentile_bounds_are_the_tightest_order_statistics_that_hold(n, rank):
    low, _, high = rules.percentile_bounds(np.arange(1.0, n + 1), rank, 0.99)
    k = int(high)        # sample k is the k-th smallest
    assert stats.binom.cdf(k - 1, n, rank) >= 0.99 > stats.binom.cdf(k - 2, n, rank)
    j = int(low)
    assert stats.binom.cdf(j - 1, n, rank) <= 0.01 < stats.binom.cdf(j, n, rank)


def test_the_upper_bound_covers_the_percentile_as_often_as_it_says():
    draw = np.random.default_rng(7)
    true = float(np.exp(stats.norm.ppf(0.9)))
    bounds = [rules.percentile_bounds(np.exp(draw.normal(0, 1, 200)), 0.9, 0.95) for _ in range(2000)]
    covered = np.mean([high >= true for _, _, high in bounds])
    under = np.mean([low <= true for low, _, _ in bounds])
    assert 0.95 - 0.015 <= covered <= 0.985 and 0.95 - 0.015 <= under <= 0.985     # 3 standard errors are 0.015


def test_p99_has_no_upper_bound_under_662_runs():
    assert np.isnan(rules.percentile_bounds(np.arange(661.0), 0.99, 0.99)[2])
    assert rules.percentile_bounds(np.arange(662.0), 0.99, 0.99)[2] == 660.0       # the second slowest of 0..661


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_percentile_passes_only_when_its_upper_bound_does(a, b, limit):
    low, high = min(a, b), max(a, b)
    status = rules.percentile_status(low, high, limit=limit)
    assert (status is Status.PASS) == (high <= limit)
    assert (status is Status.FAIL) == (low > limit)


def test_a_percentile_without_a_bound_fails():
    assert rules.percentile_status(NAN, NAN, limit=5.0) is Status.FAIL


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=24))
def test_paired_bounds_are_students(values):
    seen = np.array(values)
    assume(seen.std() > 1e-6)
    low, mean, high = rules.paired_bounds(seen, alpha=0.05)
    level = 1 - 2 * 0.05 / len(rules.LOOKS)
    expected = stats.t.interval(level, len(seen) - 1, loc=seen.mean(), scale=stats.sem(seen))
    assert (low, high) == pytest.approx(expected, rel=1e-6, abs=1e-9) and mean == pytest.approx(seen.mean())


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 1))
def test_the_paired_rule_never_says_both(middle, half, tolerance):
    status = rules.paired_status(middle - half, middle + half, tolerance=tolerance)
    limit = np.log1p(tolerance)
    assert status is (Status.FAIL if middle - half > limit else Status.PASS if middle + half <= limit else None)


def test_bounds_that_are_nan_decide_nothing():
    assert rules.paired_status(NAN, NAN, tolerance=0.05) is None
