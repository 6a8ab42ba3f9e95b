"""The names of all operations in a file that ONNX Runtime opens: what a gate must know before it judges more."""

from collections.abc import Iterator
from pathlib import Path

from onnx import GraphProto

from mlopt_onnx.graph import read_model
from mlopt_onnx.session import open_session


def operations(file: Path) -> list[str]:
    """Sorted, each once, with those of branches, loops and local functions; "domain:Op" outside the standard's own.

    Raises `ModelUnreadable` for a file that ONNX's checker or ONNX Runtime refuses.
    """
    model = read_model(Path(file))
    open_session(model.SerializeToString(), name=file)
    found = set(_names(model.graph))
    for function in model.functions:
        found |= {_name(node.domain, node.op_type) for node in function.node}
    return sorted(found)


def _names(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield _name(node.domain, node.op_type)
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else ())):
                yield from _names(inner)


def _name(domain: str, op: str) -> str:
    return op if domain in ("", "ai.onnx") else f"{domain}:{op}"
