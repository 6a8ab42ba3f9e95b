import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlopt.profiling.contract import DeviceFacts, PhaseTimes, RunResult
from mlopt.profiling.latency import median_interval
from mlopt.profiling.statistics import least_runs, percentile, quantile_interval, summarise


def result(samples, **more):
    return RunResult(
        nonce="n", facts=more.pop("facts", DeviceFacts(name="d", system="s", processor="p")), phases=PhaseTimes(),
        warmup_runs=0, samples_us=tuple(samples), **more,
    )


@pytest.mark.parametrize(
    ("n", "fraction", "low", "high"),
    [(50, 0.5, 18, 33), (200, 0.5, 86, 115), (100, 0.9, 84, 96), (1000, 0.9, 881, 919), (1000, 0.99, 983, 997)],
)
def test_interval_ends_are_the_ranks_of_the_binomial(n, fraction, low, high):
    values = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert quantile_interval(values, fraction) == (low, high)


@given(st.integers(1, 400), st.sampled_from([0.1, 0.5, 0.9, 0.99]))
def test_each_side_of_an_interval_misses_with_at_most_half_of_the_rest(n, fraction):
    low, high = quantile_interval(np.arange(1.0, n + 1), fraction)
    below = stats.binom(n, fraction)
    if not np.isnan(low):
        assert below.cdf(low - 1) <= 0.025 + 1e-12 < below.cdf(low) + 1e-9
    if not np.isnan(high):
        assert below.sf(high - 1) <= 0.025 + 1e-12


@given(st.integers(1, 300))
def test_the_median_interval_of_paired_timing_is_symmetric_in_rank(n):
    low, high = median_interval(np.arange(1.0, n + 1))
    assert (np.isnan(low) and np.isnan(high)) if n < 6 else low + high == n + 1


def test_intervals_hold_the_true_p90_as_often_as_they_say():
    random = np.random.default_rng(5)
    truth = stats.lognorm(s=0.5).ppf(0.9)
    held = 0
    for _ in range(2000):
        low, high = quantile_interval(random.lognormal(0, 0.5, 150), 0.9)
        held += low <= truth <= high
    assert held / 2000 > 0.94


@pytest.mark.parametrize(("fraction", "needed"), [(0.9, 64), (0.99, 662)])
def test_a_tail_percentile_is_refused_below_its_sample_size_and_told_at_it(fraction, needed):
    assert least_runs(fraction) == needed
    refused, told = percentile(np.arange(needed - 1.0), fraction), percentile(np.arange(float(needed)), fraction)
    assert np.isnan(refused.us) and str(needed) in refused.reason
    assert told.reason == "" and told.low_us <= told.us <= told.high_us


def test_the_sample_size_is_the_first_where_two_runs_above_are_99_percent_sure():
    for fraction in (0.75, 0.9, 0.95, 0.99):
        n = least_runs(fraction)
        two_above = [1 - stats.binom(runs, 1 - fraction).cdf(1) for runs in (n - 1, n)]
        assert two_above[0] < 0.99 <= two_above[1] + 1e-12


def test_outliers_stay_in_every_number_and_are_explained():
    samples = [100.0] * 97 + [1000.0, 900.0, 800.0]
    samples[50] = 700.0
    seen = summarise(result(samples, extra={"preempted": "3,97,98", "woken_late": "4,50,97"}))
    assert (seen.outliers, seen.outliers_preempted, seen.outliers_woken_late) == (4, 2, 1)
    assert seen.mean_us == pytest.approx(sum(samples) / 100) and seen.most_us == 1000.0
    assert all(words in seen.notes[0] for words in ("off its processor in 2", "late for 1", "seen for 1"))


def test_a_result_without_runs_has_no_numbers_and_the_runtimes_words():
    seen = summarise(result([], error="ValueError: unsupported"))
    assert seen.runs == 0 and np.isnan(seen.p50.us) and "unsupported" in seen.p50.reason


def test_batched_samples_and_a_slowed_processor_are_said():
    slow = DeviceFacts(name="d", system="s", processor="p", throttled=True)
    notes = " ".join(summarise(result([5.0] * 100, batch_per_sample=20, facts=slow)).notes)
    assert "means over 20" in notes and "slower after" in notes
