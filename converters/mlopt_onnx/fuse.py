"""Arithmetic by constants folded into the weights before it: batch norm, biases, factors."""

import numpy as np
from onnx import NodeProto

from mlopt_onnx.graph import Graph, Shape, attributes

OWNERS = {"Conv", "ConvTranspose", "Gemm"}


def fuse_affine(graph: Graph) -> bool:
    """Fold a per-channel Mul, Add, Sub, Div or BatchNormalization by constants into the Conv or Gemm before it."""
    producers, uses = graph.producers(), graph.uses()
    for node in graph.nodes:
        if node.op_type not in {"Mul", "Add", "Sub", "Div", "BatchNormalization"}:
            continue
        owner = producers.get(node.input[0])
        if owner is None and node.op_type in {"Mul", "Add"}:
            owner = producers.get(node.input[1])
        if owner is None or owner.op_type not in OWNERS or uses[owner.output[0]] != 1:
            continue
        if not all(name in graph.constants for name in owner.input[1:]):
            continue
        channels, rank = _channels(graph, owner)
        affine = _affine(graph, node, owner.output[0], channels, rank)
        if affine is not None and _absorb(graph, owner, *affine):
            graph.nodes.remove(node)
            owner.output[0] = node.output[0]
            return True
    return False


def fuse_affine_behind_reshape(graph: Graph) -> bool:
    """Fold Mul or Add by constants into a Gemm when a Reshape stands between, as after a product over several axes."""
    producers, uses, shapes = graph.producers(), graph.uses(), graph.shapes()
    for node in graph.nodes:
        if node.op_type not in {"Mul", "Add"}:
            continue
        reshape = producers.get(next((n for n in node.input if n not in graph.constants), ""))
        gemm = producers.get(reshape.input[0]) if reshape is not None and reshape.op_type == "Reshape" else None
        if (
            reshape is None
            or gemm is None
            or gemm.op_type != "Gemm"
            or not all(n in graph.constants for n in gemm.input[1:])
        ):
            continue
        array = next((graph.constants[n] for n in node.input if n in graph.constants), None)
        shape = shapes.get(reshape.output[0])
        if array is None or shape is None or shapes.get(node.output[0]) != shape or uses[reshape.output[0]] != 1:
            continue
        vector = _over_columns(array, shape, _channels(graph, gemm)[0])
        if vector is None or uses[gemm.output[0]] != 1:
            continue
        neutral = np.ones(len(vector)) if node.op_type == "Add" else np.zeros(len(vector))
        if _absorb(graph, gemm, *((neutral, vector) if node.op_type == "Add" else (vector, neutral))):
            graph.nodes.remove(node)
            reshape.output[0] = node.output[0]
            return True
    return False


def matmul_to_gemm(graph: Graph) -> bool:
    """MatMul of a matrix by constant weights is Gemm, which has room for a bias."""
    shapes = graph.shapes()
    changed = False
    for node in graph.nodes:
        weights = graph.constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if weights is not None and weights.ndim == 2 and len(shapes.get(node.input[0], ())) == 2:
            node.op_type = "Gemm"
            changed = True
    return changed


def plain_gemm(graph: Graph) -> bool:
    """Store Gemm weights as [in, out], with alpha and beta multiplied in and the bias as a vector."""
    changed = False
    for node in graph.nodes:
        settings = attributes(node) if node.op_type == "Gemm" else {}
        if not settings or settings.get("transA") or not all(n in graph.constants for n in node.input[1:]):
            continue
        weights = graph.constants[node.input[1]]
        weights = weights.T if settings.get("transB") else weights
        bias = graph.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(1, weights.dtype)
        if bias.size not in (1, weights.shape[1]):
            continue
        _set_weights(
            graph,
            node,
            weights * weights.dtype.type(settings.get("alpha", 1.0)),
            np.broadcast_to(bias.ravel(), weights.shape[1]) * bias.dtype.type(settings.get("beta", 1.0)),
        )
        del node.attribute[:]
        changed = True
    return changed


