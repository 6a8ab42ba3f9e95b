"""Shape arithmetic done once, at export: where a graph computes the target of a Reshape, the target becomes a constant.

A graph with a free batch computes many of its shapes as it runs (Shape, Gather, Concat, ...). Most of those numbers
are known but for the batch, which appears as itself or as a factor: every entry is then factor * N**power.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import NodeProto

from mlopt_onnx.graph import MOST_SHAPE_ENTRIES, Graph, Shape, attributes

BATCH = "N"


@dataclass(frozen=True)
class Size:
    """factor * N**power.

    >>> Size(3, 1) * Size(4, 0)
    Size(factor=12, power=1)
    """

    factor: int
    power: int = 0

    def __mul__(self, other: "Size") -> "Size":
        return Size(self.factor * other.factor, self.power + other.power)


Entries = tuple[Size | None, ...]  # None: not known


def fold_shapes(graph: Graph) -> bool:
    """Replace computed shapes by constants; True where something changed.

    A tensor that is known entirely becomes a constant. The target of a Reshape with one entry that depends on the
    batch takes -1 there. Other users of batch-dependent shapes (Expand, Resize) stay as they are.
    """
    shapes = graph.shapes()
    known: dict[str, Entries] = {
        name: tuple(Size(int(v)) for v in array.ravel())
        for name, array in graph.constants.items()
        if array.dtype.kind == "i" and array.size <= MOST_SHAPE_ENTRIES
    }
    scalars = {name for name, array in graph.constants.items() if array.ndim == 0}
    types = graph.types()
    changed = False
    for node in list(graph.nodes):
        evaluate = EVALUATORS.get(node.op_type)
        entries = evaluate(node, known, shapes) if evaluate else None
        if entries is not None and len(entries) <= MOST_SHAPE_ENTRIES:
            name = node.output[0]
            known[name] = entries
            if _is_scalar(node, scalars):
                scalars.add(name)
            if all(e is not None and e.power == 0 for e in entries) and name not in graph.output_names:
                values: np.ndarray = np.array([e.factor for e in entries if e], dtype=_numpy_type(types.get(name)))
                graph.constants[name] = values.reshape(()) if name in scalars else values
                graph.nodes.remove(node)
                changed = True
        elif node.op_type == "Reshape" and node.input[1] not in graph.constants:
            changed |= _fix_target(graph, node, known.get(node.input[1]), shapes.get(node.input[0]))
    return changed


def _fix_target(graph: Graph, node: NodeProto, target: Entries | None, shape: Shape | None) -> bool:
    if target is None or attributes(node).get("allowzero"):
        return False
    entries = _without_open(target, shape)
    varying = [i for i, e in enumerate(entries) if e is None or e.power or e.factor < 0]
    if len(varying) > 1 or any(e is not None and e.factor == 0 for e in entries):
        return False
    values = [-1 if e is None or i in varying else e.factor for i, e in enumerate(entries)]
    name = f"{node.output[0]}:target"
    graph.constants[name] = np.array(values, dtype=np.int64)
    node.input[1] = name
    return True


def _without_open(target: Entries, shape: Shape | None) -> Entries:
    """The target with its -1 worked out from the shape that is reshaped, where every other size is known.

    >>> _without_open((Size(2, 1), Size(-1)), ("N", 6))
    (Size(factor=2, power=1), Size(factor=3, power=0))
    """
    open_at = [i for i, e in enumerate(target) if e == Size(-1)]
    sizes = [_size(d) for d in shape] if shape is not None else [None]
    if len(open_at) != 1 or None in sizes or None in target:
        return target
    total = prod((s for s in sizes if s), start=Size(1))
    others = prod((e for i, e in enumerate(target) if e and i != open_at[0]), start=Size(1))
    if others.factor <= 0 or total.factor % others.factor or total.power < others.power:
        return target
    found = Size(total.factor // others.factor, total.power - others.power)
    return tuple(found if i == open_at[0] else e for i, e in enumerate(target))


def _is_scalar(node: NodeProto, scalars: set[str]) -> bool:
    keeps = node.op_type in {"Cast", "Mul", "Max"} and all(i in scalars for i in node.input)
    reduces = node.op_type == "ReduceProd" and attributes(node).get("keepdims", 1) == 0
    picks = node.op_type == "Gather" and node.input[1] in scalars
    squeezes = node.op_type == "Squeeze"
    return keeps or reduces or picks or squeezes


def _numpy_type(number: int | None) -> type:
    return {6: np.int32, 1: np.float32, 11: np.float64}.get(number or 7, np.int64)


Known = dict[str, Entries]
Shapes = dict[str, Shape]


def _size(dimension: int | str | None) -> Size | None:
    if isinstance(dimension, str):
        return Size(int(dimension.removesuffix(BATCH) or 1), 1)
    return None if dimension is None else Size(dimension)


def _shape(node: NodeProto, known: Known, shapes: Shapes) -> Entries | None:
    shape = shapes.get(node.input[0])
    if shape is None:
        return None
    sizes = tuple(_size(d) for d in shape)
    return sizes[slice(attributes(node).get("start"), attributes(node).get("end"))]


def _passed(node: NodeProto, known: Known, shapes: Shapes) -> Entries | None:
    return known.get(node.input[0])


def _gather(node: NodeProto, known: Known, shapes: Shapes) -> Entries | None:
    data, index = known.get(node.input[0]), known.get(node.input[1])
    if data is None or index is None or any(i is None or i.power for i in index):
        return None
    return tuple(data[i.factor] for i in index if i is not None)


def _slice(node: NodeProto, known: Known, shapes: Shapes) -> Entries | None:
    data = known.get(node.input[0])
    bounds = [known.get(name) for name in node.input[1:3]] + [known.get(name) for name in node.input[4:5] if name]
    if data is None or any(b is None or len(b) != 1 or b[0] is None or b[0].power for b in bounds):
        return None
    start, stop, *step = [b[0].factor for b in bounds if b and b[0]]
    return data[slice(start, stop, step[0] if step else 1)]


def _concat(node: NodeProto, known: Known, shapes: Shapes) -> Entries | None:
    parts = [known.get(name) for name in node.input]
    return None if any(p is None for p in parts) else tuple(e for p in parts if p for e in p)


def _product(node: NodeProto, known: Known, shapes: Shapes) -> Entries | None:
    data = known.get(node.input[0])
    if data is None:
        return None
    return (None,) if None in data else (prod((e for e in data if e), start=Size(1)),)


def _multiply(node: NodeProto, known: Known, shapes: Shapes) -> Entries | None:
    left, right = known.get(node.input[0]), known.get(node.input[1])
    if left is None or right is None or len(left) != len(right):
        return None
    return tuple(a * b if a and b else None for a, b in zip(left, right, strict=True))


def _maximum(node: NodeProto, known: Known, shapes: Shapes) -> Entries | None:
    """The larger of equal entries; sizes that differ in kind are not compared."""
    parts = [known.get(name) for name in node.input]
    if any(p is None or len(p) != len(parts[0] or ()) for p in parts):
        return None
    return tuple(column[0] if len(set(column)) == 1 else None for column in zip(*(p for p in parts if p), strict=True))


EVALUATORS: dict[str, Callable[[NodeProto, Known, Shapes], Entries | None]] = {
    "Shape": _shape,
    "Cast": _passed,
    "Identity": _passed,
    "Squeeze": _passed,
    "Unsqueeze": _passed,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "ReduceProd": _product,
    "Mul": _multiply,
    "Max": _maximum,
}
