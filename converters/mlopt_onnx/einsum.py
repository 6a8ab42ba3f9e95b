"""Einsum over two tensors written as one MatMul, which has fast float and integer kernels."""

import string

import numpy as np
from onnx import NodeProto, helper

from mlopt_onnx.graph import Graph, Shape, attributes


def lower_einsum(graph: Graph) -> bool:
    """Replace one Einsum of two operands whose sizes are known but for the batch; True where one was."""
    shapes = graph.shapes()
    for at, node in enumerate(graph.nodes):
        if node.op_type != "Einsum" or len(node.input) != 2:
            continue
        parsed = parse(attributes(node)["equation"].decode(), [len(shapes.get(n, ())) for n in node.input])
        if parsed is None:
            continue
        lowered = _as_matmul(graph, node, parsed, [shapes[n] for n in node.input])
        if lowered is not None:
            graph.nodes[at : at + 1] = lowered
            return True
    return False


def parse(equation: str, ranks: list[int]) -> tuple[str, str, str] | None:
    """Labels of both operands and of the result, an ellipsis spelled out; None for repeated or summed-out labels.

    >>> parse("...d,de->...e", [3, 2])
    ('ABd', 'de', 'ABe')
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    if not arrow or len(operands) != 2:
        return None
    for i, (labels, rank) in enumerate(zip(operands, ranks, strict=True)):
        if "..." in labels:
            hidden = string.ascii_uppercase[: rank - len(labels) + 3]
            operands[i] = labels.replace("...", hidden)
            result = result.replace("...", hidden)
    one, two = operands
    plain = all(len(set(labels)) == len(labels) for labels in (one, two, result))
    covered = set(one) ^ set(two) <= set(result) <= set(one) | set(two)
    return (one, two, result) if plain and covered and [len(one), len(two)] == ranks else None


def _as_matmul(
    graph: Graph, node: NodeProto, parsed: tuple[str, str, str], shapes: list[Shape]
) -> list[NodeProto] | None:
    one, two, result = parsed
    sources = list(node.input)
    shared = [c for c in result if c in one and c in two]
    summed = [c for c in one if c in two and c not in result]
    rows, columns = [c for c in result if c not in two], [c for c in result if c not in one]
    # Where only the columns come first in the result, the operands change places and save a Transpose.
    if rows and columns and result.index(columns[0]) < result.index(rows[0]) and sources[1] not in graph.constants:
        one, two, rows, columns = two, one, columns, rows
        sources, shapes = sources[::-1], shapes[::-1]
    sizes = dict(zip(one, shapes[0], strict=True)) | dict(zip(two, shapes[1], strict=True))
    steps: list[NodeProto] = []
    base = node.output[0]

    def arranged(tensor: str, labels: str, groups: list[list[str]], tag: str) -> str | None:
        order = [c for group in groups for c in group]
        if order != list(labels):
            perm = [labels.index(c) for c in order]
            if tensor in graph.constants:
                graph.constants[f"{base}:{tag}"] = graph.constants[tensor].transpose(perm)
            else:
                steps.append(helper.make_node("Transpose", [tensor], [f"{base}:{tag}"], name=node.name, perm=perm))
            tensor = f"{base}:{tag}"
        target = [*shared, *groups[-2:]]
        return tensor if all(len(g) == 1 for g in groups[-2:]) else merged(tensor, target, f"{tag} merged")

    def merged(tensor: str, groups: list, tag: str) -> str | None:
        target = [_product([sizes[c] for c in group]) for group in groups]
        varying = [i for i, d in enumerate(target) if not isinstance(d, int)]
        if len(varying) > 1:
            return None
        values = np.array([d if isinstance(d, int) else -1 for d in target], dtype=np.int64)
        if tensor in graph.constants:
            graph.constants[f"{base}:{tag}"] = graph.constants[tensor].reshape(values)
        else:
            graph.constants[f"{base}:{tag} to"] = values
            steps.append(helper.make_node("Reshape", [tensor, f"{base}:{tag} to"], [f"{base}:{tag}"], name=node.name))
        return f"{base}:{tag}"

    first = arranged(sources[0], one, [shared, rows, summed], "rows")
    second = arranged(sources[1], two, [shared, summed, columns], "columns")
    if first is None or second is None:
        return None
    steps.append(helper.make_node("MatMul", [first, second], [f"{base}:product"], name=node.name))
    order = [*shared, *rows, *columns]
    plain = len(rows) == len(columns) == 1
    spread = f"{base}:product" if plain else merged(f"{base}:product", order, "spread")
    if spread is None:
        return None
    perm = [order.index(c) for c in result]
    steps.append(helper.make_node("Transpose", [spread], [base], name=node.name, perm=perm))
    return steps


def _product(sizes: list[int | str | None]) -> int | str | None:
    """The product where at most one size depends on the batch; None where it is not known."""
    varying = [d for d in sizes if not isinstance(d, int)]
    if not varying:
        return int(np.prod([int(d) for d in sizes if isinstance(d, int)]))
    return "varies" if len(varying) == 1 and varying[0] is not None else None
