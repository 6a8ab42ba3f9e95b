"""QuantizeLinear and DequantizeLinear pairs that put a plan into the file, with 8-bit weights and 32-bit biases."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, helper

from mlopt.convert.trained import OnGrid
from mlopt.ranges import symmetric_scales
from mlopt_onnx.graph import Graph, copy_of
from mlopt_onnx.plan import AXIS, Plan

MOST_BIAS = 2.0**30  # half of what 32 bits hold: the other half is for the sum of products


@dataclass(frozen=True, kw_only=True)
class Grid:
    """uint8 grid of one tensor: real = (stored - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class Grids:
    """Everything that `insert` needs beside the plan."""

    activations: Mapping[str, Grid]
    most_weight: int = 127  # 63 where 16-bit sums of products may saturate
    bias_shift: Mapping[str, np.ndarray] = field(default_factory=dict)  # by the owner's output: added to the bias
    kernels: Mapping[str, OnGrid] = field(default_factory=dict)  # whole numbers that are known already, by kernel


def insert(graph: Graph, chosen: Plan, grids: Grids) -> Graph:
    """The graph with its weights stored as int8 and a pair of conversions at every planned tensor.

    The dequantized value of tensor "t" is named "t" again, so that files can be compared tensor by tensor; its float
    value before is "t.f" and the stored integers are "t.q".
    """
    new = Graph(
        nodes=[copy_of(n) for n in graph.nodes],
        constants=dict(graph.constants),
        inputs=graph.inputs,
        outputs=graph.outputs,
        opset=graph.opset,
    )
    scales = _store_weights(new, chosen, grids)
    _store_biases(new, chosen, grids, scales)
    ports = {p.name for p in new.inputs}
    pairs: dict[str, list[NodeProto]] = {}
    for tensor in chosen.tensors:
        pairs[tensor] = _pair(new, tensor, grids.activations[tensor], is_input=tensor in ports)
    nodes: list[NodeProto] = [n for tensor in chosen.tensors if tensor in ports for n in pairs[tensor]]
    heads = _weight_nodes(new, scales)
    for node in new.nodes:
        if node.op_type == "Gather" and node.input[0] in scales:
            nodes += _looked_up(node, pairs.get(node.output[0], []))
            continue
        for i, name in enumerate(node.input):
            if name in pairs and name in ports:
                node.input[i] = f"{name}.d"
        nodes += [head for name in node.input for head in heads.pop(name, [])]
        made = [name for name in node.output if name in pairs]
        node.output[:] = [f"{name}.f" if name in pairs else name for name in node.output]
        nodes.append(node)
        nodes += [n for name in made for n in pairs[name]]
    new.nodes = nodes
    return new


def _pair(graph: Graph, tensor: str, grid: Grid, *, is_input: bool) -> list[NodeProto]:
    scale, zero = f"{tensor}.s", f"{tensor}.z"
    graph.constants[scale] = np.array(grid.scale, dtype=np.float32)
    graph.constants[zero] = np.array(grid.zero_point, dtype=np.uint8)
    source, result = (tensor, f"{tensor}.d") if is_input else (f"{tensor}.f", tensor)
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero], [f"{tensor}.q"]),
        helper.make_node("DequantizeLinear", [f"{tensor}.q", scale, zero], [result]),
    ]


def _looked_up(node: NodeProto, pair: list[NodeProto]) -> list[NodeProto]:
    """Gather rows of integers and then make them real numbers: a table of words is never unpacked as a whole."""
    table, result = node.input[0], node.output[0]
    node.input[0], node.output[0] = f"{table}.q", f"{result}.rows"
    real = f"{result}.f" if pair else result
    parts = [f"{result}.rows", f"{table}.s", f"{table}.z"]
    return [node, helper.make_node("DequantizeLinear", parts, [real], axis=-1), *pair]


