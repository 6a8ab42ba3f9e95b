"""Groups of small operations written as the one that they are: layer norm, GELU, clips, hard sigmoid, PRelu."""

import numpy as np
from onnx import NodeProto, helper

from mlopt_onnx.graph import Graph, attributes


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
    producers, consumers, shapes = graph.producers(), graph.consumers(), graph.shapes()
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
        if not (
            _is_variance(node.input[4], producers, node.input[0]) and _is_mean(node.input[3], producers, node.input[0])
        ):
            continue
        if not (
            _filled_with(graph, node.input[1], producers, 1.0) and _filled_with(graph, node.input[2], producers, 0.0)
        ):
            continue
        width = int(source[-1])  # type: ignore[arg-type]  # a Reshape target cannot hold a name
        scale, last = _following(graph, back[0], op="Mul", width=width, otherwise=np.ones(width, np.float32))
        shift, last = _following(graph, last, op="Add", width=width, otherwise=np.zeros(width, np.float32))
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
        bound = next(
            (graph.constants[n] for n in node.input if n in graph.constants and graph.constants[n].size == 1), None
        )
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


def _gelu_parts(graph: Graph, erfc: NodeProto, producers: dict[str, NodeProto]) -> tuple[str, NodeProto] | None:
    scaled = producers.get(erfc.input[0])
    negative = _other_producer(graph, scaled, "Mul", producers)
    factor = _constant_operand(graph, scaled) if scaled is not None else None
    readers = graph.consumers().get(erfc.output[0], [])
    if (
        negative is None
        or negative.op_type != "Neg"
        or factor is None
        or len(readers) != 1
        or readers[0].op_type != "Mul"
    ):
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
    graph: Graph, node: NodeProto, *, op: str, width: int, otherwise: np.ndarray
) -> tuple[np.ndarray, NodeProto]:
    """The vector that the only reader of `node` multiplies by (or adds), and that reader; else `otherwise`, `node`."""
    readers = graph.consumers().get(node.output[0], [])
    if graph.uses()[node.output[0]] == 1 and readers and readers[0].op_type == op:
        array = next((graph.constants[n] for n in readers[0].input if n in graph.constants), None)
        if array is not None and array.shape[-1:] == (width,) and array.size == width:
            return array.ravel(), readers[0]
    return otherwise, node


def _other_producer(graph: Graph, node: NodeProto | None, op: str, producers: dict[str, NodeProto]) -> NodeProto | None:
    if node is None or node.op_type != op:
        return None
    return producers.get(next((n for n in node.input if n not in graph.constants), ""))


def drop_zero_states(graph: Graph) -> bool:
    """Recurrent layers begin at zero where nothing else is given: drop an initial state that is all zeros."""
    producers, changed = graph.producers(), False
    for node in graph.nodes:
        if node.op_type not in {"LSTM", "GRU", "RNN"}:
            continue
        for i in range(5, min(len(node.input), 7)):
            before = producers.get(node.input[i])
            before = producers.get(before.input[0]) if before is not None and before.op_type == "Unsqueeze" else before
            if before is not None and _filled_with(graph, before.output[0], producers, 0.0):
                node.input[i] = ""
                changed = True
    return changed
