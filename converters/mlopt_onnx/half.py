"""float16: weights and arithmetic in half precision between float32 inputs and outputs."""

import numpy as np
from onnx import NodeProto, TensorProto, helper

from mlopt_onnx.graph import Graph, attributes, copy_of, set_attribute

LARGEST = float(np.finfo(np.float16).max)  # 65504
FLOAT_ONLY = {"Resize": (1, 2), "Upsample": (1,)}  # inputs that stay float32 by the operator's definition


def to_half(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph in float16, and notes on constants that lost more than rounding."""
    types = graph.types()
    fixed = {node.input[i] for node in graph.nodes for i in FLOAT_ONLY.get(node.op_type, ()) if i < len(node.input)}
    constants = {n: a if n in fixed else _halved(a) for n, a in graph.constants.items()}
    new = {p.name: f"{p.name}.h" for p in graph.inputs if types.get(p.name) == TensorProto.FLOAT}
    borders = {o.name: f"{o.name}.h" for o in graph.outputs if types.get(o.name) == TensorProto.FLOAT}
    new.update(borders)
    nodes = [
        helper.make_node("Cast", [p.name], [new[p.name]], to=TensorProto.FLOAT16) for p in graph.inputs if p.name in new
    ]
    for node in graph.nodes:
        nodes.append(_renamed(node, new))
    nodes += [helper.make_node("Cast", [inner], [name], to=TensorProto.FLOAT) for name, inner in borders.items()]
    half = Graph(nodes=nodes, constants=constants, inputs=graph.inputs, outputs=graph.outputs, opset=graph.opset)
    return half, _notes(graph, fixed)


def _halved(array: np.ndarray) -> np.ndarray:
    return np.clip(array, -LARGEST, LARGEST).astype(np.float16) if array.dtype == np.float32 else array


def _renamed(node: NodeProto, new: dict[str, str]) -> NodeProto:
    copied = copy_of(node)
    copied.input[:] = [new.get(n, n) for n in node.input]
    copied.output[:] = [new.get(n, n) for n in node.output]
    if node.op_type == "Cast" and attributes(node)["to"] == TensorProto.FLOAT:
        set_attribute(copied, "to", TensorProto.FLOAT16)
    return copied


def _notes(graph: Graph, fixed: set[str]) -> tuple[str, ...]:
    floats = {n: a for n, a in graph.constants.items() if a.dtype == np.float32 and n not in fixed and a.size}
    clipped = sum(int((np.abs(a) > LARGEST).sum()) for a in floats.values())
    lost = sum(
        int(((a != 0) & (a.astype(np.float16) == 0)).sum()) for a in floats.values() if np.abs(a).max() <= LARGEST
    )
    notes = []
    if clipped:
        notes.append(f"{clipped} constants beyond float16's largest number, {LARGEST:g}, were cut to it.")
    if lost:
        notes.append(f"{lost} constants are so near zero that float16 stores them as 0.")
    return tuple(notes)
