"""Where kernels round, on networks written by hand; each expectation is what TFLite's converter makes of the same."""

import pytest

from mlopt.network import Kind, Network, Node, Weight
from mlopt.steps.quantize.plan import FIXED, groups, kernels, may_have_4_bits, network_bytes


def node(name, kind, *inputs, op="", activation="linear", keeps_range=False, kernel=None, shape=(4, 4, 2), shared=""):
    weights = ()
    if kernel:
        owner = shared or name
        weights = (
            Weight(name=f"{owner}/kernel", shape=kernel, out_axis=len(kernel) - 1, in_axis=len(kernel) - 2,
                   role="kernel"),
            Weight(name=f"{owner}/bias", shape=kernel[-1:], out_axis=0, in_axis=None, role="bias"),
        )
    return Node(name=name, kind=kind, op=op or kind.value, inputs=inputs, shape=shape, activation=activation,
                keeps_range=keeps_range, weights=weights)


def image(name="image"):
    return node(name, Kind.INPUT)


def conv(name, source, activation="linear", op="Conv2D", **more):
    return node(name, Kind.CONVOLUTION, source, op=op, activation=activation, kernel=(3, 3, 2, 2), **more)


def relu(name, source, activation="relu"):
    return node(name, Kind.PASS, source, op="Activation", activation=activation)


def pool(name, source):
    return node(name, Kind.PASS, source, op="MaxPooling2D", keeps_range=True)


def members(*nodes, outputs=()):
    network = Network(nodes=nodes, outputs=outputs or (nodes[-1].name,))
    return [group.members for group in groups(network)]


def test_a_relu_alone_behind_a_convolution_or_a_sum_is_part_of_it():
    add = node("add", Kind.ADD, "r1", "image")
    assert members(image(), conv("c", "image"), relu("r1", "c", "relu6"), add, relu("r2", "add")) == [
        ("image",), ("r1",), ("r2",)
    ]


def test_a_convolution_that_others_read_too_or_that_is_an_output_is_rounded_before_its_relu():
    both = (image(), conv("c", "image"), relu("r", "c"))
    assert members(*both, node("add", Kind.ADD, "c", "r")) == [("image",), ("c",), ("r",), ("add",)]
    assert members(*both, outputs=("c", "r")) == [("image",), ("c",), ("r",)]


def test_other_activation_functions_are_rounded_before_and_after_whether_a_layer_has_them_or_follows():
    found = members(image(), conv("inside", "image", activation="swish"), conv("plain", "inside"),
                    relu("behind", "plain", "swish"))
    assert found == [("image",), ("inside/before",), ("inside",), ("plain",), ("behind",)]


def test_a_transposed_convolution_takes_no_relu_in():
    up = conv("up", "image", op="Conv2DTranspose", activation="relu")
    assert members(image(), up) == [("image",), ("up/before",), ("up",)]
    plain = conv("up", "image", op="Conv2DTranspose")
    assert members(image(), plain, relu("r", "up")) == [("image",), ("up",), ("r",)]


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "tanh"])
def test_kernels_prescribe_what_these_functions_give_and_pooling_hands_it_on(name):
    network = Network(nodes=(image(), conv("c", "image", activation=name), pool("p", "c")), outputs=("p",))
    assert [(group.members, group.fixed) for group in groups(network)][1:] == [
        (("c/before",), None), (("c", "p"), FIXED[name])
    ]


def test_what_is_joined_has_one_range_but_a_prescribed_one_stays_apart():
    nodes = (image(), conv("a", "image"), conv("b", "image"), conv("gate", "image", activation="sigmoid"),
             node("joined", Kind.CONCAT, "a", "b", "gate"), pool("pooled", "joined"))
    found = groups(Network(nodes=nodes, outputs=("pooled",)))
    assert [(set(group.members), group.fixed) for group in found] == [
        ({"image"}, None), ({"a", "b", "joined", "pooled"}, None), ({"gate/before"}, None),
        ({"gate"}, FIXED["sigmoid"]),
    ]


def test_a_relu_is_part_of_the_pooling_that_it_follows():
    assert members(image(), conv("c", "image"), pool("p", "c"), relu("r", "p")) == [("image",), ("c", "p", "r")]


def test_a_flatten_between_a_convolution_and_its_relu_changes_nothing():
    flat = node("flat", Kind.FLATTEN, "c", keeps_range=True)
    assert members(image(), conv("c", "image"), flat, relu("r", "flat")) == [("image",), ("r",)]


def test_a_global_mean_has_a_range_of_its_own():
    mean = node("mean", Kind.PASS, "r", op="GlobalAveragePooling2D")
    assert members(image(), conv("c", "image"), relu("r", "c"), mean) == [("image",), ("r",), ("mean",)]


def test_token_ids_are_not_rounded_and_share_no_range():
    ids = node("ids", Kind.INPUT)
    network = Network(nodes=(ids, pool("picked", "ids"), conv("c", "picked")), outputs=("c",))
    assert [group.members for group in groups(network, without={"ids"})] == [("picked",), ("c",)]


def test_four_bits_are_for_convolutions_and_dense_layers_that_are_not_transposed():
    depthwise = node("d", Kind.DEPTHWISE, "image", kernel=(3, 3, 2, 1))
    assert [may_have_4_bits(n) for n in (conv("c", "image"), conv("t", "image", op="ConvTranspose2d"), depthwise)] == [
        True, False, False
    ]


def test_bytes_count_packed_kernels_32_bit_biases_and_their_scales_and_a_shared_kernel_once():
    twice = conv("again", "c", shared="c")
    network = Network(nodes=(image(), conv("c", "image"), twice), outputs=("again",))
    assert set(kernels(network)) == {"c/kernel"}
    assert [n.name for n in kernels(network)["c/kernel"][1]] == ["c", "again"]
    # 36 weights of a byte or half of one, and for 2 channels a scale, a bias and the bias's scale of 4 bytes each.
    assert network_bytes(network, {}) == 36 + 24
    assert network_bytes(network, {"c/kernel": 4}) == 18 + 24
