"""Fewer bytes for the same computation: short names, shared constants, no attribute that repeats a default."""


import onnx
from onnx import AttributeProto, NodeProto, helper

from mlopt_onnx import tidy
from mlopt_onnx.graph import Graph
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
        kept = [a for a in node.attribute if not _is_default(graph, node, a)]
        del node.attribute[:]
        node.attribute.extend(kept)


def _is_default(graph: Graph, node: NodeProto, attribute: AttributeProto) -> bool:
    if node.op_type in {"Conv", "ConvTranspose", "MaxPool", "AveragePool"}:
        if attribute.name in {"dilations", "strides"}:
            return all(v == 1 for v in attribute.ints)
        if attribute.name == "pads":
            return not any(attribute.ints)
        if attribute.name == "kernel_shape":
            return node.op_type in {"Conv", "ConvTranspose"}  # the weights have it
    if not onnx.defs.has(node.op_type, graph.opset, node.domain):
        return False
    schema = onnx.defs.get_schema(node.op_type, graph.opset, node.domain)
    default = schema.attributes[attribute.name].default_value if attribute.name in schema.attributes else None
    if default is None or not default.name:
        return False
    return bool(helper.get_attribute_value(default) == helper.get_attribute_value(attribute))
