"""Which of the file's nodes stands behind a kernel that ONNX Runtime executed.

The optimised graph names a kernel after the node or the tensor that it was made of, with something appended, or after
its kind and a number where it was made of several.
"""

from __future__ import annotations

import re

from .onnx_file import Node

_MADE_FROM = re.compile(r"^(?:QLinear|Fused|Nhwc|Q)(?=[A-Z])")       # "QLinearAdd" computes an "Add"
_MOST_FUSED = 4             # nodes between a fused kernel's output and the node that it is named for


def mapped(kernels: list[tuple[str, str]], nodes: list[Node]) -> list[Node | None]:
    """The node behind each (name, operation) of a kernel, None where there is no telling."""
    by_name = {node.name: node for node in nodes if node.name}
    by_output = {output: node for node in nodes for output in node.outputs if output}
    found = [_named(name, base(op), by_name, by_output) for name, op in kernels]
    return _paired([base(op) for _, op in kernels], found, nodes)


def base(op: str) -> str:
    """What a fused or quantized kernel computes.

    >>> base("QLinearConv"), base("FusedConv"), base("QuantizeLinear")
    ('Conv', 'Conv', 'QuantizeLinear')
    """
    while _MADE_FROM.match(op):
        op = _MADE_FROM.sub("", op)
    return op


def _named(name: str, op: str, by_name: dict[str, Node], by_output: dict[str, Node]) -> Node | None:
    """By the kernel's name, or what is left of it without what an optimiser appended."""
    while name:
        for node in (by_name.get(name), by_output.get(name)):
            made = _back_to(op, node, by_output) if node else None
            if made:
                return made
        name = name.rpartition("_")[0]
    return None


def _back_to(op: str, node: Node, by_output: dict[str, Node]) -> Node | None:
    """The node itself, or the nearest one before it, that does this operation."""
    level = [node]
    for _ in range(_MOST_FUSED):
        for candidate in level:
            if candidate.op == op:
                return candidate
        level = [by_output[i] for n in level for i in n.inputs if i in by_output]
    return None


def _paired(ops: list[str], found: list[Node | None], nodes: list[Node]) -> list[Node | None]:
    """Kernels without a telling name, in order, where as many nodes of that operation are left."""
    claimed = {id(node) for node in found if node}
    result = list(found)
    for op in dict.fromkeys(ops):
        places = [i for i, other in enumerate(ops) if other == op and found[i] is None]
        left = [node for node in nodes if node.op == op and id(node) not in claimed]
        if len(places) == len(left):
            for place, node in zip(places, left, strict=True):
                result[place] = node
    return result
