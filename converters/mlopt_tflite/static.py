"""Lower a float file to integers: weights, activations, inputs and outputs.

Every operation that LiteRT has an integer kernel for runs on integers; around the others the values are turned to
float and back. The graph's own inputs and outputs are integers wherever they were floats.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from mlopt_tflite import flatfile
from mlopt_tflite.engine import to_stored
from mlopt_tflite.graph import Editor, parameters
from mlopt_tflite.operators import INTEGER_OPS
from mlopt_tflite.scales import (
    UNBOUNDED,
    Range,
    affine,
    constant_affine,
    float_operands,
    group_ranges,
    integer_ops,
    shared,
)
from mlopt_tflite.tables import Model, Operator
from mlopt_tflite.weights import WEIGHTED, Layer, Quantized, layers, rounded

BIAS_LIMIT = 2.0**30   # a bias is a 32-bit number of steps of input scale * weight scale; half of the type is left free
INT4_VERSIONS = {"CONV_2D": 7, "FULLY_CONNECTED": 10}


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """`model` is the integer graph; `source` names for each of its operations the float one, or None where inserted."""

    model: Model
    source: tuple[int | None, ...]
    tensors: Mapping[int, int]      # float tensor -> the tensor that holds its integer form
    in_float: tuple[int, ...]       # float operations that stayed so


def lower(
    model: Model,
    kind: str,
    *,
    ranges: Mapping[int, Range],
    weights: Mapping[int, Quantized],
    biases: Mapping[int, np.ndarray] | None = None,
    in_float: Set[int] = frozenset(),
    pinned: Mapping[int, tuple[float, int]] | None = None,
) -> Lowered:
    """`kind` is the activations' type, "int8" or "int16"; `ranges` are by tensor, the rest is by operation.

    `pinned` gives tensors whose (scale, zero point) is known already; they have ranges too.
    """
    return _Lowering(
        model, kind, ranges=ranges, weights=weights, biases=biases or {}, in_float=in_float, pinned=pinned or {}
    ).run()


class _Lowering:
    def __init__(
        self,
        model: Model,
        kind: str,
        *,
        ranges: Mapping[int, Range],
        weights: Mapping[int, Quantized],
        biases: Mapping[int, np.ndarray],
        in_float: Set[int],
        pinned: Mapping[int, tuple[float, int]],
    ) -> None:
        self.model, self.kind, self.weights, self.biases = model, kind, weights, biases
        self.dtype = np.dtype(kind)
        self.editor = Editor(model)
        self.integer = integer_ops(model, kind, in_float, set(ranges))
        self.sharing = shared(model, kind, self.integer, pinned)
        spans = group_ranges(model, self.sharing, ranges, self.integer)
        self.scale_of = {leader: affine(*span, kind) for leader, span in spans.items()} | dict(self.sharing.fixed)
        self.ranges, self.pinned = ranges, pinned
        self.layer_of = {layer.op: layer for layer in layers(model)}
        self.as_integer: dict[int, int] = {}
        self.as_float: dict[int, int] = {}
        self.operators: list[Operator] = []
        self.source: list[int | None] = []

    def run(self) -> Lowered:
        graph = self.editor.graph
        originals = list(graph.operators)
        for index in list(graph.inputs):
            if flatfile.type_name(self.editor.tensor(index)) == "float32":
                self._becomes_integer(index)
        for op in list(flatfile.ops(self.model)):
            new = originals[op.index]
            if op.index in self.integer:
                self._integer_op(op, new)
            else:
                self._float_op(op, new)
        graph.outputs = [self._output(int(i)) for i in graph.outputs]
        graph.operators = self.operators
        self._name_outputs()
        floats = [op.index for op in flatfile.ops(self.model) if op.index not in self.integer]
        touched = [i for i in floats if float_operands(self.model, list(flatfile.ops(self.model))[i].inputs)]
        return Lowered(
            model=self.editor.model, source=tuple(self.source), tensors=dict(self.as_integer), in_float=tuple(touched)
        )

    def _quantization(self, index: int) -> tuple[float, int]:
        leader = self.sharing.leader.get(index, index)
        if leader in self.scale_of:
            return self.scale_of[leader]
        if index in self.pinned:
            return self.pinned[index]
        return affine(*self.ranges[index], self.kind)

    def _becomes_integer(self, index: int) -> None:
        tensor = self.editor.tensor(index)
        tensor.type = flatfile.TYPE_CODES[self.kind]
        tensor.quantization = parameters(*self._quantization(index))
        self.as_integer[index] = index

    def _integer_op(self, op: flatfile.Op, new: Operator) -> None:
        if op.name in WEIGHTED:
            self._weighted(op, new)
        else:
            output = self._quantization(op.outputs[0])
            for place, index in enumerate(op.inputs):
                if index >= 0 and index in float_operands(self.model, op.inputs):
                    new.inputs[place] = self._operand(op, index, output)
        for index in op.outputs:
            self._becomes_integer(index)
        self.editor.set_version(new, INTEGER_OPS[op.name].version)
        self._emit(new, op.index)

    def _operand(self, op: flatfile.Op, index: int, output: tuple[float, int]) -> int:
        tensor = self.model.subgraphs[0].tensors[index]
        if flatfile.is_constant(self.model, tensor):
            values = flatfile.constant(self.model, tensor)
            passing = INTEGER_OPS[op.name].scales.name == "SAME"
            scale, zero = output if passing else constant_affine(values, self.kind)
            stored = to_stored(np.clip(values, -UNBOUNDED, UNBOUNDED), self.dtype, scale, zero)
            return self.editor.add_constant(stored, self.kind, parameters(scale, zero))
        source = self._integer_form(index)
        if (op.index, index) not in self.sharing.requantized:
            return source
        result = self.editor.add_tensor(
            shape=flatfile.shape_of(tensor), kind=self.kind, quantization=parameters(*output)
        )
        self._emit(self.editor.new_op("QUANTIZE", [source], [result], 2), None)
        return result

    def _weighted(self, op: flatfile.Op, new: Operator) -> None:
        data, weight, bias, _ = WEIGHTED[op.name]
        layer, q = self.layer_of[op.index], self.weights[op.index]
        new.inputs[data] = self._integer_form(op.inputs[data])
        input_scale = self._quantization(op.inputs[data])[0]
        real = self._bias(layer)
        q = _wide_enough(q, real, input_scale)
        kind = f"int{q.bits}"
        new.inputs[weight] = self.editor.add_constant(q.values, kind, parameters(q.scale, axis=q.axis))
        if real is not None:
            steps = np.float64(input_scale) * q.scale.astype(np.float64)
            bias_kind = "int32" if self.kind == "int8" else "int64"
            stored = np.rint(real.astype(np.float64) / steps).astype(bias_kind)
            new.inputs += [-1] * (bias + 1 - len(new.inputs))
            new.inputs[bias] = self.editor.add_constant(stored, bias_kind, parameters(steps))
        if q.bits == 4:
            self.editor.set_version(new, INT4_VERSIONS.get(op.name, 7))

    def _bias(self, layer: Layer) -> np.ndarray | None:
        if layer.op in self.biases:
            return np.asarray(self.biases[layer.op])
        if layer.bias is None:
            return None
        return flatfile.constant(self.model, self.model.subgraphs[0].tensors[layer.bias])

    def _float_op(self, op: flatfile.Op, new: Operator) -> None:
        new.inputs = [self._float_form(i) if i in self.as_integer else i for i in op.inputs]
        self._emit(new, op.index)

    def _integer_form(self, index: int) -> int:
        if index not in self.as_integer:
            tensor = self.editor.tensor(index)
            result = self.editor.add_tensor(
                shape=flatfile.shape_of(tensor), kind=self.kind, quantization=parameters(*self._quantization(index))
            )
            self._emit(self.editor.new_op("QUANTIZE", [index], [result], 2 if self.kind == "int16" else 1), None)
            self.as_integer[index], self.as_float[index] = result, index
        return self.as_integer[index]

    def _float_form(self, index: int) -> int:
        if index not in self.as_float:
            result = self.editor.add_tensor(shape=flatfile.shape_of(self.editor.tensor(index)), kind="float32")
            self._emit(self.editor.new_op("DEQUANTIZE", [self.as_integer[index]], [result], 2), None)
            self.as_float[index] = result
        return self.as_float[index]

    def _output(self, index: int) -> int:
        tensor = self.editor.tensor(index)
        if index in self.as_integer or flatfile.type_name(tensor) != "float32" or index not in self.ranges:
            return self.as_integer.get(index, index)
        return self._integer_form(index)

    def _name_outputs(self) -> None:
        """The signature, and the names of the graph's ports, follow outputs that moved to a new tensor."""
        for index, moved in self.as_integer.items():
            if index != moved and moved in self.editor.graph.outputs:
                self.editor.tensor(moved).name = self.editor.tensor(index).name
        for signature in self.editor.model.signatureDefs or []:
            if signature.subgraphIndex == 0:
                for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
                    entry.tensorIndex = self.as_integer.get(int(entry.tensorIndex), int(entry.tensorIndex))

    def _emit(self, op: Operator, source: int | None) -> None:
        self.operators.append(op)
        self.source.append(source)


def _wide_enough(q: Quantized, bias: np.ndarray | None, input_scale: float) -> Quantized:
    """Raise the scale of channels whose bias would not fit its 32 bits: tiny weights beside a large bias.

    A channel without weights has no scale of its own: it gets one that gives its bias 24 bits.
    """
    if bias is None:
        return q
    size = np.abs(bias).astype(np.float64) / input_scale
    others = tuple(i for i in range(q.values.ndim) if i != q.axis)
    dead = np.abs(q.values).max(axis=others) == 0
    if q.scale.size == 1:
        wanted = np.maximum(q.scale, size.max(keepdims=True) / BIAS_LIMIT)
    else:
        wanted = np.where(dead, np.maximum(size / 2.0**24, 1e-12), np.maximum(q.scale, size / BIAS_LIMIT))
    wanted = wanted.astype(np.float32)
    return q if np.array_equal(wanted, q.scale) else rounded(q.real(), wanted, q.axis, q.bits)
