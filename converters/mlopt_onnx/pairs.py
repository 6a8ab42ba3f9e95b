"""Pairs of layers of an ONNX graph between which scale can be moved; see `mlopt.convert.equalize`.

A pair is a Conv or Gemm, the operations that keep channels apart and are positively homogeneous, and the Conv or Gemm
that alone reads the result. A clip (ReLU6) is not homogeneous, a tensor of a residual sum or a branch has several
readers, and what the graph gives out must stay as it is: none of these is part of a pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from mlopt_onnx.graph import Graph, attributes

PASSING = frozenset({"Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "GlobalAveragePool"})
FLATTENING = frozenset({"Reshape", "Flatten", "Squeeze"})
OUTPUTS = {"Conv": 0, "Gemm": 1}   # axes of the weights
INPUTS = {"Conv": 1, "Gemm": 0}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Places of two nodes; `tensors` are what the writer gives, what the reader takes, and all in between."""

    writer: int
    reader: int
    tensors: tuple[str, ...]
    depthwise: bool     # the reader takes each channel by itself


def pairs(graph: Graph) -> list[Pair]:
    """In running order of the writers."""
    places = {node.output[0]: i for i, node in enumerate(graph.nodes) if node.output}
    owned = {i for i, node in enumerate(graph.nodes) if _owns_weights(graph, node)}
    uses, consumers, shapes = graph.uses(), graph.consumers(), graph.shapes()
    found = []
    for start in sorted(owned):
        channels = graph.constants[graph.nodes[start].input[1]].shape[OUTPUTS[graph.nodes[start].op_type]]
        tensors = [graph.nodes[start].output[0]]
        while uses[tensors[-1]] == 1 and consumers.get(tensors[-1]):
            node = consumers[tensors[-1]][0]
            place = places[node.output[0]]
            if place in owned:
                weights = graph.constants[node.input[1]]
                group = attributes(node).get("group", 1)
                depthwise = node.op_type == "Conv" and group == channels > 1 and weights.shape[1] == 1
                whole = group == 1 and weights.shape[INPUTS[node.op_type]] == channels
                if node.input[0] == tensors[-1] and (depthwise or whole):
                    found.append(Pair(writer=start, reader=place, tensors=tuple(tensors), depthwise=depthwise))
                break
            if not _keeps_channels(graph, node, tensors[-1], channels, shapes):
                break
            tensors.append(node.output[0])
    return found


def _owns_weights(graph: Graph, node: NodeProto) -> bool:
    """A Conv or Gemm whose weights, and bias, are constants of its own."""
    if node.op_type not in OUTPUTS or len(node.input) < 2:
        return False
    settings, uses = attributes(node), graph.uses()
    plain = not any(settings.get(n) for n in ("transA", "transB"))
    plain &= settings.get("alpha", 1) == 1 and settings.get("beta", 1) == 1
    parts = [graph.constants[name] for name in node.input[1:] if name in graph.constants]
    if not plain or len(parts) < sum(map(bool, node.input[1:])) or any(p.dtype != np.float32 for p in parts):
        return False
    outputs = parts[0].shape[OUTPUTS[node.op_type]]
    one_each = all(part.shape == (outputs,) for part in parts[1:])   # a bias of another shape is spread over channels
    return one_each and all(uses[name] == 1 for name in node.input[1:] if name)


def _keeps_channels(
    graph: Graph, node: NodeProto, tensor: str, channels: int, shapes: Mapping[str, tuple[int | str | None, ...]]
) -> bool:
    if node.input[0] != tensor or len(node.output) != 1:
        return False
    if node.op_type == "PRelu":
        return node.input[1] in graph.constants
    if node.op_type in FLATTENING:   # [N, C, 1, 1] to [N, C] and back
        before, after = shapes.get(tensor, ()), shapes.get(node.output[0], ())
        return all(len(s) >= 2 and s[1] == channels and all(d == 1 for d in s[2:]) for s in (before, after))
    return node.op_type in PASSING
