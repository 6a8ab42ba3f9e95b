"""Scales of activations: which tensors share one, and the numbers that follow from a range of real values."""

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from mlopt_tflite import flatfile
from mlopt_tflite.operators import INTEGER_OPS, Scales
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import WEIGHTED

Range = tuple[float, float]
NOTHING = 1e-12   # a range narrower than this holds no signal, and its scale would leave float32
UNBOUNDED = 1e30   # a constant beyond this stands for "minus infinity" in padding, and is no measured value


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """`leader` maps each activation tensor of an integer operation to the tensor that stands for its group.

    `fixed` gives (scale, zero point) by leader where a kernel or the training prescribes them. `requantized` lists
    (op, tensor) where an operand needs the output's scale but cannot share it.
    """

    leader: Mapping[int, int]
    fixed: Mapping[int, tuple[float, int]]
    requantized: Set[tuple[int, int]]

    def groups(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for tensor, leader in sorted(self.leader.items()):
            found.setdefault(leader, []).append(tensor)
        return found


def integer_ops(model: Model, kind: str, in_float: Set[int], known: Set[int]) -> set[int]:
    """Operations that run on integers of type `kind`: all their float operands are `known` activations or constants."""
    tensors, found = model.subgraphs[0].tensors, set()
    for op in flatfile.ops(model):
        rule = INTEGER_OPS.get(op.name)
        if rule is None or kind not in rule.types or op.index in in_float:
            continue
        floats = float_operands(model, op.inputs)
        outs = float_operands(model, op.outputs)
        if not floats or len(outs) != len(op.outputs):
            continue
        if op.name in WEIGHTED and not flatfile.is_constant(model, tensors[op.inputs[WEIGHTED[op.name][1]]]):
            continue
        if all(i in known or flatfile.is_constant(model, tensors[i]) for i in (*floats, *outs)):
            found.add(op.index)
    return found


def float_operands(model: Model, indices: tuple[int, ...]) -> list[int]:
    tensors = model.subgraphs[0].tensors
    return [i for i in indices if i >= 0 and flatfile.type_name(tensors[i]) == "float32"]


def data_operands(model: Model, op: flatfile.Op) -> list[int]:
    """Float operands without weights and bias, which have scales of their own."""
    if op.name in WEIGHTED:
        return [op.inputs[WEIGHTED[op.name][0]]]
    return float_operands(model, op.inputs)


def shared(
    model: Model, kind: str, integer: Set[int], pinned: Mapping[int, tuple[float, int]] | None = None
) -> Sharing:
    """Join the tensors that must have one scale. A group whose scale is prescribed takes no other range in.

    `pinned` gives (scale, zero point) of tensors whose scale was trained; a kernel's own scale goes before it.
    """
    tensors = model.subgraphs[0].tensors
    running = [op for op in flatfile.ops(model) if op.index in integer]
    own = {
        op.outputs[0]: INTEGER_OPS[op.name].fixed[kind] for op in running if INTEGER_OPS[op.name].scales is Scales.FIXED
    }
    groups = _Groups({t for op in running for t in (*data_operands(model, op), *op.outputs)}, {**(pinned or {}), **own})
    passing = [op for op in running if INTEGER_OPS[op.name].scales is Scales.SAME]
    activations = {
        op.index: [i for i in data_operands(model, op) if not flatfile.is_constant(model, tensors[i])] for op in passing
    }
    requantized = set()
    for op in passing:
        if len(data_operands(model, op)) == 1:
            for tensor in (*op.outputs, *activations[op.index]):
                if not groups.join(op.outputs[0], tensor):
                    requantized.add((op.index, tensor))
    for op in passing:
        if len(data_operands(model, op)) == 1:
            continue
        kernels_own = {groups.find(t) for t in own}
        for tensor in activations[op.index]:
            if groups.find(tensor) in kernels_own or not groups.join(op.outputs[0], tensor):
                requantized.add((op.index, tensor))
    parent = groups.parent
    return Sharing(
        leader={t: groups.find(t) for t in sorted(parent)}, fixed=groups.prescribed, requantized=requantized
    )


class _Groups:
    """Tensors that share a scale; `prescribed` is by the group's leader, its least tensor."""

    def __init__(self, tensors: Set[int], scales: Mapping[int, tuple[float, int]]) -> None:
        self.parent = {tensor: tensor for tensor in tensors}
        self.prescribed = {tensor: scale for tensor, scale in scales.items() if tensor in tensors}

    def find(self, tensor: int) -> int:
        while self.parent[tensor] != tensor:
            tensor = self.parent[tensor]
        return tensor

    def join(self, a: int, b: int) -> bool:
        """One group of two, unless they have different scales prescribed."""
        a, b = sorted((self.find(a), self.find(b)))
        scales = {self.prescribed[leader] for leader in (a, b) if leader in self.prescribed}
        if len(scales) > 1:
            return False
        self.prescribed.pop(b, None)
        self.parent[b] = a
        for scale in scales:
            self.prescribed[a] = scale
        return True


def group_ranges(model: Model, sharing: Sharing, ranges: Mapping[int, Range], integer: Set[int]) -> dict[int, Range]:
    """By leader, the span of its members' ranges and of the constants that pass through with them."""
    spans: dict[int, Range] = {}
    for tensor, leader in sharing.leader.items():
        if tensor in ranges:
            low, high = ranges[tensor]
            before = spans.get(leader, (low, high))
            spans[leader] = (min(low, before[0]), max(high, before[1]))
    for op in flatfile.ops(model):
        if op.index not in integer or INTEGER_OPS[op.name].scales is not Scales.SAME:
            continue
        for tensor in data_operands(model, op):
            if flatfile.is_constant(model, model.subgraphs[0].tensors[tensor]):
                values = flatfile.constant(model, model.subgraphs[0].tensors[tensor])
                values = values[np.abs(values) < UNBOUNDED]
                leader = sharing.leader[op.outputs[0]]
                if values.size and leader in spans:
                    low, high = spans[leader]
                    spans[leader] = (min(low, float(values.min())), max(high, float(values.max())))
    return spans


def affine(low: float, high: float, kind: str) -> tuple[float, int]:
    """(scale, zero point) of a range; zero is always stored exactly, and int16 is symmetric as its kernels ask.

    >>> affine(0.0, 255.0, "int8")
    (1.0, -128)
    >>> affine(-1.0, 0.5, "int16") == (1 / 32767, 0)
    True
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < NOTHING:
        low, high = 0.0, 1.0   # a tensor that never moves: any scale stores its zero
    if kind == "int16":
        return max(-low, high) / 32767, 0
    scale = (high - low) / 255
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def constant_affine(values: np.ndarray, kind: str) -> tuple[float, int]:
    """As `affine`, for a constant operand; one repeated value is stored exactly.

    >>> constant_affine(np.array([2.54, 2.54]), "int8") == (2.54 / 127, 0)
    True
    """
    first = float(values.reshape(-1)[0])
    if first != 0 and np.all(values == first):
        return abs(first) / (127 if kind == "int8" else 32767), 0
    return affine(float(values.min()), float(values.max()), kind)
