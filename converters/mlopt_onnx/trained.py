"""int8 files whose numbers are those of a trained grid: nothing is searched, evened out, rounded again or corrected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from mlopt import ranges
from mlopt.convert.trained import SAYS, Kernel, OnGrid, affine, factor_notes, kernels_on, nodes_of
from mlopt.grid import ActivationGrid, Grid
from mlopt_onnx.calibration import distributions
from mlopt_onnx.graph import Graph, attributes
from mlopt_onnx.plan import AXIS, COMPUTE, MOVING, Plan
from mlopt_onnx.qdq import Grid as Steps
from mlopt_onnx.qdq import Grids
from mlopt_onnx.runtime import exposed

OWNERS = COMPUTE | {"ConvTranspose"}
WITHIN = {"AveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMin"}   # results stand on the steps of what they read


@dataclass(frozen=True, kw_only=True)
class Found:
    """What `qdq.insert` needs; what of it was chosen how, and notes."""

    grids: Grids
    choices: Mapping[str, str]
    notes: tuple[str, ...]


def found_in(graph: Graph, chosen: Plan, grid: Grid, rows: Callable[[], dict[str, np.ndarray]]) -> Found:
    """The grid's numbers for the tensors and kernels of `chosen`; `rows` gives samples, if some tensor needs them.

    Raises `GridMismatch` where a node's kernel is not in the file.
    """
    kernels = kernels_on(_kernels(graph), grid)
    spans = _spans(graph, chosen, grid)
    own = len(spans)
    spans = _pooled(graph, chosen, spans)
    lacking = [tensor for tensor in chosen.tensors if tensor not in spans]
    notes = _notes(graph, chosen, kernels)
    if lacking:
        for tensor, values in distributions(graph, lacking, rows()).items():
            seen = ranges.min_max(values)
            spans[tensor] = ActivationGrid(low=seen.low, high=seen.high)
        producers = graph.producers()
        names = ", ".join(producers[t].name if t in producers else t for t in lacking)
        notes = (*notes, f"training rounds nothing at {names}: the range there is what the samples reach")
    activations = {}
    for tensor in chosen.tensors:
        scale, zero_point = affine(spans[tensor])
        activations[tensor] = Steps(scale=scale, zero_point=zero_point)
    kept = {name: on for name, on in kernels.items() if name in chosen.weights}
    choices = {
        "ranges": f"trained grid: {own} of {len(chosen.tensors)} tensors",
        "bias": SAYS,
        "weights": f"trained grid: {_counted(kept)}, symmetric, one scale per channel",
        "rounding": SAYS,
        "activations": "unsigned 8 bits",
        "equalization": "none: it would leave the trained grid",
    }
    return Found(grids=Grids(activations=activations, kernels=kept), choices=choices, notes=notes)


def _kernels(graph: Graph) -> dict[str, Kernel]:
    """Every constant float kernel, also one that stays in float."""
    found = {}
    for node in graph.nodes:
        values = graph.constants.get(node.input[1]) if node.op_type in OWNERS else None
        if values is not None and values.dtype == np.float32 and values.ndim >= 2:
            found[node.input[1]] = Kernel(
                values=values, axis=_axis(node, values), label=node.name or node.output[0],
                depthwise=attributes(node).get("group", 1) > 1,
            )
    return found


def _axis(node: NodeProto, values: np.ndarray) -> int:
    if node.op_type == "MatMul":
        return values.ndim - 1
    if node.op_type == "Gemm" and attributes(node).get("transB"):
        return 0
    return AXIS[node.op_type]


def _spans(graph: Graph, chosen: Plan, grid: Grid) -> dict[str, ActivationGrid]:
    """Trained ranges by tensor of the plan, where the probes give the values of a node that has one."""
    inputs, nodes = grid.probe_inputs(), grid.probe_outputs()
    ports = {port.name for port in graph.inputs}
    inner = [tensor for tensor in chosen.tensors if tensor not in ports]
    session, values = exposed(graph, inner, "the float model"), dict[str, list[np.ndarray]]()
    for row in range(len(next(iter(inputs.values())))):
        fed = {name: array[row : row + 1] for name, array in inputs.items()}
        for tensor, value in zip(inner, session.run(inner, fed), strict=True):
            values.setdefault(tensor, []).append(value)
        for tensor in (t for t in chosen.tensors if t in ports):
            values.setdefault(tensor, []).append(fed[tensor])
    wanted = {name: array for name, array in nodes.items() if name in grid.activations}
    layouts = {t: _layouts(np.stack(values[t])) for t in chosen.tensors}
    return {tensor: grid.activations[name] for tensor, name in nodes_of(layouts, wanted).items()}


def _layouts(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """[n, 1, C, ...] as it is, and with its channels last."""
    return (values, np.moveaxis(values, 2, -1)) if values.ndim > 3 else (values,)


def _pooled(graph: Graph, chosen: Plan, spans: Mapping[str, ActivationGrid]) -> dict[str, ActivationGrid]:
    """`spans`, and results of pooling that have none of their own on the steps of what is pooled, as in TFLite."""
    found, producers = dict(spans), graph.producers()
    for tensor in chosen.tensors:
        node = producers.get(tensor)
        if tensor not in found and node is not None and node.op_type in WITHIN:
            source = node.input[0]
            while source not in found and (before := producers.get(source)) is not None and before.op_type in MOVING:
                source = before.input[0]
            found |= {tensor: found[source]} if source in found else {}
    return found


def raised(made: Graph, kernels: Mapping[str, OnGrid]) -> tuple[str, ...]:
    """Read back: a note on each kernel whose steps had to be raised for a bias that its 32 bits would not hold."""
    notes = []
    for name, on in kernels.items():
        if not np.array_equal(made.constants[f"{name}.q"], on.whole):
            moved = int((made.constants[f"{name}.s"] != on.steps).sum())
            notes.append(f"{on.node}: {moved} channels leave the trained grid, since their bias is too large for it")
    return tuple(notes)


def _counted(kernels: Mapping[str, OnGrid]) -> str:
    bits = [on.bits for on in kernels.values()]
    return ", ".join(f"{n} bits in {bits.count(n)} layers" for n in (4, 8) if n in bits) or "no layer"


def _notes(graph: Graph, chosen: Plan, kernels: Mapping[str, OnGrid]) -> tuple[str, ...]:
    owners = {node.input[1]: node.name or node.output[0] for node in graph.nodes if node.op_type in OWNERS}
    free = [owners[name] for name in chosen.weights if name in owners and name not in kernels]
    notes = [f"{', '.join(free)} are not on the trained grid: rounded to 8 bits, to the nearest"] if free else []
    if any(on.bits == 4 for on in kernels.values()):
        notes.append("trained 4-bit weights are stored in 8 bits, with the same values: zipped they take fewer bytes")
    return (*notes, *factor_notes(kernels.values()))
