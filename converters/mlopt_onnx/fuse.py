"""Fewer, larger operations with the same result: batch norm into weights, layer norm, GELU and clips as one node."""

import numpy as np
from onnx import NodeProto, helper

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
        reshape = _other_producer(graph, node, node.op_type, producers)
        gemm = producers.get(reshape.input[0]) if reshape is not None and reshape.op_type == "Reshape" else None
        if reshape is None or gemm is None or gemm.op_type != "Gemm" or not all(n in graph.constants for n in gemm.input[1:]):
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


def _over_columns(array: np.ndarray, shape: Shape, columns: int) -> np.ndarray | None:
    """`array`, broadcast to `shape` [..., d1, d2, ...], as a vector [columns] over the last axes, whose product that is.

    None where it varies over the rows too, or where the last axes do not make up whole columns.
    """
    wide = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    for split in range(len(shape) - 1, 0, -1):
        last = shape[split:]
        if not all(isinstance(d, int) for d in last):
            return None
        if int(np.prod([int(d) for d in last if d is not None])) == columns and all(d == 1 for d in wide.shape[:split]):
            return np.broadcast_to(wide.reshape(wide.shape[split:]), last).astype(np.float64).ravel()
    return None


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
            graph, node, weights * weights.dtype.type(settings.get("alpha", 1.0)),
            np.broadcast_to(bias.ravel(), weights.shape[1]) * bias.dtype.type(settings.get("beta", 1.0)),
        )
        del node.attribute[:]
        changed = True
    return changed


def lower_erfc(graph: Graph) -> bool:
    """ONNX has no Erfc: erfc(u) = 1 - erf(u). GELU is written the way ONNX Runtime recognises it.

    TensorFlow's exact GELU is (x / 2) * erfc(-x * c) with c = 1 / sqrt(2); ONNX Runtime joins
    x * (1 + erf(x / sqrt(2))) / 2 to one operation.
    """
    producers = graph.producers()
    for node in graph.nodes:
        if node.op_type != "Erfc":
            continue
        gelu = _gelu_parts(graph, node, producers)
        if gelu is None:
            _replace(graph, node, _one_minus_erf(graph, node))
        else:
            source, outer = gelu
            graph.nodes.remove(node)
            _replace(graph, outer, _gelu(graph, source, outer))
        return True
    return False


def fuse_layer_norm(graph: Graph) -> bool:
    """Keras computes layer norm by a batch norm over reshaped rows; write it as LayerNormalization."""
    producers, consumers, uses, shapes = graph.producers(), graph.consumers(), graph.uses(), graph.shapes()
    for node in graph.nodes:
        if node.op_type != "BatchNormalization" or node.input[3] in graph.constants:
            continue
        rows = producers.get(node.input[0])
        back = consumers.get(node.output[0], [])
        if rows is None or rows.op_type != "Reshape" or len(back) != 1 or back[0].op_type != "Reshape":
            continue
        source, result = shapes.get(rows.input[0], ()), shapes.get(back[0].output[0])
        target = graph.constants.get(rows.input[1])
        if target is None or source != result or not source or list(target) != [1, -1, source[-1], 1]:
            continue
        if not (_is_variance(node.input[4], producers, node.input[0]) and _is_mean(node.input[3], producers, node.input[0])):
            continue
        if not (_filled_with(graph, node.input[1], producers, 1.0) and _filled_with(graph, node.input[2], producers, 0.0)):
            continue
        width = int(source[-1])  # type: ignore[arg-type]  # a Reshape target cannot hold a name
        scale, last = _following(graph, back[0], "Mul", width, consumers, uses, np.ones(width, np.float32))
        shift, last = _following(graph, last, "Add", width, consumers, uses, np.zeros(width, np.float32))
        names = [f"{last.output[0]}:gamma", f"{last.output[0]}:beta"]
        graph.constants.update(zip(names, (scale, shift), strict=True))
        epsilon = attributes(node).get("epsilon", 1e-5)
        fused = helper.make_node(
            "LayerNormalization", [rows.input[0], *names], [last.output[0]], name=last.name, axis=-1, epsilon=epsilon
        )
        _replace(graph, last, [fused])
        return True
    return False


def fuse_clips(graph: Graph) -> bool:
    """Min and Max by numbers become Clip; Clip(x * a + b, 0, 1) becomes HardSigmoid; x+ - a * x- becomes PRelu."""
    return _min_max(graph) or _hard_sigmoid(graph) or _prelu(graph)


