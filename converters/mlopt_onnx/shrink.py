"""Fewer bytes for the same computation: short names, shared constants, no attribute that repeats a default."""

from typing import Any

import onnx
from onnx import NodeProto, helper

from mlopt_onnx import tidy
from mlopt_onnx.graph import Graph, attributes
from mlopt_onnx.names import OWNERS, shorten_tensors


def shrink(graph: Graph, keep: frozenset[str]) -> None:
    """Shorten `graph` in place. Tensors in `keep` keep their name; only nodes that own weights keep theirs."""
    tidy.share_constants(graph)
    tidy.drop_dead(graph)
    drop_defaults(graph)
    for node in graph.nodes:
        if node.op_type not in OWNERS:
            node.name = ""
    shorten_tensors(graph, keep=keep)


def drop_defaults(graph: Graph) -> None:
    """Remove attributes that say what the operator's definition says without them."""
    for node in graph.nodes:
        settings = attributes(node)
        gone = [name for name, value in settings.items() if _is_default(graph, node, name, value)]
        kept = [a for a in node.attribute if a.name not in gone]
        del node.attribute[:]
        node.attribute.extend(kept)


def _is_default(graph: Graph, node: NodeProto, name: str, value: Any) -> bool:
    if node.op_type in {"Conv", "ConvTranspose", "MaxPool", "AveragePool"}:
        if name in {"dilations", "strides"}:
            return all(v == 1 for v in value)
        if name == "pads":
            return not any(value)
        if name == "kernel_shape":
            return node.op_type in {"Conv", "ConvTranspose"}  # the weights have it
    if not onnx.defs.has(node.op_type, graph.opset, node.domain):
        return False
    schema = onnx.defs.get_schema(node.op_type, graph.opset, node.domain)
    default = schema.attributes[name].default_value if name in schema.attributes else None
    return bool(default is not None and default.name and helper.get_attribute_value(default) == value)
