"""Pairs of layers of a TFLite graph between which scale can be moved; see `mlopt.convert.equalize`.

A pair is a layer, the operations that keep channels apart and are positively homogeneous, and the layer that alone
reads the result. ReLU6 is not homogeneous, a tensor of a residual sum or a branch has several readers, and what the
graph gives out must stay as it is: none of these is part of a pair.
"""

from dataclasses import dataclass

from mlopt_tflite import flatfile
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import Layer, layers

PASSING = frozenset({
    "RELU", "LEAKY_RELU", "PRELU", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "PAD", "MIRROR_PAD", "RESHAPE", "SQUEEZE",
    "EXPAND_DIMS", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
})
HOMOGENEOUS = frozenset({0, 1})   # schema.ActivationFunctionType: none, ReLU
INPUT_AXIS = {"CONV_2D": 3, "TRANSPOSE_CONV": 3, "FULLY_CONNECTED": 1}   # of the weights


@dataclass(frozen=True, kw_only=True)
class Pair:
    """`tensors` are what the writer gives, what the reader takes, and all in between."""

    writer: Layer
    reader: Layer
    tensors: tuple[int, ...]


def pairs(model: Model) -> list[Pair]:
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


def _homogeneous(model: Model, op: flatfile.Op) -> bool:
    """Whether the activation that is part of the operation, if it can have one, is."""
    options = model.subgraphs[0].operators[op.index].builtinOptions
    return getattr(options, "fusedActivationFunction", 0) in HOMOGENEOUS


def _channels(model: Model, tensor: int) -> int:
    shape = flatfile.shape_of(model.subgraphs[0].tensors[tensor])
    return shape[-1] if shape else 0


def _keeps_channels(model: Model, op: flatfile.Op, tensor: int) -> bool:
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


def _reads_channels(model: Model, layer: Layer, tensor: int) -> bool:
    """Each of the tensor's channels meets weights of its own: no grouped convolution, no flattened picture."""
    channels = _channels(model, tensor)
    if layer.input != tensor or channels == 0:
        return False
    if layer.kind == "DEPTHWISE_CONV_2D":
        return layer.shape[3] % channels == 0
    return layer.shape[INPUT_AXIS[layer.kind]] == channels
