"""Coupled channels: worked out by hand on small networks, and by laws on random ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt.channels.coupling import couple
from mlopt.channels.resizing import channels_kept, resized
from mlopt.testing.networks import Builder, NumpyModel, random_model


def group(groups, name):
    return next(g for g in groups.all if g.name == name)


def cuts(group):
    return {slot: indices.tolist() for slot, indices in group.cuts.items()}


def test_a_chain_cuts_the_makers_outputs_and_the_readers_inputs():
    b = Builder()
    first = b.convolution(b.input(2), 3)
    model = b.model(b.convolution(b.passing(first), 2))
    groups = couple(model.network)
    assert [g.name for g in groups.free] == [first]
    assert cuts(groups.free[0]) == {
        (f"{first}/kernel", 1): [[0], [1], [2]], (f"{first}/bias", 0): [[0], [1], [2]],
        ("convolution3/kernel", 0): [[0], [1], [2]],
    }
    assert groups.free[0].makers == {(f"{first}/kernel", 1), (f"{first}/bias", 0)}
    assert group(groups, "input0").pinned == "an input of the model"
    assert group(groups, "convolution3").pinned == "an output of the model"


def test_an_addition_couples_channel_k_with_channel_k():
    b = Builder()
    image = b.input(4, 4, 3)
    left, right = b.convolution(image, 5), b.convolution(image, 5)
    model = b.model(b.convolution(b.add(left, right), 2))
    (only,) = couple(model.network).free
    assert only.units == 5 and only.producers == (left, right)
    for name in (left, right):
        assert only.cuts[f"{name}/kernel", 1].tolist() == [[k] for k in range(5)]


def test_a_concatenation_shifts_and_one_with_itself_takes_two():
    b = Builder()
    image = b.input(2)
    left, right = b.convolution(image, 2), b.convolution(image, 3)
    model = b.model(b.convolution(b.concat(left, right, left), 2))
    groups = couple(model.network)
    reader = ("convolution4/kernel", 0)
    assert group(groups, left).cuts[reader].tolist() == [[0, 5], [1, 6]]
    assert group(groups, right).cuts[reader].tolist() == [[2], [3], [4]]


def test_added_concatenations_in_another_order_couple_across():
    b = Builder()
    image = b.input(2)
    left, right = b.convolution(image, 3), b.convolution(image, 3)
    model = b.model(b.convolution(b.add(b.concat(left, right), b.concat(right, left)), 2))
    (only,) = couple(model.network).free
    assert only.units == 3 and only.cuts["convolution6/kernel", 0].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(("axis", "expected"), [(-1, [[0, 2, 4, 6], [1, 3, 5, 7]]), (0, [[0, 1, 2, 3], [4, 5, 6, 7]])])
def test_a_flattened_channel_stands_at_every_place_of_the_picture(axis, expected):
    b = Builder()
    first = b.convolution(b.input(2, 2, 3), 2)
    model = b.model(b.convolution(b.flatten(first), 2))
    shape = (2, 2, 2)                                       # here both layouts have the same shape
    nodes = tuple(replace(n, channel_axis=axis) if n.shape == shape else n for n in model.network.nodes)
    (only,) = couple(replace(model.network, nodes=nodes)).free
    assert only.cuts["convolution3/kernel", 0].tolist() == expected


def test_a_depthwise_multiplier_takes_all_outputs_of_an_input():
    b = Builder()
    deep = b.depthwise(b.convolution(b.input(2, 2, 3), 2), multiplier=3)
    model = b.model(b.convolution(deep, 2))
    (only,) = couple(model.network).free
    assert only.cuts[f"{deep}/kernel", 0].tolist() == [[0], [1]]
    for outputs in ((f"{deep}/bias", 0), ("convolution3/kernel", 0)):
        assert only.cuts[outputs].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_squeeze_and_excite_goes_with_what_it_scales_and_a_gate_of_one_channel_stays():
    b = Builder()
    body = b.convolution(b.input(4, 4, 3), 6)
    squeezed = b.convolution(b.pooling(body), 2)
    gate = b.convolution(squeezed, 6, activation="sigmoid")
    scaled = b.multiply(body, gate)
    single = b.convolution(scaled, 1, activation="sigmoid")
    model = b.model(b.convolution(b.multiply(scaled, single), 2))
    groups = couple(model.network)
    assert [(g.name, g.units) for g in groups.free] == [(body, 6), (squeezed, 2)]
    assert group(groups, body).producers == (body, gate)
    assert "one channel for 6" in group(groups, single).pinned


def test_shared_weights_couple_all_their_uses():
    b = Builder()
    one, two = b.input(3), b.input(3)
    first = b.convolution(one, 4)
    again = b.convolution(two, 4, like=first)
    model = b.model(b.convolution(b.concat(first, again), 2))
    (only,) = couple(model.network).free
    assert only.cuts["convolution5/kernel", 0].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_a_weight_shared_with_a_node_that_is_not_understood_stays_whole():
    b = Builder()
    first = b.convolution(b.input(3), 4)
    second = b.convolution(first, 4)
    model = b.model(b.convolution(second, 2))
    tied = replace(b.nodes[b.other("input0")], weights=b.nodes[first].weights, note="reads a kernel its own way")
    groups = couple(replace(model.network, nodes=(*model.network.nodes, tied)))
    assert "reads a kernel its own way" in group(groups, first).pinned
    assert [g.name for g in groups.free] == [second]


def test_what_mixes_channels_is_pinned_and_says_why():
    b = Builder()
    turned = b.other(b.convolution(b.input(3), 4))
    soft = b.convolution(turned, 4, activation="softmax")
    model = b.model(b.convolution(soft, 2))
    groups = couple(model.network)
    assert not groups.free
    assert group(groups, "convolution1").pinned == "other2 (Reverse): turns channels round"
    assert "softmax mixes channels" in group(groups, soft).pinned


def test_a_grouped_convolution_pins_what_it_reads_and_makes():
    b = Builder()
    first = b.convolution(b.input(3), 4)
    model = b.model(b.convolution(b.convolution(first, 4), 2))
    grouped = b.nodes["convolution2"].weights[0]
    half = replace(grouped, shape=(2, 4))
    nodes = tuple(
        replace(n, weights=(half, *n.weights[1:])) if n.name == "convolution2" else n for n in model.network.nodes
    )
    groups = couple(replace(model.network, nodes=nodes))
    assert not groups.free and "has 2 entries for 4 channels" in group(groups, first).pinned


def test_the_last_channel_and_pinned_ones_cannot_go():
    b = Builder()
    first = b.convolution(b.input(3), 2)
    groups = couple(b.model(b.convolution(first, 2)).network)
    with pytest.raises(ValueError, match="every channel would go"):
        groups.kept({first: np.array([0, 1])})
    with pytest.raises(ValueError, match="an input of the model"):
        groups.kept({"input0": np.array([0])})


def test_indices_that_do_not_fit_each_other_are_refused():
    b = Builder()
    image = b.input(3)
    left, right = b.convolution(image, 4), b.convolution(image, 4)
    network = b.model(b.convolution(b.add(left, right), 2)).network
    half = np.array([0, 1])
    with pytest.raises(ValueError, match="cut differently"):
        resized(network, {f"{left}/kernel": {1: half}, f"{left}/bias": {0: half}})
    with pytest.raises(ValueError, match="is not cut as the channels"):
        resized(network, {f"{left}/kernel": {1: half}})


# ---- laws on random networks


@st.composite
def models(draw):
    return random_model(lambda options: draw(st.sampled_from(options)))


def some_dropped(groups, draw):
    dropped = {}
    for each in groups.free:
        gone = draw(st.sets(st.integers(0, each.units - 1), max_size=each.units - 1))
        dropped[each.name] = np.array(sorted(gone), dtype=np.int64)
    return dropped


def inputs(model, count=3):
    random = np.random.default_rng(1)
    return {s.name: random.normal(size=(count, *s.shape[1:])) for s in model.signature.inputs}


@settings(max_examples=200, deadline=None)
@given(model=models(), data=st.data())
def test_the_silenced_network_equals_the_rebuilt_one_at_every_node(model, data):
    groups = couple(model.network)
    dropped = some_dropped(groups, data.draw)
    kept = groups.kept(dropped)
    silenced = NumpyModel(model.network, groups.masked(model.weights(), dropped))
    small, staying = model.narrowed(kept), channels_kept(model.network, kept)
    names = [node.name for node in model.network.nodes]
    large, cut = silenced.activations(names, inputs(model)), small.activations(names, inputs(model))
    for name in names:
        np.testing.assert_allclose(large[name][..., staying[name]], cut[name], rtol=1e-9, atol=1e-9, err_msg=name)


@settings(max_examples=100, deadline=None)
@given(model=models())
def test_every_channel_is_in_exactly_one_unit_and_every_index_at_most_once(model):
    groups = couple(model.network)
    for node in model.network.nodes:
        found = [each.places[node.name].ravel() for each in groups.all if node.name in each.places]
        assert sorted(np.concatenate(found).tolist()) == list(range(node.channels))
    for slot in {slot for each in groups.all for slot in each.cuts}:
        found = np.concatenate([each.cuts[slot].ravel() for each in groups.all if slot in each.cuts])
        assert len(np.unique(found)) == len(found)
    assert len({each.name for each in groups.all}) == len(groups.all)


@settings(max_examples=100, deadline=None)
@given(model=models(), data=st.data())
def test_cutting_twice_is_cutting_once(model, data):
    groups = couple(model.network)
    dropped = some_dropped(groups, data.draw)
    half = {name: units[::2] for name, units in dropped.items()}
    once, first = model.narrowed(groups.kept(dropped)), model.narrowed(groups.kept(half))
    again = couple(first.network)
    left = {g.name: np.setdiff1d(np.arange(g.units), half[g.name]) for g in groups.free}
    rest = {name: np.searchsorted(left[name], units[1::2]) for name, units in dropped.items() if len(units) > 1}
    twice = first.narrowed(again.kept(rest))
    assert twice.network == once.network
    for name, array in once.weights().items():
        np.testing.assert_array_equal(twice.weights()[name], array)
