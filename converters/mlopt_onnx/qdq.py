"""Which tensors of a graph become 8-bit, and the QuantizeLinear / DequantizeLinear pairs that say so in the file.

ONNX Runtime joins DequantizeLinear -> Conv -> QuantizeLinear to one integer operation. What it can join decides the
plan: a tensor is quantized where an operation with an integer kernel reads or writes it, a ReLU or clip belongs to the
operation before it, and operations that only move data keep their input's grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, TensorProto, helper

from mlopt.convert.ranges import symmetric_scales
from mlopt_onnx.graph import Graph, attributes, copy_of

COMPUTE = {"Conv", "Gemm", "MatMul"}                     # integer products; each has weights or two activations
POINTWISE = {"Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "LeakyRelu"}   # need their output quantized
MOVING = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "MaxPool"}         # keep their input's grid
ACTIVATIONS = {"Relu", "Clip"}
WEIGHT_ONLY = {"ConvTranspose", "Gather"}                # no integer kernel: weights stored in 8 bits, computed in float
AXIS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}
REASONS = {
    "Softmax": "exponentials lose most of their digits on an 8-bit grid",
    "Sigmoid": "its output near 0 and 1 needs finer steps than 8 bits give",
    "LayerNormalization": "ONNX Runtime has no integer kernel for it",
    "Erf": "GELU has no integer kernel in ONNX Runtime",
    "ConvTranspose": "ONNX Runtime has no integer kernel for it; its weights are stored in 8 bits",
    "Gather": "it looks rows up; its table is stored in 8 bits",
}
NO_KERNEL = "ONNX Runtime has no integer kernel for it"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tensors` become uint8, in order of computation; `weights` maps each 8-bit kernel to its channel axis."""

    tensors: tuple[str, ...]
    weights: Mapping[str, int]
    integer: frozenset[str]                  # names of nodes (by first output) that get an integer kernel
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Grid:
    """uint8 grid of one tensor: real = (stored - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class Grids:
    """Everything that `insert` needs beside the plan."""

    activations: Mapping[str, Grid]
    most_weight: int = 127                                   # 63 where 16-bit sums of products may saturate
    bias_shift: Mapping[str, np.ndarray] = field(default_factory=dict)   # by the owner's output: added to the bias


def plan(graph: Graph) -> Plan:
    """Decide what becomes 8-bit; every other operation stands in the notes with its reason."""
    types, consumers, uses = graph.types(), graph.consumers(), graph.uses()
    wanted: set[str] = set()
    weights: dict[str, int] = {}
    integer: set[str] = set()
    for node in graph.nodes:
        kernel = _kernel(graph, node)
        if kernel is not None:
            weights[kernel] = AXIS[node.op_type]
        if node.op_type not in COMPUTE | POINTWISE or not _suits(graph, node, types, kernel):
            continue
        result = _after_activation(graph, node, consumers, uses)
        free = node.op_type == "Gemm" and _only_float_readers(result, consumers, graph)
        wanted.update(n for n in _data_inputs(graph, node))
        wanted.update([] if free else [result])
        integer.add(node.output[0])
    tensors = _ordered(graph, wanted)
    return Plan(tensors=tensors, weights=weights, integer=frozenset(integer), notes=_notes(graph, integer))


def insert(graph: Graph, chosen: Plan, grids: Grids) -> Graph:
    """The graph with its weights stored as int8 and a pair of conversions at every planned tensor.

    The dequantized value of tensor "t" is named "t" again, so that files can be compared tensor by tensor; its float
    value before is "t.f" and the stored integers are "t.q".
    """
    new = Graph(
        nodes=[copy_of(n) for n in graph.nodes], constants=dict(graph.constants), inputs=graph.inputs,
        outputs=graph.outputs, opset=graph.opset,
    )
    scales = _store_weights(new, chosen, grids.most_weight)
    _store_biases(new, chosen, grids, scales)
    ports = {p.name for p in new.inputs}
    pairs: dict[str, list[NodeProto]] = {}
    for tensor in chosen.tensors:
        pairs[tensor] = _pair(new, tensor, grids.activations[tensor], is_input=tensor in ports)
    nodes: list[NodeProto] = [n for tensor in chosen.tensors if tensor in ports for n in pairs[tensor]]
    heads = _weight_nodes(new, scales)
    for node in new.nodes:
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


def _store_weights(graph: Graph, chosen: Plan, most: int) -> dict[str, np.ndarray]:
    """Replace float kernels by int8 ones, symmetric with one scale per channel; the scales by kernel name."""
    scales = {}
    for name, axis in chosen.weights.items():
        kernel = graph.constants.pop(name)
        scale = symmetric_scales(kernel, axis, most)
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
            if name in scales and name not in nodes:
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
        shift = grids.bias_shift.get(node.output[0])
        if node.op_type not in {"Conv", "Gemm"} or node.input[1] not in scales:
            continue
        if len(node.input) < 3 and shift is None:
            continue
        bias = graph.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(shift), np.float32)
        bias = bias if shift is None else (bias + shift).astype(np.float32)
        name = f"{node.output[0]}.b"
        if node.output[0] in chosen.integer:
            source = _grid_source(graph, node.input[0], grids)
            step = np.float32(grids.activations[source].scale) * scales[node.input[1]]
            graph.constants[f"{name}.q"] = np.clip(np.rint(bias / step.astype(np.float64)), -(2**31), 2**31 - 1).astype(np.int32)
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


def _kernel(graph: Graph, node: NodeProto) -> str | None:
    """The constant kernel of `node` that can be stored as int8 per channel."""
    index = 0 if node.op_type == "Gather" else 1
    if node.op_type not in COMPUTE | WEIGHT_ONLY or len(node.input) <= index:
        return None
    array = graph.constants.get(node.input[index])
    if array is None or array.dtype != np.float32 or array.ndim < 2 or (node.op_type == "MatMul" and array.ndim != 2):
        return None
    settings = attributes(node)
    plain = not any(settings.get(n) for n in ("transA", "transB")) and settings.get("alpha", 1) == settings.get("beta", 1) == 1
    if node.op_type == "Gemm" and not plain:
        return None
    if node.op_type == "ConvTranspose" and settings.get("group", 1) != 1:
        return None
    return None if node.op_type == "Gather" and settings.get("axis", 0) else node.input[index]


def _suits(graph: Graph, node: NodeProto, types: Mapping[str, int], kernel: str | None) -> bool:
    if types.get(node.output[0]) != TensorProto.FLOAT:
        return False
    if node.op_type in {"Conv", "Gemm"}:
        biased = len(node.input) > 2 and node.input[2]
        return kernel is not None and (not biased or graph.constants.get(node.input[2], np.zeros((1, 1))).ndim == 1)
    return bool(_data_inputs(graph, node))


def _data_inputs(graph: Graph, node: NodeProto) -> list[str]:
    """Activations that `node` reads, each followed back over operations that only move data."""
    names = node.input if node.op_type in POINTWISE | {"MatMul"} else node.input[:1]
    return [_origin(graph, n) for n in names if n and n not in graph.constants]


def _origin(graph: Graph, tensor: str) -> str:
    producers, uses = graph.producers(), graph.uses()
    while (node := producers.get(tensor)) is not None and node.op_type in MOVING and node.input[0] not in graph.constants:
        tensor = node.input[0]
    return tensor if uses[tensor] else tensor


def _after_activation(graph: Graph, node: NodeProto, consumers: Mapping[str, list[NodeProto]], uses: Mapping[str, int]) -> str:
    """The output of the ReLU or clip from zero that follows `node` alone, else its own."""
    readers = consumers.get(node.output[0], [])
    if uses[node.output[0]] != 1 or not readers or readers[0].op_type not in ACTIVATIONS:
        return node.output[0]
    after = readers[0]
    bound = graph.constants.get(after.input[1]) if after.op_type == "Clip" and len(after.input) > 1 else np.zeros(())
    return after.output[0] if bound is not None and (bound == 0).all() else node.output[0]


def _only_float_readers(tensor: str, consumers: Mapping[str, list[NodeProto]], graph: Graph) -> bool:
    pending, seen = [tensor], set()
    while pending:
        name = pending.pop()
        for reader in consumers.get(name, []):
            if reader.op_type in COMPUTE | POINTWISE:
                return False
            if reader.op_type in MOVING and reader.output[0] not in seen:
                seen.add(reader.output[0])
                pending.append(reader.output[0])
    return True


def _ordered(graph: Graph, wanted: set[str]) -> tuple[str, ...]:
    order = [p.name for p in graph.inputs] + [name for node in graph.nodes for name in node.output]
    return tuple(name for name in order if name in wanted)


def _notes(graph: Graph, integer: set[str]) -> tuple[str, ...]:
    left: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.output[0] not in integer and node.op_type not in MOVING | ACTIVATIONS:
            left.setdefault(node.op_type, []).append(node.name)
    return tuple(
        f"{op} stays in float ({', '.join(names)}): {REASONS.get(op, NO_KERNEL)}." for op, names in sorted(left.items())
    )
