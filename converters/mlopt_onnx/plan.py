"""Which operations of a graph compute in 8 bits, and which tensors are therefore quantized.

ONNX Runtime joins DequantizeLinear -> Conv -> QuantizeLinear to one integer operation. What it can join decides the
plan: products of weights come first; sums, pools and the like follow where everything they read is 8-bit already; a
ReLU or a clip at zero belongs to the operation before it; operations that only move data keep their input's grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto

from mlopt_onnx.graph import Graph, attributes

COMPUTE = {"Conv", "Gemm", "MatMul"}  # integer products; each has weights or two activations
FREE_RESULT = {"Gemm", "MatMul"}  # their integer kernels can give float results
POINTWISE = {"Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "LeakyRelu", "Sigmoid"}
MOVING = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "MaxPool"}
WEIGHT_ONLY = {"ConvTranspose", "Gather"}  # no integer kernel: stored in 8 bits, computed in float
AXIS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 1}  # of the channels, in the kernel

BY_NUMBERS = "it combines its input with constants, which costs no digits in float"
REASONS = {
    "Softmax": "exponentials need finer steps than 8 bits give",
    "Sigmoid": "near 0 and 1 it needs finer steps than 8 bits give",
    "GELU": "ONNX Runtime has no integer kernel for it",
    "ConvTranspose": "ONNX Runtime has no integer kernel for it; its weights are stored in 8 bits",
    "Gather": "it looks rows up; its table is stored in 8 bits",
    "Add": "what it adds is computed in float",
    "Mul": "what it multiplies is computed in float",
    "Concat": "what it joins is computed in float",
    "AveragePool": "what it averages is computed in float",
    "GlobalAveragePool": "what it averages is computed in float",
    "LeakyRelu": "what it reads is computed in float",
}
NO_KERNEL = "ONNX Runtime has no integer kernel for it"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tensors` become uint8, in order of computation; `weights` maps each 8-bit kernel to its channel axis."""

    tensors: tuple[str, ...]
    weights: Mapping[str, int]
    integer: frozenset[str]  # first outputs of the nodes that get an integer kernel
    notes: tuple[str, ...] = ()


