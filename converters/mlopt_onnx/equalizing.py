"""The search for whether evening out channels pays: plain files with and without it, held to the output error.

The factors are powers of two, so that the float network gives the same numbers as before.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mlopt import ranges
from mlopt.convert import equalize
from mlopt.convert.equalize import Link
from mlopt_onnx.calibration import batches, distributions
from mlopt_onnx.graph import Graph
from mlopt_onnx.pairs import INPUTS, OUTPUTS, Pair, pairs
from mlopt_onnx.plan import Plan
from mlopt_onnx.qdq import Grid, Grids
from mlopt_onnx.runtime import exposed
from mlopt_onnx.search import Judge

SEEN = 64            # samples that peaks and the ranges of a trial come from
GAIN_DB = 0.5        # less is the noise of the samples


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
    seen = distributions(graph, chosen.tensors, inputs)
    grids = {}
    for tensor, values in seen.items():
        scale, zero_point = ranges.unsigned_grid(ranges.min_max(values))
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
