"""Pairs of layers of a TFLite graph between which scale can be moved, and the search for whether that pays.

A pair is a layer, the operations that keep channels apart and are positively homogeneous, and the layer that alone
reads the result. ReLU6 is not homogeneous, a tensor of a residual sum or a branch has several readers, and what the
graph gives out must stay as it is: none of these is part of a pair. The factors are powers of two, so that the float
network gives the same bits as before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.convert import equalize
from mlopt.convert.equalize import Link
from mlopt_tflite import flatfile, ranges, weight_files
from mlopt_tflite.observe import Observed, again
from mlopt_tflite.scales import Range
from mlopt_tflite.weights import Layer, bias_of, layers, weight_of

Trial = Callable[[Any, Mapping[int, Range]], bytes]   # a float model and its min-max ranges -> a quantized file

PASSING = frozenset({
    "RELU", "LEAKY_RELU", "PRELU", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "PAD", "MIRROR_PAD", "RESHAPE", "SQUEEZE",
    "EXPAND_DIMS", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
})
HOMOGENEOUS = frozenset({0, 1})   # schema.ActivationFunctionType: none, ReLU
INPUT_AXIS = {"CONV_2D": 3, "TRANSPOSE_CONV": 3, "FULLY_CONNECTED": 1}
JUDGED = 64      # samples per trial
GAIN = 0.9       # the output error must fall this far: a trial decides before ranges and rounding are searched


@dataclass(frozen=True, kw_only=True)
class Pair:
    """`tensors` are what the writer gives, what the reader takes, and all in between."""

    writer: Layer
    reader: Layer
    tensors: tuple[int, ...]


def pairs(model: Any) -> list[Pair]:
    """In running order of the writers."""
    running, graph = list(flatfile.ops(model)), model.subgraphs[0]
    readers: dict[int, list[flatfile.Op]] = {}
    for op in running:
        for index in dict.fromkeys(op.inputs):
            readers.setdefault(index, []).append(op)
    owned = {layer.op: layer for layer in layers(model) if len(readers[layer.weight]) == 1}
    given = {int(i) for i in graph.outputs}
    found = []
    for layer in owned.values():
        tensors = [layer.output]
        reader: flatfile.Op | None = running[layer.op]
        while reader is not None and _homogeneous(model, reader):
            alone = readers.get(tensors[-1], [])
            reader = alone[0] if len(alone) == 1 and tensors[-1] not in given else None
            if reader is None or reader.index in owned:
                break
            if not _keeps_channels(model, reader, tensors[-1]):
                reader = None
                break
            tensors.append(reader.outputs[0])
        if reader is not None and reader.index in owned and _reads_channels(model, owned[reader.index], tensors[-1]):
            found.append(Pair(writer=layer, reader=owned[reader.index], tensors=tuple(tensors)))
    return found


def _homogeneous(model: Any, op: flatfile.Op) -> bool:
    """Whether the activation that is part of the operation, if it can have one, is."""
    options = model.subgraphs[0].operators[op.index].builtinOptions
    return getattr(options, "fusedActivationFunction", 0) in HOMOGENEOUS


def _channels(model: Any, tensor: int) -> int:
    shape = flatfile.shape_of(model.subgraphs[0].tensors[tensor])
    return shape[-1] if shape else 0


def _keeps_channels(model: Any, op: flatfile.Op, tensor: int) -> bool:
    if op.name not in PASSING or op.inputs[0] != tensor or len(op.outputs) != 1:
        return False
    tensors = model.subgraphs[0].tensors
    if op.name == "PRELU" and not flatfile.is_constant(model, tensors[op.inputs[1]]):
        return False
    if op.name == "MEAN":
        if not flatfile.is_constant(model, tensors[op.inputs[1]]):
            return False
        rank = len(flatfile.shape_of(tensors[tensor]))
        if rank - 1 in {int(a) % rank for a in flatfile.constant(model, tensors[op.inputs[1]]).reshape(-1)}:
            return False
    return _channels(model, op.outputs[0]) == _channels(model, tensor)


def _reads_channels(model: Any, layer: Layer, tensor: int) -> bool:
    """Each of the tensor's channels meets weights of its own: no grouped convolution, no flattened picture."""
    channels = _channels(model, tensor)
    if layer.input != tensor or channels == 0:
        return False
    if layer.kind == "DEPTHWISE_CONV_2D":
        return layer.shape[3] % channels == 0
    return layer.shape[INPUT_AXIS[layer.kind]] == channels


