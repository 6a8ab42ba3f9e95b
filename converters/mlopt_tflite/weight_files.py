"""Lower a float file to one whose activations stay float: 16-bit floats, 8-bit and 4-bit weights.

Weights are stored small and unpacked once, when the file is loaded, by a DEQUANTIZE operation on the constant
(`unpacked`); or handed as they are to kernels that round activations at run time (`dynamic`).
"""

from collections.abc import Mapping, Set

import numpy as np

from mlopt_tflite import flatfile
from mlopt_tflite.graph import Editor, parameters
from mlopt_tflite.tables import Model, Operator, Quantization
from mlopt_tflite.weights import WEIGHTED, Layer, Quantized, layers, spanned

HYBRID_VERSIONS = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6, "FULLY_CONNECTED": 12}   # those that know scales per channel
UNPACK_BYTES = 100   # what a DEQUANTIZE operation with its tensor costs in a file: smaller gains are not worth it
DEQUANTIZE_VERSIONS = {"int8": 5, "float16": 3, "int4": 6}   # the first that knows the type, per channel


def half(model: Model) -> tuple[Model, tuple[str, ...]]:
    """Every float32 constant that pays for its unpacking, as float16; and notes."""
    editor, small, lost = Editor(model), 0, []
    front = []
    for index in _float_constants(editor):
        tensor = editor.tensor(index)
        values = flatfile.constant(editor.model, tensor)
        if values.size * 2 <= UNPACK_BYTES:
            small += values.size
            continue
        limit = np.finfo(np.float16).max
        if np.abs(values).max() > limit:
            lost.append(f"a constant of {values.size} numbers stays float32: it exceeds float16's {limit:.0f}")
            continue
        front.append(_unpack(editor, index, values.astype(np.float16), "float16", None))
    editor.graph.operators[:0] = front
    notes = [f"{small} numbers in constants of {UNPACK_BYTES // 2} or fewer stay float32: unpacking would cost more"]
    return editor.model, (*(notes if small else ()), *lost)


def unpacked(model: Model, chosen: Mapping[int, Quantized], biases: Mapping[int, np.ndarray]) -> Model:
    """The weights of the layers in `chosen` (by op) stored as whole numbers and unpacked at load; new biases by op."""
    editor = Editor(model)
    front, done = [], {}
    for layer in layers(model):
        _set_bias(editor, layer, biases)
        if layer.op not in chosen or layer.weight in done:
            continue
        q = chosen[layer.op]
        done[layer.weight] = True
        kind = f"int{q.bits}"
        front.append(_unpack(editor, layer.weight, q.values, kind, parameters(q.scale, axis=q.axis)))
    editor.graph.operators[:0] = front
    return editor.model


def dynamic(model: Model, chosen: Mapping[int, Quantized], in_float: Set[int] = frozenset()) -> Model:
    """The weights stored as whole numbers, for kernels that round activations at run time.

    Layers of kinds without such a kernel, and those in `in_float` (by op), unpack their weights instead.
    """
    plain = {
        layer.op: chosen[layer.op]
        for layer in layers(model)
        if layer.op in chosen and (layer.kind not in HYBRID_VERSIONS or layer.op in in_float)
    }
    base = unpacked(model, plain, {})
    editor, shift = Editor(base), len(base.subgraphs[0].operators) - len(model.subgraphs[0].operators)
    for layer in layers(model):
        if layer.op not in chosen or layer.op in plain:
            continue
        q, op = chosen[layer.op], editor.graph.operators[layer.op + shift]
        index = editor.add_constant(q.values, f"int{q.bits}", parameters(q.scale, axis=q.axis))
        op.inputs[WEIGHTED[layer.kind][1]] = index
        editor.set_version(op, HYBRID_VERSIONS[layer.kind])
    return editor.model


def tables(model: Model) -> dict[int, Quantized]:
    """Large constants that no weighted layer owns (embedding tables, matrices), as 8-bit numbers by tensor index.

    Scales run along the first axis of matrices, since rows are what is looked up; one scale for anything else.
    """
    owned = {i for layer in layers(model) for i in (layer.weight, layer.bias) if i is not None}
    found = {}
    for index in _float_constants(Editor(model)):
        tensor = model.subgraphs[0].tensors[index]
        values = flatfile.constant(model, tensor)
        if index in owned or values.ndim < 2 or values.size * 3 <= 4 * UNPACK_BYTES:
            continue
        found[index] = spanned(values, 0, 8)
    return found


def with_tables(model: Model, found: Mapping[int, Quantized]) -> Model:
    """Unpack the constants of `tables` at load."""
    editor = Editor(model)
    front = [
        _unpack(editor, index, q.values, f"int{q.bits}", parameters(q.scale, axis=q.axis)) for index, q in found.items()
    ]
    editor.graph.operators[:0] = front
    return editor.model


def replaced(model: Model, weights: Mapping[int, np.ndarray], biases: Mapping[int, np.ndarray]) -> Model:
    """The float model with other real weights and biases, by op: what `unpacked` computes, at float speed."""
    editor = Editor(model)
    for layer in layers(model):
        _set_bias(editor, layer, biases)
        if layer.op in weights:
            op = editor.graph.operators[layer.op]
            op.inputs[WEIGHTED[layer.kind][1]] = editor.add_constant(weights[layer.op], "float32")
    return editor.model


def _set_bias(editor: Editor, layer: Layer, biases: Mapping[int, np.ndarray]) -> None:
    if layer.op not in biases:
        return
    op, place = editor.graph.operators[layer.op], WEIGHTED[layer.kind][2]
    op.inputs += [-1] * (place + 1 - len(op.inputs))
    op.inputs[place] = editor.add_constant(np.asarray(biases[layer.op], np.float32), "float32")


def _unpack(editor: Editor, index: int, values: np.ndarray, kind: str, quantization: Quantization | None) -> Operator:
    """Store a constant as `kind`; every consumer reads what the new DEQUANTIZE, which is returned, makes of it."""
    stored = editor.add_constant(values, kind, quantization)
    result = editor.add_tensor(shape=values.shape, kind="float32")
    for op in editor.graph.operators:
        op.inputs = [result if i == index else i for i in op.inputs]
    editor.graph.outputs = [result if i == index else i for i in editor.graph.outputs]
    return editor.new_op("DEQUANTIZE", [stored], [result], DEQUANTIZE_VERSIONS[kind])


def _float_constants(editor: Editor) -> list[int]:
    """Float32 constants that an operation of the main graph reads, in the order of tensors."""
    used = {i for op in editor.graph.operators for i in op.inputs if i >= 0}
    return [
        i
        for i in sorted(used)
        if flatfile.type_name(editor.tensor(i)) == "float32" and flatfile.is_constant(editor.model, editor.tensor(i))
    ]
