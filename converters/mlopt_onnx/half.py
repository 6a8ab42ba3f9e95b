"""float16: weights and arithmetic in half precision between float32 inputs and outputs."""

from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.model import Signature
from mlopt_onnx.finishing import finish
from mlopt_onnx.graph import Graph, attributes, copy_of, read_model, set_attribute

LARGEST = float(np.finfo(np.float16).max)  # 65504
FLOAT_ONLY = {"Resize": (1, 2), "Upsample": (1,)}  # inputs that stay float32 by the operator's definition


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int
) -> Made:
    """Write float16 of `float_file` to `dest`; see `mlopt.convert.protocol.Make`."""
    if precision != "float16":
        raise ValueError(f"this makes float16, not {precision}")
    graph = Graph.of(read_model(float_file))
    made, notes = to_half(graph)
    finish(made, graph, dest, {})
    return Made(path=dest, choices={"inputs": "float32", "outputs": "float32"}, notes=notes)


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
