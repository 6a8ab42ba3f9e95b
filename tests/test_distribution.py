"""A distribution adds up: whatever the order and the pieces, the state is the same, and numpy's quantiles are near."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlopt import plain
from mlopt.distribution import Distribution, DistributionState

LAWS = ({"across": 8}, {"across": 4096}, {"occupied": 256}, {"occupied": 5}, {"across": 64, "occupied": 4})
FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1024.0, 2.0**-149]),
    st.integers(-300, 300).map(float),
)
VALUES = st.lists(FLOATS, max_size=60).map(lambda found: np.array(found, np.float32))
DEALT = hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(-1e4, 1e4, width=32))
laws = pytest.mark.parametrize("law", LAWS, ids=str)


def of(*parts, **law) -> Distribution:
    found = Distribution(**law)
    for part in parts:
        found.add(np.asarray(part))
    return found


@laws
@settings(max_examples=40, deadline=None)
@given(VALUES, st.data())
def test_the_order_and_the_pieces_of_values_do_not_show(law, values, data):
    whole = of(values, **law).state()
    shuffled = np.array(data.draw(st.permutations(values.tolist())), np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5)))
    pieces = np.split(shuffled, cuts)
    assert of(*pieces, **law).state() == whole
    merged = Distribution(**law)
    for piece in pieces:
        merged = merged.merge(of(piece, **law))
    assert merged.state() == whole


@settings(max_examples=40, deadline=None)
@given(VALUES, VALUES, VALUES, st.lists(st.sampled_from(LAWS), min_size=3, max_size=3))
def test_merging_is_commutative_and_associative_whatever_the_laws(x, y, z, chosen):
    a, b, c = (of(values, **law) for values, law in zip((x, y, z), chosen, strict=True))
    assert a.merge(b).state() == b.merge(a).state()
    assert a.merge(b).merge(c).state() == a.merge(b.merge(c)).state()


@laws
@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_counts_are_whole_and_lose_nothing(law, values):
    found = of(values, **law)
    assert found.count == len(values) == sum(found.state().counts) == int(found.bins()[1].sum())
    assert found.span == ((values.min(), values.max()) if len(values) else (0, 0))
    assert len(found.state().counts) <= (law.get("occupied") or law["across"] + 1)


@laws
@settings(max_examples=40, deadline=None)
@given(DEALT)
def test_each_value_lies_in_its_bin_by_exact_arithmetic(law, values):
    state = of(values, **law).state()
    expected = {}
    for value in values.tolist():
        numerator, denominator = value.as_integer_ratio()
        place = (numerator * 2**200) // (denominator * 2 ** (200 + state.exponent))
        expected[place] = expected.get(place, 0) + 1
    assert dict(zip(state.places, state.counts, strict=True)) == expected


@laws
@settings(max_examples=40, deadline=None)
@given(DEALT, st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_quantiles_mean_and_spread_are_numpys_to_half_a_bin(law, values, fractions):
    found, exact = of(values, **law), values.astype(np.float64)
    slack = found.width / 2 * (1 + 1e-9) + 1e-12 * np.abs(exact).max()
    wanted = np.quantile(exact, fractions, method="inverted_cdf")
    np.testing.assert_allclose(found.quantiles(fractions), wanted, rtol=0, atol=slack)
    assert abs(found.mean - exact.mean()) <= slack and abs(found.std - exact.std()) <= slack


def test_a_bin_is_at_most_a_share_of_the_largest_magnitude():
    values = np.random.default_rng(0).normal(size=5000)
    assert of(values, across=4096).width <= np.abs(values).max() / 1024


def test_with_few_bins_an_outlier_costs_one_of_them_and_not_the_resolution():
    values = np.random.default_rng(0).normal(size=5000)
    alone, beside = of(values, occupied=256), of(values, [1e6], occupied=256)
    assert beside.width == alone.width <= 1 / 32
    assert beside.quantiles([0.5]) == pytest.approx(alone.quantiles([0.5]), abs=alone.width)


def test_bytes_are_told_apart_each_by_itself():
    values = np.random.default_rng(0).integers(0, 256, 9000).astype(np.uint8)
    state = of(values, occupied=256).state()
    assert state.exponent <= 0 and state.counts == tuple(np.bincount(values).tolist())


def test_what_is_not_finite_is_counted_apart():
    found = of([1.0, np.nan, np.inf, -np.inf, 2.0], across=8)
    assert (found.count, found.nonfinite, found.span) == (2, 3, (1.0, 2.0))


def test_nothing_has_no_quantile_and_zeros_have_no_spread():
    empty, zeros = Distribution(across=8), of(np.zeros(7), across=8)
    assert math.isnan(empty.mean) and math.isnan(empty.std) and math.isnan(empty.quantiles([0.5])[0])
    assert (empty.span, empty.within(0.9), zeros.within(0.9)) == ((0.0, 0.0),) * 3
    assert zeros.std == 0 and zeros.quantiles([0.5]) == (0.0,) and zeros.count == 7


@pytest.mark.parametrize("values", [[1.7e308, -1.7e308, 5e-324], [3.4e38, -1e-45], [-5e-324]], ids=str)
def test_the_largest_and_the_smallest_numbers_have_a_bin(values):
    for law in LAWS:
        found = of(np.array(values), **law)
        assert found.count == len(values) and found.quantiles([0, 1]) == pytest.approx(
            (min(values), max(values)), abs=found.width)


@laws
@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_counted_values_are_those_values_repeated(law, values):
    different, counts = np.unique(values, return_counts=True)
    found = Distribution(**law)
    found.add_counted(different, counts)
    assert found.state() == of(values, **law).state()


@laws
@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_a_state_survives_the_trip_through_json(law, values):
    state = of(values, **law).state()
    read = plain.from_json(json.loads(json.dumps(plain.to_plain(state), allow_nan=False)), DistributionState)
    assert read == state and Distribution.of(read).state() == state


@pytest.mark.parametrize(("field", "value"), [
    ("schema", 2), ("across", 3), ("across", 1 << 41), ("occupied", 0), ("exponent", -500), ("exponent", 9),
    ("exponent", 5000), ("places", (0,)), ("places", (2, 1, 0)),
    ("places", (0, 1, 1 << 70)), ("counts", (1, 0, 1)), ("counts", (1, -1, 1)),
    ("low", None), ("low", math.nan), ("high", math.inf), ("high", 9.0), ("low", -5.0), ("nonfinite", -1),
])
def test_a_state_that_no_values_leave_is_refused(field, value):
    good = of([0.0, 1.0, 2.0, 3.0], across=8, occupied=8).state()
    with pytest.raises(ValueError, match=r"distribution|across|occupied|bins"):
        Distribution.of(dataclasses.replace(good, **{field: value}))


@pytest.mark.parametrize("law", [{"across": 3}, {"across": 1 << 41}, {"across": 1 << 20}, {"occupied": 1}]
)
def test_a_law_that_cannot_be_kept_is_a_bad_argument(law):
    with pytest.raises(ValueError, match=r"across|occupied"):
        Distribution(**law)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 2000), st.integers(0, 5))
def test_the_middles_of_bins_lie_within_half_a_width_of_what_they_count(n, seed):
    values = np.random.default_rng(seed).normal(size=n).astype(np.float32)
    found = of(values, across=64)
    middles, counts = found.bins()
    np.testing.assert_allclose(np.repeat(middles, counts), np.sort(values), atol=found.width / 2 * (1 + 1e-9))