def _bias(graph: Graph, node: NodeProto, grids: Grids) -> np.ndarray:
    """The float bias of a Conv or Gemm, corrected; zeros where it has none."""
    given = graph.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(1, np.float32)
    return (given + grids.bias_shift.get(node.output[0], 0.0)).astype(np.float32)


def _least_scales(graph: Graph, chosen: Plan, grids: Grids) -> dict[str, np.ndarray]:
    """For each kernel the weight scales [channels] below which a bias would leave its 32 bits.

    A channel whose weights are nearly zero, as batch norm leaves them, may still have a large bias.
    """
    least: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if node.op_type in {"Conv", "Gemm"} and node.output[0] in chosen.integer:
            step = grids.activations[_grid_source(graph, node.input[0], grids)].scale
            needed = np.abs(_bias(graph, node, grids)) / np.float32(step * MOST_BIAS)
            least[node.input[1]] = np.maximum(least.get(node.input[1], np.float32(0)), needed)
    return least


def _store_weights(graph: Graph, chosen: Plan, grids: Grids) -> dict[str, np.ndarray]:
    """Replace float kernels by int8 ones, symmetric with one scale per channel; the scales by kernel name."""
    scales, most = {}, grids.most_weight
    least = _least_scales(graph, chosen, grids)
    for name, axis in chosen.weights.items():
        kernel = graph.constants.pop(name)
        known = grids.kernels.get(name)
        steps = symmetric_scales(kernel, axis, most) if known is None else known.steps
        steps = np.broadcast_to(steps, kernel.shape[axis])
        scale = np.maximum(steps, least.get(name, np.float32(0))).astype(np.float32)
        shape = [1] * kernel.ndim
        shape[axis] = -1
        graph.constants[f"{name}.q"] = np.clip(np.rint(kernel / scale.reshape(shape)), -most, most).astype(np.int8)
        graph.constants[f"{name}.s"] = scale
        graph.constants[f"{name}.z"] = np.zeros(len(scale), dtype=np.int8)
        scales[name] = scale
    return scales


def _weight_nodes(graph: Graph, scales: Mapping[str, np.ndarray]) -> dict[str, list[NodeProto]]:
    nodes = {}
    for node in graph.nodes:
        for name in node.input:
            if name in scales and name not in nodes and node.op_type != "Gather":
                axis = AXIS[node.op_type]
                parts = [f"{name}.q", f"{name}.s", f"{name}.z"]
                nodes[name] = [helper.make_node("DequantizeLinear", parts, [name], axis=axis)]
            elif f"{name}.bs" in graph.constants and name not in nodes:
                parts = [f"{name}.q", f"{name}.bs"]
                nodes[name] = [helper.make_node("DequantizeLinear", parts, [name], axis=0)]
    return nodes


def _store_biases(graph: Graph, chosen: Plan, grids: Grids, scales: Mapping[str, np.ndarray]) -> None:
    """Biases of integer operations as int32 on the grid of their sums: input scale times weight scale."""
    for node in graph.nodes:
        if node.op_type not in {"Conv", "Gemm"} or node.input[1] not in scales:
            continue
        if len(node.input) < 3 and node.output[0] not in grids.bias_shift:
            continue
        bias = _bias(graph, node, grids)
        name = f"{node.output[0]}.b"
        if node.output[0] in chosen.integer:
            source = _grid_source(graph, node.input[0], grids)
            step = np.float32(grids.activations[source].scale) * scales[node.input[1]]
            graph.constants[f"{name}.q"] = np.rint(bias / step.astype(np.float64)).astype(np.int32)
            graph.constants[f"{name}.bs"] = step
        else:
            graph.constants[name] = bias
        node.input[:] = [*node.input[:2], name]


def _grid_source(graph: Graph, tensor: str, grids: Grids) -> str:
    """The tensor whose grid `tensor` is on: itself, or what operations that only move data took it from."""
    producers = graph.producers()
    while tensor not in grids.activations:
        tensor = producers[tensor].input[0]
    return tensor