def _min_max(graph: Graph) -> bool:
    producers, uses = graph.producers(), graph.uses()
    for node in graph.nodes:
        if node.op_type not in {"Min", "Max"} or len(node.input) != 2:
            continue
        source = next((n for n in node.input if n not in graph.constants), None)
        bound = next((graph.constants[n] for n in node.input if n in graph.constants and graph.constants[n].size == 1), None)
        if source is None or bound is None or bound.dtype != np.float32:
            continue
        inner = producers.get(source)
        side = 1 if node.op_type == "Max" else 2
        name = f"{node.output[0]}:bound"
        graph.constants[name] = bound.reshape(())
        node.op_type = "Clip"
        del node.input[:]
        # A Clip before it that bounds the other side only is the same Clip, if the bounds do not cross.
        if inner is not None and inner.op_type == "Clip" and uses[source] == 1:
            bounds = [*list(inner.input), "", ""][1:3]
            other = graph.constants.get(bounds[2 - side])
            if not bounds[side - 1] and other is not None and (bound <= other if side == 1 else bound >= other).all():
                bounds[side - 1] = name
                node.input.extend([inner.input[0], *bounds])
                graph.nodes.remove(inner)
                return True
        node.input.extend([source, name] if side == 1 else [source, "", name])
        return True
    return False


def _hard_sigmoid(graph: Graph) -> bool:
    producers, uses = graph.producers(), graph.uses()
    for node in graph.nodes:
        if node.op_type != "Clip" or len(node.input) != 3:
            continue
        if [_number(graph, n) for n in node.input[1:]] != [0.0, 1.0]:
            continue
        add = producers.get(node.input[0])
        mul = _other_producer(graph, add, "Add", producers) if add is not None and uses[add.output[0]] == 1 else None
        if add is None or mul is None or mul.op_type != "Mul" or uses[mul.output[0]] != 1:
            continue
        beta, alpha = _constant_operand(graph, add), _constant_operand(graph, mul)
        source = next((n for n in mul.input if n not in graph.constants), None)
        if alpha is None or beta is None or source is None:
            continue
        fused = helper.make_node("HardSigmoid", [source], [node.output[0]], name=node.name, alpha=alpha, beta=beta)
        _replace(graph, node, [fused])
        return True
    return False


def _prelu(graph: Graph) -> bool:
    """Relu(x) + slope * Relu(-x), with the slope's sign turned, is PRelu(x)."""
    producers, shapes = graph.producers(), graph.shapes()
    for node in graph.nodes:
        if node.op_type != "Add":
            continue
        left, right = (producers.get(n) for n in node.input)
        for plus, scaled in ((left, right), (right, left)):
            if plus is None or scaled is None or plus.op_type != "Relu" or scaled.op_type != "Mul":
                continue
            slope = next((n for n in scaled.input if n in graph.constants), None)
            minus = producers.get(next((n for n in scaled.input if n != slope), ""))
            negative = producers.get(minus.input[0]) if minus is not None and minus.op_type == "Relu" else None
            if slope is None or negative is None or negative.op_type != "Neg" or negative.input[0] != plus.input[0]:
                continue
            values, shape = graph.constants[slope], shapes.get(plus.input[0], ())
            if values.ndim > len(shape) or values.dtype != np.float32:
                continue
            name = f"{node.output[0]}:slope"
            graph.constants[name] = -values
            _replace(graph, node, [helper.make_node("PRelu", [plus.input[0], name], [node.output[0]], name=node.name)])
            return True
    return False


def _channels(graph: Graph, owner: NodeProto) -> tuple[int, int]:
    weights = graph.constants[owner.input[1]]
    if owner.op_type == "Gemm":
        return weights.shape[0 if attributes(owner).get("transB") else 1], 2
    if owner.op_type == "ConvTranspose":
        return weights.shape[1] * attributes(owner).get("group", 1), weights.ndim
    return weights.shape[0], weights.ndim


def _affine(graph: Graph, node: NodeProto, through: str, channels: int, rank: int) -> tuple | None:
    """Scale and shift, float64 [channels], such that `node` computes through * scale + shift; None where it does not."""
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


def _absorb(graph: Graph, owner: NodeProto, scale: np.ndarray, shift: np.ndarray) -> bool:
    weights = graph.constants[owner.input[1]]
    settings = attributes(owner)
    if owner.op_type == "Gemm" and (settings.get("transA") or settings.get("alpha", 1) != 1 or settings.get("beta", 1) != 1):
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
        graph, owner,
        (weights * scale.reshape(shape)).astype(weights.dtype), (bias.ravel() * scale + shift).astype(weights.dtype),
    )
    return True


def _set_weights(graph: Graph, owner: NodeProto, weights: np.ndarray, bias: np.ndarray) -> None:
    names = [f"{owner.output[0]}:weights", f"{owner.output[0]}:bias"]
    graph.constants[names[0]] = np.asarray(weights, order="C")
    graph.constants[names[1]] = np.asarray(bias, order="C")
    source = owner.input[0]
    del owner.input[:]
    owner.input.extend([source, *names])


