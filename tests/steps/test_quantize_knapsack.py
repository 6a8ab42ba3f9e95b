import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlopt.steps.quantize.knapsack import Option, choose, smallest

OPTIONS = st.lists(
    st.builds(Option, bytes=st.integers(0, 40), loss=st.integers(0, 30).map(lambda n: n / 8)), min_size=1, max_size=3
)


def totals(items, chosen):
    picked = [options[i] for options, i in zip(items, chosen, strict=True)]
    return sum(o.loss for o in picked), sum(o.bytes for o in picked)


@given(st.lists(OPTIONS, max_size=6), st.integers(0, 200))
def test_no_other_choice_within_the_budget_has_less_loss_or_as_little_in_fewer_bytes(items, budget):
    every = [totals(items, c) for c in itertools.product(*(range(len(options)) for options in items))]
    within = [(loss, size) for loss, size in every if size <= budget]
    if not within:
        with pytest.raises(ValueError, match=f"takes {min(size for _, size in every)} bytes"):
            choose(items, budget)
        return
    assert totals(items, choose(items, budget)) == min(within)


@given(st.lists(OPTIONS, max_size=6))
def test_the_smallest_choice_is_reached_exactly_at_its_own_size(items):
    assert totals(items, choose(items, smallest(items)))[1] == smallest(items)


def test_a_greedy_choice_by_loss_for_each_byte_saved_would_be_worse():
    # Saving 60 costs 0.06 (0.001 a byte), saving 100 costs 0.11 (0.0011 a byte): 100 are needed, so that the first
    # alone is too little, and both cost 0.17.
    items = [(Option(bytes=40, loss=0.06), Option(bytes=100, loss=0.0)),
             (Option(bytes=0, loss=0.11), Option(bytes=100, loss=0.0))]
    assert choose(items, 100) == (1, 0)


def test_forty_layers_of_a_real_network_take_no_time():
    items = [(Option(bytes=1000 + 37 * i, loss=0.001 * (i * 7919 % 41 + 1)), Option(bytes=2000 + 74 * i, loss=0.0))
             for i in range(40)]
    chosen = choose(items, 80_000)
    assert totals(items, chosen)[1] <= 80_000
    assert 0 < sum(chosen) < 40