def link(observed: Observed, pair: Pair) -> Link:
    writer, reader = (weight_of(observed.model, layer) for layer in (pair.writer, pair.reader))
    peaks = np.max([np.abs(observed.spans[t]).max(axis=0) for t in pair.tensors], axis=0)
    if pair.reader.kind == "DEPTHWISE_CONV_2D":
        read, shares = equalize.weight_peaks(reader, 3).reshape(len(peaks), -1).max(axis=1), None
    else:
        axis = INPUT_AXIS[pair.reader.kind]
        read, shares = equalize.weight_peaks(reader, axis), equalize.weight_shares(reader, pair.reader.axis, axis)
    written = equalize.weight_peaks(writer, pair.writer.axis)
    return Link(writer=pair.writer.op, reader=pair.reader.op, peaks=peaks, written=written, read=read, shares=shares)


def rescaled(model: Any, chosen: Sequence[Pair], factors: Sequence[np.ndarray]) -> Any:
    """The float model with each pair's tensor divided by its factors [channels]; powers of two change no bit."""
    weights: dict[int, np.ndarray] = {}
    biases: dict[int, np.ndarray] = {}
    for pair, factor in zip(chosen, factors, strict=True):
        writer, reader = pair.writer, pair.reader
        written = weights.get(writer.op, weight_of(model, writer))
        weights[writer.op] = equalize.scaled(written, 1 / factor, writer.axis)
        if writer.bias is not None:
            biases[writer.op] = bias_of(model, writer) / factor
        read = weights.get(reader.op, weight_of(model, reader))
        if reader.kind == "DEPTHWISE_CONV_2D":
            weights[reader.op] = equalize.scaled(read, np.repeat(factor, reader.shape[3] // len(factor)), 3)
        else:
            weights[reader.op] = equalize.scaled(read, factor, INPUT_AXIS[reader.kind])
    return weight_files.replaced(model, weights, biases)


def _rescaled_ranges(
    observed: Observed, chosen: Sequence[Pair], factors: Sequence[np.ndarray]
) -> dict[int, Range]:
    """Min-max ranges of the rescaled model, without running it."""
    found = ranges.ranges_of(observed, "min-max")
    for pair, factor in zip(chosen, factors, strict=True):
        for tensor in pair.tensors:
            low, high = observed.spans[tensor] / factor
            found[tensor] = float(low.min()), float(high.max())
    return found


def search(observed: Observed, trial: Trial) -> tuple[Observed, str]:
    """What was observed, of the model with equalized channels where that lowers the output error; and what was found.

    Each way of choosing factors is tried on one plain file, and only the one that is kept costs a new pass of samples.
    """
    every = [p for p in pairs(observed.model) if all(t in observed.spans for t in p.tensors)]
    links = [link(observed, pair) for pair in every]
    if not every:
        return observed, "left: no layer alone reads another's channels behind a homogeneous activation (ReLU6 is none)"
    if not equalize.worth_trying(links):
        return observed, f"left: the {len(links)} tensors between two layers are even already"
    judge = observed.judge().first(JUDGED)
    start = judge.distance(trial(observed.model, ranges.ranges_of(observed, "min-max"))).noise
    best, least, chosen = "", start * GAIN, observed.model
    for name, way in equalize.WAYS.items():
        factors = way(links)
        model = rescaled(observed.model, every, factors)
        noise = judge.distance(trial(model, _rescaled_ranges(observed, every, factors))).noise
        if noise < least:
            best, least, chosen = name, noise, model
    if not best:
        return observed, f"left: evening out {len(every)} tensors did not lower the output error"
    fell = f"a trial's noise fell from {start:.3g} to {least:.3g}"
    return again(observed, chosen), f"{len(every)} tensors evened out by {best}: {fell}"