def _gelu_parts(graph: Graph, erfc: NodeProto, producers: dict[str, NodeProto]) -> tuple[str, NodeProto] | None:
    scaled = producers.get(erfc.input[0])
    negative = _other_producer(graph, scaled, "Mul", producers)
    factor = _constant_operand(graph, scaled) if scaled is not None else None
    readers = graph.consumers().get(erfc.output[0], [])
    if negative is None or negative.op_type != "Neg" or factor is None or len(readers) != 1 or readers[0].op_type != "Mul":
        return None
    source, outer = negative.input[0], readers[0]
    half = producers.get(next((n for n in outer.input if n != erfc.output[0]), ""))
    if half is None or half.op_type != "Mul" or _constant_operand(graph, half) != 0.5 or source not in half.input:
        return None
    return (source, outer) if abs(factor - 0.5**0.5) < 1e-6 else None


def _gelu(graph: Graph, source: str, outer: NodeProto) -> list[NodeProto]:
    base = outer.output[0]
    for name, value in (("root", 2**0.5), ("one", 1.0), ("half", 0.5)):
        graph.constants[f"{base}:{name}"] = np.array(value, dtype=np.float32)
    return [
        helper.make_node("Div", [source, f"{base}:root"], [f"{base}:scaled"], name=outer.name),
        helper.make_node("Erf", [f"{base}:scaled"], [f"{base}:erf"], name=outer.name),
        helper.make_node("Add", [f"{base}:erf", f"{base}:one"], [f"{base}:sum"], name=outer.name),
        helper.make_node("Mul", [source, f"{base}:sum"], [f"{base}:product"], name=outer.name),
        helper.make_node("Mul", [f"{base}:product", f"{base}:half"], [base], name=outer.name),
    ]


def _one_minus_erf(graph: Graph, erfc: NodeProto) -> list[NodeProto]:
    base = erfc.output[0]
    graph.constants[f"{base}:one"] = np.array(1.0, dtype=np.float32)
    return [
        helper.make_node("Erf", [erfc.input[0]], [f"{base}:erf"], name=erfc.name),
        helper.make_node("Sub", [f"{base}:one", f"{base}:erf"], [base], name=erfc.name),
    ]


def _replace(graph: Graph, old: NodeProto, new: list[NodeProto]) -> None:
    at = next(i for i, n in enumerate(graph.nodes) if n is old)
    graph.nodes[at : at + 1] = new


def _other_producer(
    graph: Graph, node: NodeProto | None, op: str, producers: dict[str, NodeProto]
) -> NodeProto | None:
    if node is None or node.op_type != op:
        return None
    return producers.get(next((n for n in node.input if n not in graph.constants), ""))


def _constant_operand(graph: Graph, node: NodeProto) -> float | None:
    return next((_number(graph, n) for n in node.input if n in graph.constants), None)


def _number(graph: Graph, name: str) -> float | None:
    array = graph.constants.get(name)
    return float(array.ravel()[0]) if array is not None and array.size == 1 else None


def _is_mean(name: str, producers: dict[str, NodeProto], of: str) -> bool:
    node = producers.get(name)
    node = producers.get(node.input[0]) if node is not None and node.op_type == "Squeeze" else node
    return node is not None and node.op_type == "ReduceMean" and node.input[0] == of


def _is_variance(name: str, producers: dict[str, NodeProto], of: str) -> bool:
    division = producers.get(name)
    squares = producers.get(division.input[0]) if division is not None and division.op_type == "Div" else None
    centred = producers.get(squares.input[0]) if squares is not None and squares.op_type == "ReduceSumSquare" else None
    if centred is None or centred.op_type != "Sub" or centred.input[0] != of:
        return False
    return _is_mean(centred.input[1], producers, of)


def _filled_with(graph: Graph, name: str, producers: dict[str, NodeProto], value: float) -> bool:
    array = graph.constants.get(name)
    node = producers.get(name)
    if array is None and node is not None and node.op_type in {"Expand", "ConstantOfShape"}:
        array = graph.constants.get(node.input[0]) if node.op_type == "Expand" else attributes(node).get("value")
    return isinstance(array, np.ndarray) and bool((array == value).all())


def _following(
    graph: Graph, node: NodeProto, op: str, width: int, consumers: dict[str, list[NodeProto]], uses: dict[str, int],
    otherwise: np.ndarray,
) -> tuple[np.ndarray, NodeProto]:
    """The vector by which the only reader of `node` multiplies (or adds), and that reader; else `otherwise` and `node`."""
    readers = consumers.get(node.output[0], [])
    if uses[node.output[0]] == 1 and readers and readers[0].op_type == op:
        array = next((graph.constants[n] for n in readers[0].input if n in graph.constants), None)
        if array is not None and array.shape[-1:] == (width,) and array.size == width:
            return array.ravel(), readers[0]
    return otherwise, node


