"""Shared values are those of k-means, and ties name them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2

from mlopt.frameworks.fitting import Hold
from mlopt.steps.cluster import Cluster
from mlopt.steps.cluster.apply import tie
from mlopt.steps.cluster.shared_values import nearest, shared_values
from mlopt.steps.kernels import Kernel
from mlopt.training.holding import by_channel, combined, held

KERNEL = Kernel(name="k", shape=(3, 3, 8, 12), out_axis=3, in_axis=2)


def error(numbers, values):
    return float(np.square(numbers - values[nearest(numbers, values)]).sum())


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=80), st.integers(2, 12))
@settings(deadline=None, max_examples=100)
def test_every_value_is_the_mean_of_those_nearest_to_it(numbers, count):
    numbers = np.array(numbers)
    values = shared_values(numbers, count)
    assert len(values) <= count and (np.diff(values) > 0).all()
    close = 1e-9 * max(1, np.abs(numbers).max()) + 1e-6 * np.ptp(numbers)
    index = nearest(numbers, values)
    for i in range(len(values)):
        assert values[i] == pytest.approx(numbers[index == i].mean(), abs=close)


@pytest.mark.filterwarnings("ignore:One of the clusters is empty")     # theirs: an even start leaves some so
@pytest.mark.parametrize("seed", range(5))
def test_the_error_is_at_most_that_of_scipys_k_means_from_an_even_start(seed):
    numbers = np.random.default_rng(seed).standard_t(4, size=500)
    start = np.linspace(numbers.min(), numbers.max(), 16)
    theirs, _ = kmeans2(numbers[:, None], start[:, None], iter=300, minit="matrix", missing="warn")
    assert error(numbers, shared_values(numbers, 16)) <= error(numbers, np.unique(theirs[:, 0])) * (1 + 1e-9)


def test_three_values_of_a_few_numbers_are_the_best_there_are():
    numbers = np.array([0.0, 0.1, 0.25, 3.0, 3.3, 7.0, 7.5, 7.6])
    best = min(
        sum(np.square(part - part.mean()).sum() for part in np.split(numbers, cuts))
        for cuts in itertools.combinations(range(1, 8), 2)
    )
    assert error(numbers, shared_values(numbers, 3)) == pytest.approx(best)


def test_few_different_numbers_are_their_own_values():
    assert shared_values(np.array([2.0, 1.0, 2.0]), 16).tolist() == [1.0, 2.0]
    assert shared_values(np.full(9, 0.5), 4).tolist() == [0.5]


@pytest.mark.parametrize(("channels", "groups"), [(0, 1), (4, 3), (5, 3), (12, 1), (99, 1), (1, 12)])
def test_each_group_of_output_channels_has_its_own_values(channels, groups):
    weights = {"k": np.random.default_rng(0).normal(size=KERNEL.shape).astype(np.float32)}
    hold = tie(Cluster(values=5, channels=channels), (KERNEL,), weights, {})["k"]
    assert len(np.unique(hold.ties)) == 5 * groups
    shared = held(weights["k"], hold)
    width = min(channels or 12, 12)
    for start in range(0, 12, width):
        assert len(np.unique(shared[..., start : start + width])) == 5


def test_zeros_of_an_earlier_step_stay_zeros_and_are_one_of_the_values():
    weights = {"k": np.random.default_rng(1).normal(size=KERNEL.shape).astype(np.float32)}
    mask = np.abs(weights["k"]) > 0.7
    earlier = {"k": Hold(mask=mask)}
    holds = combined(earlier, tie(Cluster(values=4), (KERNEL,), weights, earlier))
    shared = held(weights["k"], holds["k"])
    assert (shared[~mask] == 0).all() and len(np.unique(shared)) == 4 and (shared[mask] != 0).all()


def test_scaling_channels_keeps_what_is_tied_by_channel():
    weights = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    hold = tie(Cluster(values=3), (Kernel(name="k", shape=(6, 4), out_axis=1, in_axis=0),), {"k": weights}, {})["k"]
    scaled = held(weights, hold) * np.array([1, 2, 3, 4], np.float32)
    np.testing.assert_allclose(held(scaled, by_channel(hold, 1)), scaled, rtol=1e-6)
    assert not np.allclose(held(scaled, hold), scaled)
