"""The paired rule's false alarms and misses, over thousands of simulated gates."""

import numpy as np
import pytest

from mlopt.gate.rules import LOOKS, detectable, paired_bounds
from mlopt.gate.simulate import normal_rates, rates

GATES = 6000
THREE_ERRORS = 3 * (0.05 * 0.95 / GATES) ** 0.5        # of a share of 5 % over that many gates
RULE = {"tolerance": 0.05, "alpha": 0.05}


def at(change, spread, seed=1):
    return normal_rates(change, spread=spread, gates=GATES, seed=seed, **RULE)


@pytest.mark.parametrize("spread", [0.01, 0.02, 0.035, 0.045, 0.06, 0.15])
def test_growth_at_the_tolerance_is_called_broken_and_let_pass_in_at_most_5_percent_each(spread):
    found = at(0.05, spread)
    assert found.failed <= 0.05 + THREE_ERRORS and found.passed <= 0.05 + THREE_ERRORS


@pytest.mark.parametrize(("spread", "most_pairs"), [(0.004, 5.0), (0.02, 6.5), (0.035, 9), (0.045, 12)])
def test_an_unchanged_model_passes_without_false_alarms(spread, most_pairs):
    found = at(0.0, spread)
    assert found.failed == 0 and found.passed >= 0.99 and found.pairs <= most_pairs


@pytest.mark.parametrize(("change", "least"), [(0.08, 0.9), (0.10, 0.995), (0.20, 1.0)])
def test_real_growth_is_caught_at_the_noise_of_a_shared_machine(change, least):
    found = at(change, 0.035)
    assert found.failed >= least and found.passed <= 0.001


@pytest.mark.parametrize("spread", [0.02, 0.035, 0.06, 0.1])
def test_the_growth_that_is_said_to_be_caught_is_caught_in_95_percent(spread):
    assert at(detectable(spread, **RULE), spread).failed >= 0.95 - THREE_ERRORS


def contaminated(draw):
    """Pairs in turns as they were measured: 0.4 %, and one process in twenty with 7 % to either side."""
    rare = draw.random((GATES, LOOKS[-1])) < 0.05
    return draw.normal(0, 0.004, rare.shape) + np.where(rare, draw.normal(0, 0.07, rare.shape), 0)


def often_contaminated(draw):
    rare = draw.random((GATES, LOOKS[-1])) < 0.2
    return draw.normal(0, 0.004, rare.shape) + np.where(rare, draw.normal(0, 0.07, rare.shape), 0)


def heavy(draw):
    """Student's t with 2 degrees of freedom has no standard deviation."""
    return draw.standard_t(2, (GATES, LOOKS[-1])) * 0.004


def endless(draw):
    """Cauchy's distribution does not even have a mean."""
    return draw.standard_cauchy((GATES, LOOKS[-1])) * 0.004


def two_valued(draw):
    """One of two memory layouts, and nothing else."""
    return draw.choice([-0.03, 0.03], (GATES, LOOKS[-1]))


def two_layouts(draw):
    return two_valued(draw) + draw.normal(0, 0.002, (GATES, LOOKS[-1]))


def even(draw):
    return draw.uniform(-0.03, 0.03, (GATES, LOOKS[-1]))


NOISES = [contaminated, often_contaminated, heavy, endless, two_valued, two_layouts, even]


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("seed", [5, 6])
def test_the_stated_error_rates_hold_whatever_the_shape_of_a_noise_that_is_as_likely_up_as_down(noise, seed):
    found = rates(noise(np.random.default_rng(seed)) + np.log(1.05), **RULE)
    assert found.failed <= 0.05 + THREE_ERRORS and found.passed <= 0.05 + THREE_ERRORS


@pytest.mark.parametrize("noise", NOISES)
def test_whatever_the_noise_an_unchanged_model_raises_no_alarm_and_ten_percent_do_not_pass(noise):
    draw = np.random.default_rng(7)
    assert rates(noise(draw), **RULE).failed == 0
    assert rates(noise(draw) + np.log(1.1), **RULE).passed <= 0.0005


@pytest.mark.parametrize("noise", [contaminated, heavy, two_layouts, even])
def test_rare_outliers_cost_a_pair_and_no_answer(noise):
    draw = np.random.default_rng(8)
    unchanged, slower = rates(noise(draw), **RULE), rates(noise(draw) + np.log(1.1), **RULE)
    assert unchanged.passed >= 0.999 and slower.failed >= 0.999
    assert max(unchanged.pairs, slower.pairs) <= 7.5


def test_a_first_look_at_four_pairs_would_break_the_promise_where_memory_has_two_layouts():
    seen = two_valued(np.random.default_rng(9)) + np.log(1.05)
    assert rates(seen, **RULE, looks=(4, 6, 10, 16, 24)).failed > 0.05 + THREE_ERRORS


def test_each_look_spends_a_fifth_of_five_percent():
    seen = np.random.default_rng(10).normal(np.log(1.05), 0.004, (GATES, LOOKS[-1]))
    spent = [float((paired_bounds(seen[:, :n], alpha=0.05)[0] > np.log(1.05)).mean()) for n in LOOKS]
    assert spent == pytest.approx([0.01] * 5, abs=3.5 * (0.01 * 0.99 / GATES) ** 0.5)


@pytest.mark.parametrize("seed", [2, 3])
def test_a_neighbour_that_slows_one_process_in_twenty_raises_no_false_alarms(seed):
    """Heavy tails: one side of a pair takes half as long again. Noise turns into open answers, not into alarms."""
    draw = np.random.default_rng(seed)
    seen = draw.normal(np.log(1.05), 0.03, (GATES, 24))
    slowed = draw.random((GATES, 24)) < 0.05
    seen += np.where(slowed, np.log(1.5) * draw.choice([-1, 1], (GATES, 24)), 0)
    found = rates(seen, **RULE)
    assert found.failed <= 0.05 + THREE_ERRORS and found.passed <= 0.05 + THREE_ERRORS


def test_a_machine_that_drifts_slowly_does_not_disturb_pairs():
    """Both sides of a pair ride the same slow wave; its difference within a pair is random by order."""
    draw = np.random.default_rng(4)
    moods = np.cumsum(draw.normal(0, 0.01, (GATES, 48)), axis=1) + draw.normal(0, 0.02, (GATES, 48))
    first = np.where(draw.random((GATES, 24)) < 0.5, 1, -1)
    seen = first * (moods[:, ::2] - moods[:, 1::2])
    found = rates(seen, **RULE)
    assert found.failed == 0 and found.passed >= 0.99


def test_more_noise_costs_pairs_and_answers_but_no_errors():
    quiet, loud = at(0.0, 0.03), at(0.0, 0.12)
    assert loud.pairs > quiet.pairs and loud.inconclusive > 0.3 and loud.failed <= 0.01
