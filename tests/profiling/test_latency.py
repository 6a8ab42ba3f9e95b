"""Paired timing: what its interval says, checked by simulation and by hand."""

import numpy as np
import pytest

from mlopt.profiling import latency


def test_the_median_interval_covers_the_median_as_often_as_it_says():
    random = np.random.default_rng(0)
    draws = random.exponential(size=(4000, 25))     # the median of this skewed law is ln 2
    covered = [low <= np.log(2) <= high for low, high in map(latency.median_interval, draws)]
    assert 0.95 <= np.mean(covered) <= 0.98         # exact by the binomial law for n = 25: 0.9567


def test_five_values_are_too_few_for_an_interval():
    low, high = latency.median_interval(np.arange(5.0))
    assert np.isnan(low) and np.isnan(high)


def test_the_ratio_is_of_pairs_and_not_of_medians():
    pairs = [[1.0, 0.5], [10.0, 5.0], [100.0, 50.0]] * 10       # the machine's speed moves; the ratio does not
    found = latency.summarise([pairs])
    assert found.ratio == 0.5 and found.ratio_interval.low == found.ratio_interval.high == 0.5
    assert found.pairs == 30 and found.p50_ms == 5000.0


def test_the_interval_holds_every_process_own_median():
    found = latency.summarise([[[1.0, 1.0]] * 50, [[1.0, 1.0]] * 50, [[1.0, 1.3]] * 10])
    assert found.ratio == 1.0 and found.ratio_interval.high == pytest.approx(1.3)


def test_without_pairs_the_ratio_is_unknown_and_says_why():
    found = latency.summarise([[]])
    assert np.isnan(found.ratio) and found.reason


class Sleepless:
    """A runtime that counts."""

    def __init__(self):
        self.runs = 0

    def stage(self, inputs):
        self.inputs = inputs

    def invoke(self):
        self.runs += 1


def test_base_and_candidate_are_timed_equally_often():
    base, candidate = Sleepless(), Sleepless()
    pairs = latency._pairs(base, candidate)
    assert base.runs == candidate.runs == len(pairs) == 100
    assert all(before > 0 and after > 0 for before, after in pairs)


def test_the_host_names_its_processor():
    assert latency.host()["processor"] not in ("", "unknown")
