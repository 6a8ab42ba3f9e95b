"""The weights of a TFLite graph as whole numbers: who owns them, their scales, their rounding.

All scales are symmetric: real = stored * scale, zero is zero, and stored numbers of `bits` lie in
-(2**(bits - 1) - 1) .. 2**(bits - 1) - 1.
"""

from dataclasses import dataclass

import numpy as np

from mlopt_tflite import flatfile
from mlopt_tflite.tables import Model

# op -> (place of the input, of the weights, of the bias, the weights' axis of output channels)
WEIGHTED: dict[str, tuple[int, int, int, int]] = {
    "CONV_2D": (0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),
    "FULLY_CONNECTED": (0, 1, 2, 0),
    "TRANSPOSE_CONV": (2, 1, 3, 0),
}
TABLES: dict[str, int] = {"GATHER": 0, "EMBEDDING_LOOKUP": 1}   # op -> place of a table of rows
FOUR_BITS = frozenset({"CONV_2D", "FULLY_CONNECTED"})   # kinds with a 4-bit kernel on float activations
CLIPS = np.linspace(1.0, 0.5, 26)   # fractions of the largest weight that are tried as the end of the scale


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An operation of the float graph that owns weights."""

    op: int                    # index of the operation
    kind: str                  # "CONV_2D"
    input: int                 # tensor indices
    weight: int
    bias: int | None
    output: int
    axis: int                  # the weights' axis of output channels
    shape: tuple[int, ...]

    @property
    def label(self) -> str:
        return f"{self.kind}#{self.op}"

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """Weights as whole numbers [the weights' shape]; `scale` has one entry per index of `axis`, or one for all."""

    values: np.ndarray
    scale: np.ndarray
    axis: int
    bits: int

    def real(self) -> np.ndarray:
        return (self.values * along(self.scale, self.values.ndim, self.axis)).astype(np.float32)


def layers(model: Model) -> list[Layer]:
    """Operations with constant float weights, in the order in which they run."""
    tensors, found = model.subgraphs[0].tensors, []
    for op in flatfile.ops(model):
        if op.name not in WEIGHTED:
            continue
        data, weight, bias, axis = WEIGHTED[op.name]
        if len(op.inputs) <= max(data, weight) or op.inputs[weight] < 0:
            continue
        tensor = tensors[op.inputs[weight]]
        if flatfile.type_name(tensor) != "float32" or not flatfile.is_constant(model, tensor):
            continue
        owned = op.inputs[bias] if len(op.inputs) > bias and op.inputs[bias] >= 0 else None
        found.append(
            Layer(
                op=op.index, kind=op.name, input=op.inputs[data], weight=op.inputs[weight], bias=owned,
                output=op.outputs[0], axis=axis, shape=flatfile.shape_of(tensor),
            )
        )
    return found


def weight_of(model: Model, layer: Layer) -> np.ndarray:
    return flatfile.constant(model, model.subgraphs[0].tensors[layer.weight])


def bias_of(model: Model, layer: Layer) -> np.ndarray:
    """Zeros where the layer has no bias."""
    if layer.bias is None:
        return np.zeros(layer.shape[layer.axis], np.float32)
    return flatfile.constant(model, model.subgraphs[0].tensors[layer.bias])


def largest(bits: int) -> int:
    """The largest whole number of that many bits, and its negative the least.

    >>> largest(8), largest(4)
    (127, 7)
    """
    return 2 ** (bits - 1) - 1


def along(scale: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """The scales, shaped to multiply weights of `rank` axes."""
    return scale.reshape([-1 if i == axis else 1 for i in range(rank)]) if scale.size > 1 else scale.reshape(())


def rounded(weights: np.ndarray, scale: np.ndarray, axis: int, bits: int) -> Quantized:
    """To the nearest whole number, half to even."""
    limit = largest(bits)
    values = np.clip(np.rint(weights / along(scale, weights.ndim, axis)), -limit, limit).astype(np.int8)
    return Quantized(values=values, scale=scale.astype(np.float32), axis=axis, bits=bits)


def span_scales(weights: np.ndarray, axis: int, bits: int) -> np.ndarray:
    """Scales that reach each channel's largest weight; 1 where a channel is all zero.

    >>> span_scales(np.array([[1.27, -0.5], [0.0, 0.0]]), 0, 8).astype(float).round(4).tolist()
    [0.01, 1.0]
    """
    peak = np.abs(weights).max(axis=tuple(i for i in range(weights.ndim) if i != axis))
    return np.where(peak > 0, peak / largest(bits), 1.0).astype(np.float32)


def fitted(weights: np.ndarray, axis: int, bits: int) -> Quantized:
    """Per channel the clip with the least squared rounding error, out of `CLIPS`; the widest wins a tie."""
    spans = span_scales(weights, axis, bits)
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    best, chosen = np.full(len(rows), np.inf), spans.copy()
    for clip in CLIPS:
        scale = (spans * clip).astype(np.float32)
        steps = scale[:, None]
        error = ((np.clip(np.rint(rows / steps), -largest(bits), largest(bits)) * steps - rows) ** 2).sum(axis=1)
        better = error < best
        best, chosen = np.where(better, error, best), np.where(better, scale, chosen)
    return rounded(weights, chosen, axis, bits)


def spanned(weights: np.ndarray, axis: int, bits: int) -> Quantized:
    """Rounded on scales that clip nothing."""
    return rounded(weights, span_scales(weights, axis, bits), axis, bits)


def in_8_bits(model: Model) -> dict[int, Quantized]:
    """Every layer's weights, by operation, on scales that clip nothing."""
    return {layer.op: spanned(weight_of(model, layer), layer.axis, 8) for layer in layers(model)}
