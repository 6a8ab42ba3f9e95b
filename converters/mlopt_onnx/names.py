"""Names inside an ONNX file: short ones for tensors, the source's layer names for nodes; the same in every process."""

from collections import Counter
from collections.abc import Sequence

from mlopt.model import Signature
from mlopt_onnx.graph import Graph

OWNERS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", "LSTM", "GRU"}  # operations that own weights
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def layer_of(node_name: str, layers: Sequence[str]) -> str:
    """The source layer that a TensorFlow node came from: the longest known layer whose name is part of the path.

    Where none is known, the path without the model's name and the operation.

    >>> layer_of("model/encoder/conv/BiasAdd__14", ["conv", "encoder/conv"])
    'encoder/conv'
    >>> layer_of("model/dense/MatMul", [])
    'dense'
    """
    path = f"/{node_name}/"
    found = max((name for name in layers if f"/{name}/" in path), key=len, default="")
    return found or "/".join(node_name.split("/")[1:-1])


def shorten(number: int) -> str:
    """Base 36.

    >>> shorten(37)
    '11'
    """
    text = ""
    while number or not text:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
    return text


def name_ports(graph: Graph, signature: Signature) -> None:
    """Give inputs and outputs the signature's names; an output named like an input gets "_out" behind it."""
    inputs = [s.name for s in signature.inputs]
    outputs = [s.name + "_out" * (s.name in inputs) for s in signature.outputs]
    new = dict(zip((p.name for p in (*graph.inputs, *graph.outputs)), inputs + outputs, strict=True))
    _rename(graph, new)


def shorten_tensors(graph: Graph, keep: frozenset[str] = frozenset()) -> None:
    """Rename every tensor between the ports, in the order in which the nodes name them: "0", "1", ..., "z", "10".

    Tensors in `keep` stay as they are, and no other gets a name of theirs.
    """
    taken = {p.name for p in (*graph.inputs, *graph.outputs)} | graph.held | keep
    new: dict[str, str] = {}
    number = 0
    for node in graph.nodes:
        for name in (*node.input, *node.output):
            if name and name not in taken and name not in new:
                while shorten(number) in taken:
                    number += 1
                new[name] = shorten(number)
                number += 1
    _rename(graph, new)


def name_nodes(graph: Graph) -> None:
    """Make node names unique: a layer's own name for the node with its weights; others have the operation behind it."""
    owners_first = sorted(graph.nodes, key=lambda n: n.op_type not in OWNERS)
    taken: Counter[str] = Counter()
    for node in owners_first:
        name = node.name or node.op_type
        if taken[name]:
            name = f"{name}/{node.op_type}"
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        taken[node.name] += node.name != name


def _rename(graph: Graph, new: dict[str, str]) -> None:
    for node in graph.nodes:
        node.input[:] = [new.get(n, n) for n in node.input]
        node.output[:] = [new.get(n, n) for n in node.output]
        node.doc_string = ""
    graph.constants = {new.get(n, n): array for n, array in graph.constants.items()}
    order = {name: i for i, name in enumerate(n for node in graph.nodes for n in node.input)}
    graph.constants = dict(sorted(graph.constants.items(), key=lambda item: order.get(item[0], len(order))))
    for port in (*graph.inputs, *graph.outputs):
        port.name = new.get(port.name, port.name)