class Planner:
    """The graph with what is looked up again and again while planning."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types, self.uses = graph.types(), graph.uses()
        self.producers, self.consumers = graph.producers(), graph.consumers()
        self.gelu = {name for node in graph.nodes if node.op_type == "Erf" for name in self._gelu(node)}
        self.weights = {kernel: AXIS[node.op_type] for node in graph.nodes if (kernel := self.kernel(node)) is not None}

    def plan(self) -> Plan:
        """Decide what becomes 8-bit; every other operation stands in the notes with its reason."""
        integer = {n.output[0] for n in self.graph.nodes if n.op_type in COMPUTE and self._multiplies(n)}
        for node in self.graph.nodes:
            if node.op_type in POINTWISE and node.output[0] not in self.gelu and self._follows(node, integer):
                integer.add(node.output[0])
        wanted: set[str] = set()
        for node in self.graph.nodes:
            if node.output[0] not in integer:
                continue
            wanted.update(self.origin(n) for n in self._activations(node))
            result = self.after_activation(node)
            if node.op_type not in FREE_RESULT or self._has_integer_reader(result, integer):
                wanted.add(result)
        order = [p.name for p in self.graph.inputs] + [name for node in self.graph.nodes for name in node.output]
        return Plan(
            tensors=tuple(name for name in order if name in wanted),
            weights=self.weights,
            integer=frozenset(integer),
            notes=self._notes(integer),
        )

    def kernel(self, node: NodeProto) -> str | None:
        """The constant kernel of `node` that can be stored as int8 per channel."""
        index = 0 if node.op_type == "Gather" else 1
        if node.op_type not in COMPUTE | WEIGHT_ONLY or len(node.input) <= index:
            return None
        array, settings = self.graph.constants.get(node.input[index]), attributes(node)
        if array is None or array.dtype != np.float32 or array.ndim < 2 or node.input[index] in self.graph.held:
            return None
        refused = {
            "MatMul": array.ndim != 2,
            "Gemm": any(settings.get(n) for n in ("transA", "transB"))
            or settings.get("alpha", 1) != 1
            or settings.get("beta", 1) != 1,
            "ConvTranspose": settings.get("group", 1) != 1,
            "Gather": settings.get("axis", 0) != 0 or array.ndim != 2,
        }
        return None if refused.get(node.op_type) else node.input[index]

    def origin(self, tensor: str) -> str:
        """What `tensor` is a rearrangement of: itself, or what operations that only move data took it from."""
        while (node := self.producers.get(tensor)) is not None and node.op_type in MOVING:
            if node.input[0] in self.graph.constants:
                break
            tensor = node.input[0]
        return tensor

    def after_activation(self, node: NodeProto) -> str:
        """The output of the ReLU or of the clip from zero that alone reads `node`, else its own."""
        result = node.output[0]
        readers = self.consumers.get(result, [])
        if self.uses[result] != 1 or not readers or readers[0].op_type not in {"Relu", "Clip"}:
            return result
        after = readers[0]
        if after.op_type == "Clip":
            low = self.graph.constants.get(after.input[1]) if len(after.input) > 1 else None
            if low is None or low.any():
                return result
        return after.output[0]

    def _multiplies(self, node: NodeProto) -> bool:
        if self.types.get(node.output[0]) != TensorProto.FLOAT or node.input[0] in self.graph.constants:
            return False
        if node.op_type == "MatMul":
            return node.input[1] in self.weights or node.input[1] not in self.graph.constants
        bias = self.graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        return node.input[1] in self.weights and (len(node.input) < 3 or (bias is not None and bias.ndim == 1))

    def _follows(self, node: NodeProto, integer: set[str]) -> bool:
        """Everything it reads is the result of integer operations. A sigmoid at the end stays in float."""
        if any(name in self.graph.constants for name in node.input):
            return False
        if node.op_type == "Sigmoid" and not self.consumers.get(node.output[0]):
            return False
        return all(self._is_integer(self.origin(name), integer) for name in node.input)

    def _is_integer(self, tensor: str, integer: set[str]) -> bool:
        node = self.producers.get(tensor)
        if node is None:
            return False
        if node.output[0] in integer:
            return True
        before = self.producers.get(node.input[0]) if node.op_type in {"Relu", "Clip"} else None
        return before is not None and before.output[0] in integer and self.after_activation(before) == tensor

    def _has_integer_reader(self, tensor: str, integer: set[str]) -> bool:
        """Whether an integer operation reads `tensor`, at once or after moves."""
        for reader in self.consumers.get(tensor, []):
            if reader.output[0] in integer:
                return True
            if reader.op_type in MOVING and self._has_integer_reader(reader.output[0], integer):
                return True
        return False

    def _activations(self, node: NodeProto) -> list[str]:
        names = node.input if node.op_type in POINTWISE | {"MatMul"} else node.input[:1]
        return [n for n in names if n and n not in self.graph.constants]

    def _gelu(self, erf: NodeProto) -> set[str]:
        """Outputs of the five nodes that ONNX Runtime joins to one GELU, around `erf`."""
        nodes = [self.producers.get(erf.input[0]), erf]
        for _ in range(3):
            readers = self.consumers.get(nodes[-1].output[0], []) if nodes[-1] is not None else []
            nodes.append(readers[0] if len(readers) == 1 else None)
        return {n.output[0] for n in nodes if n is not None}

    def _notes(self, integer: set[str]) -> tuple[str, ...]:
        left: dict[tuple[str, str], list[str]] = {}
        joined = {self.after_activation(n) for n in self.graph.nodes if n.output[0] in integer}
        for node in self.graph.nodes:
            reals = self.types.get(node.output[0], TensorProto.FLOAT) == TensorProto.FLOAT
            if node.output[0] in integer | joined or node.op_type in MOVING or not reals:
                continue
            kind = "GELU" if node.output[0] in self.gelu else node.op_type
            constant = kind in {"Add", "Mul"} and any(n in self.graph.constants for n in node.input)
            reason = BY_NUMBERS if constant else REASONS.get(kind, NO_KERNEL)
            left.setdefault((kind, reason), []).append(node.name)
        return tuple(
            f"{kind} stays in float ({', '.join(dict.fromkeys(names))}): {reason}."
            for (kind, reason), names in sorted(left.items())
        )


def plan(graph: Graph) -> Plan:
    """Decide what of `graph` becomes 8-bit."""
    return Planner(graph).plan()
