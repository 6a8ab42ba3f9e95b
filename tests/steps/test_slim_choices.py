"""Laws of costs, criteria and selection."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt.channels import costs, criteria
from mlopt.channels.coupling import couple
from mlopt.channels.resizing import resized
from mlopt.steps.slim.latency import LatencyTable, predicted, variants
from mlopt.steps.slim.selection import Room, allowed_widths, choose, room
from mlopt.testing.networks import Builder, random_model


@st.composite
def models(draw):
    return random_model(lambda options: draw(st.sampled_from(options)))


# ---- costs


@settings(max_examples=100, deadline=None)
@given(model=models(), data=st.data())
def test_costs_are_those_of_the_rebuilt_network(model, data):
    groups = couple(model.network)
    widths = np.array([data.draw(st.integers(1, group.units)) for group in groups.free], dtype=np.int64)
    dropped = {group.name: np.arange(width, group.units) for group, width in zip(groups.free, widths, strict=True)}
    small = resized(model.network, groups.kept(dropped))
    assert float(costs.macs(groups)(widths)) == pytest.approx(small.macs)
    assert float(costs.parameters(groups)(widths)) == pytest.approx(small.parameters)
    again = couple(small)
    whole = np.array([group.units for group in again.free])
    assert float(costs.weight_bytes(groups)(widths)) == pytest.approx(float(costs.weight_bytes(again)(whole)))


def test_bytes_are_one_an_element_and_twelve_a_channel_and_a_folded_norm_is_free():
    b = Builder()
    first = b.normalization(b.convolution(b.input(4, 4, 3), 8, bias=False))
    second = b.normalization(b.add(b.convolution(first, 8), first))
    groups = couple(b.model(b.convolution(second, 2)).network)
    # kernels 3 * 8, 8 * 8, 8 * 2; 18 channels of convolutions; the norm after the sum is 8 factors and 8 summands
    assert float(costs.weight_bytes(groups)(np.array([8]))) == 24 + 64 + 16 + 12 * 18 + 16


# ---- criteria


def chain():
    b = Builder(seed=1)
    first = b.normalization(b.convolution(b.input(3), 3, bias=False))
    return b.model(b.convolution(first, 2))


def test_magnitude_is_the_share_of_the_squared_norm():
    model = chain()
    model.arrays["convolution1/kernel"] = np.array([[1.0, 0, 2], [0, 1, 0], [0, 1, 1]])      # squares 1, 2, 5 a column
    (only,) = criteria.magnitude(couple(model.network), model.weights()).values()
    assert only == pytest.approx([1 / 8, 2 / 8, 5 / 8])


def test_scale_is_the_share_of_the_squared_gamma():
    model = chain()
    model.arrays["normalization2/gamma"] = np.array([1.0, -2.0, 0.0])
    (only,) = criteria.scale(couple(model.network), model.weights()).values()
    assert only == pytest.approx([0.2, 0.8, 0.0])


def test_taylor_is_the_squared_sum_of_the_terms_that_read_a_unit_the_mean_over_batches():
    model = chain()
    one = {name: np.full(array.shape, 7.0) for name, array in model.weights().items()}      # what makes it is not read
    two = dict(one)
    one["convolution3/kernel"] = np.array([[1.0, -1.0], [2.0, 1.0], [0.0, 0.5]])            # units' rows: 0, 3, 0.5
    two["convolution3/kernel"] = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])             # 2, 1, 0
    (only,) = criteria.taylor(couple(model.network), iter([one, two])).values()
    assert only.tolist() == [(0 + 4) / 2, (9 + 1) / 2, (0.25 + 0) / 2]


def test_taylor_adds_up_all_readers_of_a_unit_before_it_squares():
    b = Builder()
    stem = b.convolution(b.input(4, 4, 3), 4)
    both = b.model(b.convolution(b.add(b.convolution(stem, 4), stem), 2))       # the sum ties the stem to what reads it
    groups = couple(both.network)
    terms = {name: np.zeros(array.shape) for name, array in both.weights().items()}
    terms["convolution2/kernel"][..., 0, :] = 1.0                               # 4 terms of unit 0
    terms["convolution4/kernel"][..., 0, :] = -1.5                              # 2 terms, which take 3 of the 4 back
    (group,) = groups.free
    assert criteria.taylor(groups, [terms])[group.name].tolist() == [1.0, 0.0, 0.0, 0.0]


@settings(max_examples=50, deadline=None)
@given(model=models())
def test_every_free_group_has_a_value_for_each_unit(model):
    groups = couple(model.network)
    weights = model.weights()
    found = [criteria.magnitude(groups, weights), criteria.taylor(groups, [weights]), criteria.random(groups, 0)]
    for importance in found[:1] + found[2:]:
        assert {name: len(values) for name, values in importance.items()} == {g.name: g.units for g in groups.free}
        assert all(values.sum() == pytest.approx(1) and (values >= 0).all() for values in importance.values())
    assert set(found[1]) == {group.name for group in groups.free}


def test_random_is_the_same_for_the_same_seed_alone():
    groups = couple(chain().network)
    one, same, other = (criteria.random(groups, seed)["convolution1"].tolist() for seed in (1, 1, 2))
    assert one == same != other


# ---- selection


@pytest.mark.parametrize(("units", "first", "multiple", "least", "expected"), [
    (64, 64, 0, 0.25, [16, 24, 32, 40, 48, 56, 64]),
    (24, 64, 0, 0.25, [16, 24]),
    (16, 16, 0, 0.3, [8, 12, 16]),              # 4.8 channels are two steps of 4
    (3, 3, 0, 0.25, [3]),
    (6, 6, 1, 0.0, [1, 2, 3, 4, 5, 6]),
    (10, 10, 5, 0.5, [5, 10]),                  # 5 of 10 are half, not more
])
def test_allowed_widths(units, first, multiple, least, expected):
    assert allowed_widths(units, first, multiple=multiple, least=least) == expected


def rooms(draw):
    """A few groups with random importance, and a cost with products of neighbouring widths as convolutions have."""
    units = draw(st.lists(st.integers(2, 12), min_size=1, max_size=4))
    step = draw(st.sampled_from([1, 2, 4]))
    widths, lost, orders = [], [], []
    for count in units:
        worth = np.array(draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)))
        order = np.argsort(worth, kind="stable")
        own = np.array(allowed_widths(count, count, multiple=step, least=0.25), dtype=np.int64)
        widths.append(own)
        lost.append(np.concatenate([[0.0], np.cumsum(worth[order])])[count - own])
        orders.append(order)
    names = tuple(f"g{i}" for i in range(len(units)))
    scale = np.array(draw(st.lists(st.integers(1, 9), min_size=len(units), max_size=len(units))), dtype=np.float64)

    def cost(rows):
        rows = np.asarray(rows, dtype=np.float64)
        before = np.concatenate([np.ones_like(rows[..., :1]), rows[..., :-1]], axis=-1)
        return (rows * before * scale).sum(axis=-1)

    return Room(names=names, widths=tuple(widths), lost=tuple(lost), order=tuple(orders)), cost


@settings(max_examples=200, deadline=None)
@given(data=st.data(), share=st.floats(0.05, 1.0))
def test_a_choice_meets_its_target_and_leaves_no_room_for_any_group(data, share):
    options, cost = rooms(data.draw)
    target = share * float(cost(options.whole))
    found = choose(options, cost, target)
    if float(cost(options.smallest)) > target * (1 + 1e-9):
        assert found is None
        return
    assert found is not None and float(cost(found)) <= target * (1 + 1e-6)
    for group, widths in enumerate(options.widths):
        assert found[group] in widths
        for wider in widths[widths > found[group]]:
            row = found.copy()
            row[group] = wider
            assert float(cost(row)) > target * (1 - 1e-6)
    dropped = options.dropped(found)
    for name, order, whole, width in zip(options.names, options.order, options.whole, found, strict=True):
        assert sorted(order[: whole - width].tolist()) == dropped.get(name, np.zeros(0)).tolist()


def test_a_choice_is_near_the_best_of_all():
    """Against every combination: nothing lost where the best loses nothing, and 20 % more than the best on average."""
    random, ratios = np.random.default_rng(0), []
    for _ in range(60):
        units, scale = random.integers(4, 9, 3), random.integers(1, 9, 3).astype(float)
        worth = [np.sort(random.uniform(0, 1, count)) for count in units]
        widths = tuple(np.arange(1, count + 1) for count in units)
        lost = tuple(np.concatenate([[0], np.cumsum(w)])[len(w) - own] for w, own in zip(worth, widths, strict=True))
        options = Room(names=("a", "b", "c"), widths=widths, lost=lost, order=tuple(np.arange(n) for n in units))

        def cost(rows, scale=scale):
            a, b, c = np.moveaxis(np.asarray(rows, dtype=float), -1, 0)
            return a * scale[0] + a * b * scale[1] + b * c * scale[2]

        target = random.uniform(0.2, 0.8) * float(cost(options.whole))
        every = [np.array(w) for w in product(*widths) if float(cost(np.array(w))) <= target]
        best = min(options.total_lost(w) for w in every)
        ratios.append(options.total_lost(choose(options, cost, target)) / best)
    assert np.mean(ratios) < 1.2 and min(ratios) >= 1 - 1e-9


def test_a_step_in_the_cost_is_crossed_in_one_cut():
    """A kernel whose time falls only every 8 channels: single steps of 4 save nothing."""
    widths = np.arange(4, 36, 4)
    options = Room(names=("a",), widths=(widths,), lost=(32.0 - widths,), order=(np.arange(32),))
    assert choose(options, lambda rows: np.ceil(np.asarray(rows)[..., 0] / 8), 3.0).tolist() == [24]


def test_a_group_without_importance_keeps_its_width():
    b = Builder()
    first = b.convolution(b.input(3), 8)
    groups = couple(b.model(b.convolution(b.convolution(first, 8), 2)).network)
    options = room(groups, {first: np.ones(8)}, {g.name: 8 for g in groups.free}, multiple=4, least=0.25)
    assert [w.tolist() for w in options.widths] == [[4, 8], [8]]


# ---- latency


def test_no_more_networks_are_timed_than_the_budget_and_each_group_first_at_its_smallest():
    widths = tuple(np.arange(8, 72, 8) for _ in range(6))
    options = Room(names=tuple("abcdef"), widths=widths, lost=widths, order=widths)
    work = [1.0, 100.0, 2.0, 3.0, 4.0, 5.0]
    few = variants(options, work, 4)
    assert few == [(1, 8), (3, 8), (4, 8), (5, 8)]                  # the four that save most
    many = variants(options, work, 10)
    assert len(many) == 10 and {group for group, _ in many} == set(range(6))
    assert [width for group, width in many if group == 1] == [8, 16, 24, 40, 56]      # gaps halved: 40, 24, 56, 16
    assert len(variants(options, work, 1000)) == 6 * 7


def test_savings_add_up_as_multiply_accumulates_do_and_are_interpolated_between_measured_widths():
    b = Builder()
    first = b.convolution(b.input(3), 8)
    second = b.convolution(first, 16)
    groups = couple(b.model(b.convolution(second, 2)).network)
    by_width = {first: {4: 80.0}, second: {8: 70.0, 12: 75.0, 4: 60.0}}
    cost = predicted(LatencyTable(whole_us=100.0, smallest_us=50.0, by_width_us=by_width), groups, groups)
    # of 3 * 8 + 8 * 16 + 16 * 2 = 184, widths 4 and 8 save 76 and 80 alone, and 184 - (12 + 32 + 16) = 124 together
    both = 1 - (0.2 + 0.3) * 124 / (76 + 80)
    wanted = {(8, 16): 1.0, (4, 16): 0.8, (6, 16): 0.9, (4, 8): both, (8, 10): 0.725, (8, 4): 0.6}
    assert cost(np.array(list(wanted))).tolist() == pytest.approx(list(wanted.values()))


def test_a_lucky_run_of_one_width_is_evened_out():
    """Time never falls where width grows: 80 and 70 are both 75 in the nearest staircase, and 104 is the whole's."""
    b = Builder()
    first = b.convolution(b.input(3), 16)
    groups = couple(b.model(b.convolution(first, 2)).network)
    table = LatencyTable(whole_us=99.0, smallest_us=50.0, by_width_us={first: {4: 80.0, 8: 70.0, 12: 104.0}})
    cost = predicted(table, groups, groups)
    assert cost(np.array([[4], [8], [12], [16]])).tolist() == pytest.approx([1 - 25 / 99] * 2 + [1.0] * 2)


def test_what_a_group_of_one_channel_saves_is_not_forgotten_when_it_cannot_be_cut_any_more():
    b = Builder()
    first = b.convolution(b.input(3), 8)
    second = b.convolution(first, 16)
    model = b.model(b.convolution(second, 2))
    groups = couple(model.network)
    narrow = couple(resized(model.network, groups.kept({first: np.arange(7)})))
    table = LatencyTable(whole_us=100.0, smallest_us=50.0, by_width_us={first: {1: 60.0}, second: {8: 70.0}})
    whole, later = predicted(table, groups, groups), predicted(table, groups, narrow)
    assert [group.name for group in narrow.free] == [second]
    assert later(np.array([[16], [8]])).tolist() == whole(np.array([[1, 16], [1, 8]])).tolist()
    assert float(later(np.array([16]))) == pytest.approx(0.6)
