"""Clean-ups of an ONNX graph join what is equal, and nothing that only looks so."""

import ml_dtypes
import numpy as np
import pytest
from mlopt_onnx import tidy
from mlopt_onnx.graph import Graph
from onnx import TensorProto, helper


def graph(nodes, constants) -> Graph:
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    outputs = [helper.make_tensor_value_info(n.output[0], TensorProto.FLOAT, None) for n in nodes[-1:]]
    return Graph(nodes=nodes, constants=constants, inputs=[port], outputs=outputs)


def added(first, second) -> Graph:
    """Two Casts of constants, and their sum."""
    nodes = [
        helper.make_node("Cast", ["a"], ["p"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["b"], ["q"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["p", "q"], ["y"]),
    ]
    return graph(nodes, {"a": first, "b": second})


def test_equal_constants_are_one():
    found = added(np.arange(4, dtype=np.float32), np.arange(4, dtype=np.float32))
    assert tidy.share_constants(found)
    assert list(found.constants) == ["a"] and [list(n.input) for n in found.nodes[:2]] == [["a"], ["a"]]


@pytest.mark.parametrize(("one", "other"), [
    ("int4", "uint4"), ("int4", "float8_e4m3fn"), ("float8_e4m3fn", "float8_e5m2"),
])
def test_constants_of_equal_bits_and_another_type_stay_two(one, other):
    bits = np.array([1, 2, 3, 4], np.uint8)
    found = added(bits.view(getattr(ml_dtypes, one)), bits.view(getattr(ml_dtypes, other)))
    assert not tidy.share_constants(found)
    assert list(found.constants) == ["a", "b"]


def test_two_draws_are_two_nodes_and_two_equal_sums_are_one():
    nodes = [
        helper.make_node("Bernoulli", ["x"], ["p"]), helper.make_node("Bernoulli", ["x"], ["q"]),
        helper.make_node("Add", ["p", "q"], ["r"]), helper.make_node("Add", ["p", "q"], ["s"]),
        helper.make_node("Mul", ["r", "s"], ["y"]),
    ]
    found = graph(nodes, {})
    assert tidy.share_nodes(found)
    assert [n.op_type for n in found.nodes] == ["Bernoulli", "Bernoulli", "Add", "Mul"]
    assert list(found.nodes[-1].input) == ["r", "r"]
