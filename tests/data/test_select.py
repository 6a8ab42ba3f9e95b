"""Rows are chosen by number alone, disjoint, balanced, and the same for the same seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlopt.data import select

row_sets = st.lists(st.integers(0, 10_000), min_size=1, max_size=200, unique=True).map(lambda r: np.array(sorted(r)))
seeds = st.integers(0, 5)


@given(row_sets, st.integers(1, 250), seeds)
def test_a_choice_is_ascending_without_repetition_and_of_the_size_asked_for(rows, want, seed):
    classes = rows % 7
    for chosen in (
        select.choose_calibration(rows, want, seed), select.choose_calibration(rows, want, seed, classes),
        select.choose_test(rows, want, seed),
    ):
        assert len(chosen) == min(want, len(rows))
        assert (np.diff(chosen) > 0).all() and np.isin(chosen, rows).all()


@given(row_sets, st.integers(1, 250), seeds)
def test_classes_are_as_equal_as_they_can_be(rows, want, seed):
    classes = (rows % 10 < 7) + (rows % 10 < 2).astype(int)        # about 30 %, 50 %, 20 %
    chosen = select.choose_calibration(rows, want, seed, classes)
    kept = dict(zip(rows.tolist(), classes.tolist(), strict=True))
    taken = np.bincount([kept[row] for row in chosen.tolist()], minlength=3)
    there = np.bincount(classes, minlength=3)
    short = taken < there                                          # classes that could have given more
    assert (taken[short] >= taken.max() - 1).all()


@given(row_sets, st.integers(1, 100), st.integers(1, 100), seeds)
def test_test_rows_are_disjoint_from_calibration_rows(rows, calibration, test, seed):
    chosen = select.choose_calibration(rows, calibration, seed, rows % 3)
    rest = select.choose_test(select.without(rows, chosen), test, seed)
    assert not np.isin(chosen, rest).any()
    assert len(rest) == min(test, len(rows) - len(chosen))


@given(st.integers(10, 2000), st.integers(1, 10), seeds)
def test_a_choice_is_spread_over_the_whole_file(count, want, seed):
    chosen = select.choose_test(np.arange(count), want, seed)
    stretch = (chosen * want) // count          # which of `want` equal stretches each one lies in
    assert np.abs(stretch - np.arange(want)).max() <= 1


def test_the_same_seed_chooses_the_same_rows_and_another_seed_others():
    rows = np.arange(1000)
    assert (select.choose_calibration(rows, 50, 1) == select.choose_calibration(rows, 50, 1)).all()
    assert (select.choose_calibration(rows, 50, 1) != select.choose_calibration(rows, 50, 2)).any()


def test_a_rare_class_gives_all_it_has_and_the_others_share_the_rest():
    classes = np.array([0] * 90 + [1] * 7 + [2] * 3)
    chosen = select.choose_calibration(np.arange(100), 30, 0, classes)
    assert np.bincount(classes[chosen]).tolist() == [20, 7, 3]