def per_channel(array: np.ndarray, channels: int, rank: int) -> np.ndarray | None:
    """The float64 vector [channels] that `array` is when broadcast over axis 1 (NC...); None where it varies elsewhere.

    >>> per_channel(np.ones((1, 3, 1, 1)), channels=3, rank=4).shape
    (3,)
    >>> per_channel(np.ones((1, 1, 1, 3)), channels=3, rank=4) is None
    True
    """
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(d != 1 for axis, d in enumerate(shape) if axis != 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(array.astype(np.float64).ravel(), channels)


def _channels(graph: Graph, owner: NodeProto) -> tuple[int, int]:
    weights = graph.constants[owner.input[1]]
    if owner.op_type == "Gemm":
        return weights.shape[0 if attributes(owner).get("transB") else 1], 2
    if owner.op_type == "ConvTranspose":
        return weights.shape[1] * attributes(owner).get("group", 1), weights.ndim
    return weights.shape[0], weights.ndim


def _affine(graph: Graph, node: NodeProto, through: str, channels: int, rank: int) -> tuple | None:
    """Scale and shift, float64 [channels]: `node` computes through * scale + shift; None where it does not."""
    if node.op_type == "BatchNormalization":
        if not all(n in graph.constants for n in node.input[1:]) or len(node.output) != 1:
            return None
        gamma, beta, mean, variance = (graph.constants[n].astype(np.float64) for n in node.input[1:])
        scale = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        return scale, beta - mean * scale
    other = next((n for n in node.input if n != through), None)
    array = graph.constants.get(other or "")
    vector = None if array is None else per_channel(array, channels, rank)
    if vector is None:
        return None
    ones, zeros = np.ones(channels), np.zeros(channels)
    affine = {"Mul": (vector, zeros), "Add": (ones, vector), "Sub": (ones, -vector)}
    if node.op_type == "Div":
        return (1 / vector, zeros) if (vector != 0).all() else None
    return affine[node.op_type]


def _over_columns(array: np.ndarray, shape: Shape, columns: int) -> np.ndarray | None:
    """`array`, broadcast to `shape`, as a vector [columns] over its last axes, whose sizes multiply to `columns`.

    None where it varies over the rows too, or where the last axes do not make up whole columns.
    """
    wide = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    for split in range(len(shape) - 1, 0, -1):
        last = [d for d in shape[split:] if isinstance(d, int)]
        if len(last) < len(shape) - split:
            return None
        if int(np.prod(last)) == columns and all(d == 1 for d in wide.shape[:split]):
            return np.broadcast_to(wide.reshape(wide.shape[split:]), last).astype(np.float64).ravel()
    return None


def _absorb(graph: Graph, owner: NodeProto, scale: np.ndarray, shift: np.ndarray) -> bool:
    weights = graph.constants[owner.input[1]]
    settings = attributes(owner)
    if owner.op_type == "Gemm" and (
        settings.get("transA") or settings.get("alpha", 1) != 1 or settings.get("beta", 1) != 1
    ):
        return False
    if owner.op_type == "ConvTranspose" and settings.get("group", 1) != 1:
        return False
    axis = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0 if settings.get("transB") else 1}[owner.op_type]
    shape = [1] * weights.ndim
    shape[axis] = -1
    bias = graph.constants[owner.input[2]] if len(owner.input) > 2 and owner.input[2] else np.zeros(len(scale))
    if bias.size not in (1, len(scale)):
        return False
    _set_weights(
        graph,
        owner,
        (weights * scale.reshape(shape)).astype(weights.dtype),
        (bias.ravel() * scale + shift).astype(weights.dtype),
    )
    return True


def _set_weights(graph: Graph, owner: NodeProto, weights: np.ndarray, bias: np.ndarray) -> None:
    names = [f"{owner.output[0]}:weights", f"{owner.output[0]}:bias"]
    graph.constants[names[0]] = np.asarray(weights, order="C")
    graph.constants[names[1]] = np.asarray(bias, order="C")
    source = owner.input[0]
    del owner.input[:]
    owner.input.extend([source, *names])
