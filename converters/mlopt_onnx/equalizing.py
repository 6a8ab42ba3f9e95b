"""Pairs of layers of an ONNX graph between which scale can be moved, and the search for whether that pays.

A pair is a Conv or Gemm, the operations that keep channels apart and are positively homogeneous, and the Conv or Gemm
that alone reads the result. A clip (ReLU6) is not homogeneous, a tensor of a residual sum or a branch has several
readers, and what the graph gives out must stay as it is: none of these is part of a pair. The factors are powers of
two, so that the float network gives the same numbers as before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from mlopt.convert import equalize, ranges
from mlopt.convert.equalize import Link
from mlopt_onnx.calibration import batches, histograms
from mlopt_onnx.graph import Graph, attributes
from mlopt_onnx.plan import Plan
from mlopt_onnx.qdq import Grid, Grids
from mlopt_onnx.runtime import exposed
from mlopt_onnx.search import Judge

PASSING = frozenset({"Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "GlobalAveragePool"})
FLATTENING = frozenset({"Reshape", "Flatten", "Squeeze"})
OUTPUTS = {"Conv": 0, "Gemm": 1}   # axes of the weights
INPUTS = {"Conv": 1, "Gemm": 0}
SEEN = 64            # samples that peaks and the ranges of a trial come from
GAIN_DB = 0.5        # less is the noise of the samples


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Places of two nodes; `tensors` are what the writer gives, what the reader takes, and all in between."""

    writer: int
    reader: int
    tensors: tuple[str, ...]
    depthwise: bool     # the reader takes each channel by itself


def pairs(graph: Graph) -> list[Pair]:
    """In running order of the writers."""
    places = {node.output[0]: i for i, node in enumerate(graph.nodes) if node.output}
    owned = {i for i, node in enumerate(graph.nodes) if _owns_weights(graph, node)}
    uses, consumers, shapes = graph.uses(), graph.consumers(), graph.shapes()
    found = []
    for start in sorted(owned):
        channels = graph.constants[graph.nodes[start].input[1]].shape[OUTPUTS[graph.nodes[start].op_type]]
        tensors = [graph.nodes[start].output[0]]
        while uses[tensors[-1]] == 1 and consumers.get(tensors[-1]):
            node = consumers[tensors[-1]][0]
            place = places[node.output[0]]
            if place in owned:
                weights = graph.constants[node.input[1]]
                group = attributes(node).get("group", 1)
                depthwise = node.op_type == "Conv" and group == channels > 1 and weights.shape[1] == 1
                whole = group == 1 and weights.shape[INPUTS[node.op_type]] == channels
                if node.input[0] == tensors[-1] and (depthwise or whole):
                    found.append(Pair(writer=start, reader=place, tensors=tuple(tensors), depthwise=depthwise))
                break
            if not _keeps_channels(graph, node, tensors[-1], channels, shapes):
                break
            tensors.append(node.output[0])
    return found


def _owns_weights(graph: Graph, node: NodeProto) -> bool:
    """A Conv or Gemm whose weights, and bias, are constants of its own."""
    if node.op_type not in OUTPUTS or len(node.input) < 2:
        return False
    settings, uses = attributes(node), graph.uses()
    plain = not any(settings.get(n) for n in ("transA", "transB"))
    plain &= settings.get("alpha", 1) == 1 and settings.get("beta", 1) == 1
    parts = [graph.constants[name] for name in node.input[1:] if name in graph.constants]
    if not plain or len(parts) < sum(map(bool, node.input[1:])) or any(p.dtype != np.float32 for p in parts):
        return False
    outputs = parts[0].shape[OUTPUTS[node.op_type]]
    one_each = all(part.shape == (outputs,) for part in parts[1:])   # a bias of another shape is spread over channels
    return one_each and all(uses[name] == 1 for name in node.input[1:] if name)


def _keeps_channels(
    graph: Graph, node: NodeProto, tensor: str, channels: int, shapes: Mapping[str, tuple[int | str | None, ...]]
) -> bool:
    if node.input[0] != tensor or len(node.output) != 1:
        return False
    if node.op_type == "PRelu":
        return node.input[1] in graph.constants
    if node.op_type in FLATTENING:   # [N, C, 1, 1] to [N, C] and back
        before, after = shapes.get(tensor, ()), shapes.get(node.output[0], ())
        return all(len(s) >= 2 and s[1] == channels and all(d == 1 for d in s[2:]) for s in (before, after))
    return node.op_type in PASSING


