"""Moving scale between layers: the network computes the same, and its channels fill one range."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlopt.convert import equalize
from mlopt.convert.equalize import Link

positive = st.floats(2.0**-8, 2.0**8, width=32)
seeds = st.integers(0, 2**32 - 1)


class Chain:
    """A dense layer, one number for each channel (as a depthwise layer is, seen at one place), and a dense layer."""

    def __init__(self, seed: int, slope: float) -> None:
        random = np.random.default_rng(seed)
        uneven = np.exp(random.normal(0, 2, (3, 6))).astype(np.float32)
        self.slope = np.float32(slope)
        self.first = random.normal(size=(6, 5)).astype(np.float32) * uneven[0][:, None]
        self.first_bias = random.normal(size=6).astype(np.float32)
        self.own = random.normal(size=6).astype(np.float32) * uneven[1]
        self.own_bias = random.normal(size=6).astype(np.float32)
        self.last = random.normal(size=(4, 6)).astype(np.float32) * uneven[2]
        self.inputs = random.normal(size=(50, 5)).astype(np.float32)

    def act(self, x):
        return np.where(x > 0, x, x * self.slope)

    def run(self):
        products = np.stack([(self.inputs * row).sum(axis=1) for row in self.first], axis=1)   # one order of adding
        a = self.act(products + self.first_bias)
        b = self.act(a * self.own + self.own_bias)
        return a, b, np.stack([(b * row).sum(axis=1) for row in self.last], axis=1)

    def links(self):
        a, b, _ = self.run()
        return [
            Link(
                writer=0, reader=1, peaks=np.abs(a).max(axis=0), written=equalize.weight_peaks(self.first, 0),
                read=np.abs(self.own), shares=None,
            ),
            Link(
                writer=1, reader=2, peaks=np.abs(b).max(axis=0), written=np.abs(self.own),
                read=equalize.weight_peaks(self.last, 1), shares=equalize.weight_shares(self.last, 0, 1),
            ),
        ]

    def rescale(self, factors):
        one, two = factors
        self.first, self.first_bias = equalize.scaled(self.first, 1 / one, 0), self.first_bias / one
        self.own, self.own_bias = self.own * one / two, self.own_bias / two
        self.last = equalize.scaled(self.last, two, 1)


@pytest.mark.parametrize("way", sorted(equalize.WAYS))
@given(seed=seeds, slope=st.sampled_from([0.0, 0.1, 1.0]))
def test_a_rescaled_network_gives_the_same_bits(way, seed, slope):
    chain = Chain(seed, slope)
    before = chain.run()[2]
    factors = equalize.WAYS[way](chain.links())
    chain.rescale(factors)
    assert np.array_equal(chain.run()[2], before)


@given(seed=seeds)
@example(seed=79474721)      # its weakest channel is 15.5 bits below the strongest: more than factors may make up for
def test_activation_factors_fill_the_range_of_what_a_depthwise_layer_reads(seed):
    chain = Chain(seed, 0.1)
    factors = equalize.by_activations(chain.links())
    chain.rescale(factors)
    if factors[0].max() / factors[0].min() == equalize.STEEPEST:      # held back; the others are as even as ever
        held = factors[0] == factors[0].min()
        assert equalize.bits_lost(chain.links()[0].peaks[~held]) <= 1.0 + 1e-6
    else:      # each peak within a factor of 2**0.5 of its target, since factors are powers of two
        assert equalize.bits_lost(chain.links()[0].peaks) <= 1.0 + 1e-6


@given(seed=seeds)
def test_weight_factors_give_three_layers_the_same_range_in_each_channel(seed):
    first, own, last = np.exp(np.random.default_rng(seed).normal(0, 2, (3, 7)))
    one, two = equalize.weight_factors([first, own, last])
    common = np.cbrt(first * own * last)
    for ranges in (first / one, own * one / two, last * two):
        assert np.allclose(ranges, common)


def test_a_channel_that_nobody_writes_keeps_its_factor():
    (factor,) = equalize.weight_factors([np.array([4.0, 0.0]), np.array([1.0, 9.0])])
    assert factor.tolist() == [2.0, 1.0]


@given(factors=arrays(np.float64, 5, elements=positive), peaks=arrays(np.float32, 5, elements=positive))
def test_settled_factors_are_powers_of_two_that_keep_the_largest_peak(factors, peaks):
    found = equalize.settled(factors, peaks)
    mantissas, _ = np.frexp(found)
    assert (mantissas == 0.5).all() and found.dtype == np.float32
    assert 2**-0.51 <= (peaks / found).max() / peaks.max() <= 2**0.51


def test_settled_factors_stay_within_what_a_bias_can_bear():
    found = equalize.settled(np.array([1.0, 1e-9]), np.array([1.0, 1.0]))
    assert found.max() / found.min() == equalize.STEEPEST


def test_a_tensor_without_values_is_left_as_it_is():
    assert equalize.settled(np.array([8.0, 0.5]), np.zeros(2)).tolist() == [1.0, 1.0]


@given(peaks=arrays(np.float64, 6, elements=positive), factor=positive)
def test_what_channels_lose_does_not_depend_on_the_unit(peaks, factor):
    assert equalize.bits_lost(peaks) == pytest.approx(equalize.bits_lost(peaks * factor))


def test_even_channels_are_not_worth_a_trial_and_uneven_ones_are():
    def link(peaks, shares):
        return Link(writer=0, reader=1, peaks=peaks, written=peaks, read=peaks, shares=shares)

    even, uneven = np.array([1.0, 0.8, 0.5]), np.array([1.0, 0.1, 0.01])
    assert not equalize.worth_trying([link(even, even), link(even, None)])
    assert equalize.worth_trying([link(even, None), link(uneven, None)])
    assert equalize.worth_trying([link(even, uneven)])
    assert not equalize.worth_trying([])


def test_a_depthwise_layer_with_more_outputs_than_inputs_ends_a_chain():
    wide = np.array([4.0, 1.0, 1.0, 1.0])
    links = [
        Link(writer=0, reader=1, peaks=np.ones(2), written=np.array([4.0, 1.0]), read=np.ones(2), shares=None),
        Link(writer=1, reader=2, peaks=np.ones(4), written=wide, read=np.ones(4), shares=np.ones(4)),
    ]
    one, two = equalize.by_weights(links)
    assert (one / one[1]).tolist() == [2.0, 1.0] and (two / two[1]).tolist() == [2.0, 1.0, 1.0, 1.0]


@given(seed=seeds)
def test_factors_can_be_taken_out_again_of_a_noisy_tensor(seed):
    random = np.random.default_rng(seed)
    reference = random.normal(size=(20, 4))
    factors = np.exp2(random.integers(-6, 7, 4))
    noisy = reference * (1 + 0.05 * random.normal(size=reference.shape))
    assert np.array_equal(equalize.unscaled(reference, noisy / factors, 1), noisy)
