"""Small, exact clean-ups of a graph: constants computed once, no-ops and dead parts dropped, layout moves shortened.

onnx-ir has passes that would do for `share_constants`, `share_nodes`, `drop_dead` and the Identity of `drop_no_ops`,
and none for the rest. Measured with onnx-ir 1.1 on 11 networks, they leave the same nodes and constants. They are not
used: importing them takes 0.4 s in each of two workers (4 % of the processor's time of a small model's whole run), they
bring 85 MB of sympy, and their search for equal nodes joins two draws of Bernoulli.
"""

import numpy as np
import onnxruntime as ort
from onnx import NodeProto, defs, helper

from mlopt_onnx.graph import Graph, attributes, copy_of, set_attribute
from mlopt_onnx.session import open_session

MOST_FOLDED = 1 << 20  # elements: larger results stay computed, so that a small file does not grow
RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
ELEMENTWISE = {"Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Elu", "Neg", "Exp", "Sqrt", "Abs", "Erf"}
RESHAPING = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"}
BINARY = {"Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"}


def fold_constants(graph: Graph) -> bool:
    """Compute every node that depends on constants alone, all of them in one run."""
    steady, names = [], set(graph.constants)
    for node in graph.nodes:
        fixed = node.op_type not in RANDOM and not _has_body(node) and defs.has(node.op_type, graph.opset, node.domain)
        if fixed and node.input and all(not n or n in names for n in node.input):
            steady.append(node)
            names.update(node.output)
    if not steady:
        return False
    used = {n for node in steady for n in node.input}
    produced = [n for node in steady for n in node.output if n]
    part = Graph(
        nodes=[copy_of(n) for n in steady],
        constants={n: a for n, a in graph.constants.items() if n in used},
        inputs=[],
        outputs=[helper.make_empty_tensor_value_info(n) for n in produced],
        opset=graph.opset,
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(part.model().SerializeToString(), name="the constants of the model", options=options)
    values = dict(zip(produced, session.run(produced, {}), strict=True))
    gone = [n for n in steady if all(values[o].size <= MOST_FOLDED for o in n.output if o)]
    gone = [n for n in gone if not set(n.output) & set(graph.output_names)]
    for node in gone:
        graph.constants.update((o, np.asarray(values[o])) for o in node.output if o)
    _drop(graph, gone)
    return bool(gone)


def drop_no_ops(graph: Graph) -> bool:
    """Remove nodes that hand their input on unchanged."""
    shapes, types = graph.shapes(), graph.types()
    changed = False
    for node in list(graph.nodes):
        if not _hands_on(node, graph, shapes, types):
            continue
        source, result = node.input[0], node.output[0]
        if result in graph.held or source in graph.held:
            continue
        if result in graph.output_names:
            changed |= _become(graph, node, source, result)
            continue
        graph.rename(result, source)
        _drop(graph, [node])
        changed = True
    return changed


def drop_dead(graph: Graph) -> bool:
    """Remove what no output depends on."""
    before = len(graph.nodes), len(graph.constants)
    wanted = set(graph.output_names) | set(graph.held)
    kept = []
    for node in reversed(graph.nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(n for n in node.input if n)
    graph.nodes = kept[::-1]
    graph.constants = {n: a for n, a in graph.constants.items() if n in wanted}
    return before != (len(graph.nodes), len(graph.constants))


def share_constants(graph: Graph) -> bool:
    """Keep one copy of equal constants (same type, shape and bits)."""
    first: dict[tuple, str] = {}
    changed = False
    for name, array in list(graph.constants.items()):
        key = (array.dtype, array.shape, array.tobytes())   # numpy writes int4 and uint4 as the same text
        if name in graph.held or name in graph.output_names:
            continue
        keeper = first.setdefault(key, name)
        if keeper != name:
            graph.rename(name, keeper)
            del graph.constants[name]
            changed = True
    return changed


def share_nodes(graph: Graph) -> bool:
    """Keep one of several nodes that compute the same thing from the same tensors."""
    first: dict[tuple, NodeProto] = {}
    changed = False
    for node in list(graph.nodes):
        if node.op_type in RANDOM or _has_body(node) or set(node.output) & (set(graph.output_names) | graph.held):
            continue
        settings = tuple(sorted((a.name, a.SerializeToString(deterministic=True)) for a in node.attribute))
        keeper = first.setdefault((node.domain, node.op_type, tuple(node.input), settings), node)
        if keeper is not node:
            for old, new in zip(node.output, keeper.output, strict=True):
                graph.rename(old, new)
            _drop(graph, [node])
            changed = True
    return changed


def sink_squeezes(graph: Graph) -> bool:
    """Move Squeeze past element-wise nodes, towards the Unsqueeze that undoes it; a pair that meets is removed.

    1-D convolutions come as 2-D ones between the two, so that this puts a convolution, its bias and its activation
    next to each other.
    """
    consumers, uses, shapes = graph.consumers(), graph.uses(), graph.shapes()
    for node in graph.nodes:
        if node.op_type != "Squeeze" or len(node.input) < 2 or node.input[1] not in graph.constants:
            continue
        rank = len(shapes.get(node.input[0], ()))
        readers = consumers.get(node.output[0], [])
        if not rank or len(readers) != 1 or uses[node.output[0]] != 1:
            continue
        reader = readers[0]
        axes = sorted(int(a) % rank for a in graph.constants[node.input[1]])
        if reader.op_type == "Unsqueeze" and reader.input[1] in graph.constants:
            if sorted(int(a) % rank for a in graph.constants[reader.input[1]]) == axes:
                set_identity(reader, node.input[0])
                return True
        elif _passes(reader, node.output[0], graph):
            _swap_squeeze(graph, node, reader, axes, rank)
            return True
    return False


def sink_pads(graph: Graph) -> bool:
    """Move a zero Pad past Unsqueeze and Transpose, and into the convolution behind them."""
    consumers, uses, shapes = graph.consumers(), graph.uses(), graph.shapes()
    for node in graph.nodes:
        readers = consumers.get(node.output[0], [])
        if node.op_type != "Pad" or not _pads_zeros(node, graph) or uses[node.output[0]] != 1 or not readers:
            continue
        reader = readers[0]
        rank = len(shapes.get(node.input[0], ()))
        pads = graph.constants[node.input[1]].reshape(2, -1)
        if not rank or pads.shape[1] != rank:
            continue
        if (
            reader.op_type == "Conv"
            and reader.input[0] == node.output[0]
            and not pads[:, :2].any()
            and (pads >= 0).all()
        ):
            settings = attributes(reader)
            if settings.get("auto_pad", b"NOTSET") != b"NOTSET":
                continue
            own = np.array(settings.get("pads", [0] * (2 * (rank - 2)))).reshape(2, -1)
            set_attribute(reader, "pads", [int(v) for v in (own + pads[:, 2:]).ravel()])
            reader.input[0] = node.input[0]
            _drop(graph, [node])
            return True
        moved = None
        if reader.op_type == "Transpose":
            moved = pads[:, attributes(reader)["perm"]]
        elif reader.op_type == "Unsqueeze" and reader.input[1] in graph.constants:
            added = graph.constants[reader.input[1]]
            moved = pads
            for axis in sorted(int(a) % (rank + len(added)) for a in added):
                moved = np.insert(moved, axis, 0, axis=1)
        if moved is not None:
            _swap(graph, node, reader)
            name = f"{node.output[0]}:pads"
            graph.constants[name] = np.ascontiguousarray(moved, dtype=np.int64).ravel()
            node.input[1] = name
            return True
    return False


def shorten_layout(graph: Graph) -> bool:
    """Drop a Transpose in front of a Reshape: where it moves nothing, or by reordering the rows of the Gemm behind."""
    consumers, uses, shapes = graph.consumers(), graph.uses(), graph.shapes()
    for node in graph.nodes:
        readers = consumers.get(node.output[0], [])
        if node.op_type != "Transpose" or uses[node.output[0]] != 1 or not readers:
            continue
        reader, shape = readers[0], shapes.get(node.input[0])
        if reader.op_type != "Reshape" or shape is None or reader.input[0] != node.output[0]:
            continue
        perm = attributes(node)["perm"]
        wide = [axis for axis in perm if shape[axis] != 1]
        if wide == sorted(wide):
            reader.input[0] = node.input[0]
            _drop(graph, [node])
            return True
        if perm[0] == 0 and all(isinstance(d, int) for d in shape[1:]) and _permute_gemm(graph, node, reader, shape):
            return True
    return False


def join_reshapes(graph: Graph) -> bool:
    """One Reshape for a chain of Reshape, Squeeze, Unsqueeze and Flatten whose last shape is known but for N."""
    producers, shapes = graph.producers(), graph.shapes()
    for node in graph.nodes:
        before = producers.get(node.input[0]) if node.op_type in RESHAPING else None
        if before is None or before.op_type not in RESHAPING:
            continue
        shape = shapes.get(node.output[0])
        if shape is None or sum(not isinstance(d, int) for d in shape) > 1 or 0 in shape:
            continue
        name = f"{node.output[0]}:target"
        graph.constants[name] = np.array([d if isinstance(d, int) else -1 for d in shape], dtype=np.int64)
        node.op_type = "Reshape"
        del node.input[:], node.attribute[:]
        node.input.extend([before.input[0], name])
        return True
    return False


def whole_picture_pools(graph: Graph) -> bool:
    """Average pooling over the whole picture is GlobalAveragePool."""
    shapes = graph.shapes()
    changed = False
    for node in graph.nodes:
        shape = shapes.get(node.input[0]) if node.op_type == "AveragePool" else None
        settings = attributes(node)
        if shape and tuple(settings["kernel_shape"]) == tuple(shape[2:]) and not any(settings.get("pads", ())):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]
            changed = True
    return changed


def set_identity(node: NodeProto, source: str) -> None:
    """Turn `node` into one that hands `source` on; `drop_no_ops` then removes it."""
    node.op_type = "Identity"
    del node.input[:], node.attribute[:]
    node.input.append(source)


def _permute_gemm(graph: Graph, transpose: NodeProto, reshape: NodeProto, shape: tuple) -> bool:
    uses = graph.uses()
    target, readers = graph.constants.get(reshape.input[1]), graph.consumers().get(reshape.output[0], [])
    columns = int(np.prod([int(d) for d in shape[1:]]))
    if target is None or target.shape != (2,) or target[1] not in (columns, -1) or target[0] == target[1]:
        return False
    if uses[reshape.output[0]] != len(readers) or not readers:
        return False
    for gemm in readers:
        if (
            gemm.op_type not in {"Gemm", "MatMul"}
            or gemm.input[1] not in graph.constants
            or gemm.input[0] != reshape.output[0]
        ):
            return False
        if any(attributes(gemm).get(side) for side in ("transA", "transB")):
            return False
    perm = attributes(transpose)["perm"]
    order = np.arange(columns).reshape([int(d) for d in shape[1:]]).transpose([a - 1 for a in perm[1:]]).ravel()
    for gemm in readers:
        weights = graph.constants[gemm.input[1]]
        if weights.ndim != 2:
            return False
    for gemm in readers:
        weights = graph.constants[gemm.input[1]]
        moved = np.empty_like(weights)
        moved[order] = weights
        name = f"{gemm.output[0]}:rows"
        graph.constants[name] = moved
        gemm.input[1] = name
    reshape.input[0] = transpose.input[0]
    _drop(graph, [transpose])
    return True


def _passes(node: NodeProto, through: str, graph: Graph) -> bool:
    if node.op_type in ELEMENTWISE:
        return node.input[0] == through
    others = [n for n in node.input if n != through]
    return node.op_type in BINARY and len(others) == 1 and others[0] in graph.constants


def _swap_squeeze(graph: Graph, squeeze: NodeProto, reader: NodeProto, axes: list[int], rank: int) -> None:
    for i, name in enumerate(reader.input):
        if reader.op_type in BINARY and name != squeeze.output[0]:
            array = graph.constants[name]
            array = array.reshape((1,) * (rank - len(axes) - array.ndim) + array.shape)
            fresh = f"{reader.output[0]}:wide"
            graph.constants[fresh] = np.expand_dims(array, tuple(axes))
            reader.input[i] = fresh
    _swap(graph, squeeze, reader)


def _swap(graph: Graph, first: NodeProto, second: NodeProto) -> None:
    """Let `second`, the only reader of `first`, run before it. Their tensors keep the names at both ends."""
    source, between, result = first.input[0], first.output[0], second.output[0]
    for i, name in enumerate(second.input):
        if name == between:
            second.input[i] = source
    second.output[0], first.input[0], first.output[0] = between, between, result
    one, two = graph.nodes.index(first), graph.nodes.index(second)
    graph.nodes.pop(one)
    graph.nodes.insert(two, first)


def _hands_on(node: NodeProto, graph: Graph, shapes: dict, types: dict) -> bool:
    kind = node.op_type
    if kind in {"Identity", "Dropout"}:
        return kind == "Identity" or len(node.output) == 1 or not any(graph.uses()[o] for o in node.output[1:])
    shape = shapes.get(node.input[0]) if node.input else None
    if kind == "Cast":
        return types.get(node.input[0]) == attributes(node)["to"]
    if kind == "Transpose":
        return (
            list(attributes(node).get("perm", [])) == list(range(len(attributes(node).get("perm", []))))
            and shape is not None
        )
    if kind in {"Reshape", "Expand"} and shape is not None and all(d is not None for d in shape):
        return shapes.get(node.output[0]) == shape
    if kind == "Pad":
        return _pads_zeros(node, graph) and not graph.constants[node.input[1]].any()
    return False


def _pads_zeros(node: NodeProto, graph: Graph) -> bool:
    filler = graph.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(())
    mode = attributes(node).get("mode", b"constant")
    return (
        mode == b"constant"
        and node.input[1] in graph.constants
        and filler is not None
        and not filler.any()
        and len(node.input) < 4
    )


def _become(graph: Graph, node: NodeProto, source: str, result: str) -> bool:
    """Give an output's name to the tensor that a no-op would have copied to it, where that tensor may be renamed."""
    producer = graph.producers().get(source)
    if producer is None or source in graph.output_names:
        return False
    _drop(graph, [node])
    graph.rename(source, result)
    for i, name in enumerate(producer.output):
        if name == source:
            producer.output[i] = result
    return True


def _drop(graph: Graph, gone: list[NodeProto]) -> None:
    ids = {id(n) for n in gone}
    graph.nodes = [n for n in graph.nodes if id(n) not in ids]


def _has_body(node: NodeProto) -> bool:
    return any(a.HasField("g") or a.graphs for a in node.attribute)