def rescaled(graph: Graph, chosen: Sequence[Pair], factors: Sequence[np.ndarray]) -> Graph:
    """The float graph with each pair's tensor divided by its factors [channels]; powers of two change no digit."""
    constants = dict(graph.constants)
    for pair, factor in zip(chosen, factors, strict=True):
        writer, reader = graph.nodes[pair.writer], graph.nodes[pair.reader]
        name = writer.input[1]
        constants[name] = equalize.scaled(constants[name], 1 / factor, OUTPUTS[writer.op_type])
        if len(writer.input) > 2 and writer.input[2]:
            constants[writer.input[2]] = constants[writer.input[2]] / factor
        name = reader.input[1]
        if pair.depthwise:
            repeated = np.repeat(factor, constants[name].shape[0] // len(factor))
            constants[name] = equalize.scaled(constants[name], repeated, 0)
        else:
            constants[name] = equalize.scaled(constants[name], factor, INPUTS[reader.op_type])
    return Graph(
        nodes=graph.nodes, constants=constants, inputs=graph.inputs, outputs=graph.outputs, opset=graph.opset
    )


def search(graph: Graph, chosen: Plan, inputs: Mapping[str, np.ndarray], judge: Judge) -> tuple[Graph, str]:
    """The float graph, with equalized channels where that lowers the output error; and what was found."""
    every = [p for p in pairs(graph) if graph.nodes[p.writer].output[0] in chosen.integer
             and graph.nodes[p.reader].output[0] in chosen.integer]
    if not every:
        return graph, "left: no layer alone reads another's channels behind a homogeneous activation (ReLU6 is none)"
    few = {name: array[:SEEN] for name, array in inputs.items()}
    links = _links(graph, every, few)
    if not equalize.worth_trying(links):
        return graph, f"left: the {len(links)} tensors between two layers are even already"
    start = _trial(graph, chosen, few, judge)
    best, most, found = "", start + GAIN_DB, graph
    for name, way in equalize.WAYS.items():
        candidate = rescaled(graph, every, way(links))
        score = _trial(candidate, chosen, few, judge)
        if score > most:
            best, most, found = name, score, candidate
    if not best:
        return graph, f"left: evening out {len(every)} tensors did not lower the output error"
    return found, f"{len(every)} tensors evened out by {best}: a trial rose from {start:.1f} to {most:.1f} dB"


def _trial(graph: Graph, chosen: Plan, inputs: Mapping[str, np.ndarray], judge: Judge) -> float:
    seen = histograms(graph, chosen.tensors, inputs)
    grids = {}
    for tensor, histogram in seen.items():
        scale, zero_point = ranges.unsigned_grid(ranges.min_max(histogram))
        grids[tensor] = Grid(scale=scale, zero_point=zero_point)
    return judge.of(graph).score(Grids(activations=grids))


def _links(graph: Graph, every: Sequence[Pair], inputs: Mapping[str, np.ndarray]) -> list[Link]:
    tensors = list(dict.fromkeys(t for pair in every for t in pair.tensors))
    session, peaks = exposed(graph, tensors, "the float model"), dict[str, np.ndarray]()
    for batch in batches(inputs):
        for name, value in zip(tensors, session.run(tensors, batch), strict=True):
            peaks[name] = np.maximum(peaks.get(name, np.float32(0)), equalize.weight_peaks(value, 1))
    found = []
    for pair in every:
        writer, reader = graph.nodes[pair.writer], graph.nodes[pair.reader]
        weights = graph.constants[reader.input[1]]
        peak = np.max([peaks[t] for t in pair.tensors], axis=0)
        if pair.depthwise:
            read, shares = equalize.weight_peaks(weights, 0).reshape(len(peak), -1).max(axis=1), None
        else:
            axes = OUTPUTS[reader.op_type], INPUTS[reader.op_type]
            read, shares = equalize.weight_peaks(weights, axes[1]), equalize.weight_shares(weights, *axes)
        written = equalize.weight_peaks(graph.constants[writer.input[1]], OUTPUTS[writer.op_type])
        found.append(
            Link(writer=pair.writer, reader=pair.reader, peaks=peak, written=written, read=read, shares=shares)
        )
    return found
