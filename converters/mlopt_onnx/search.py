"""The choice of activation ranges and bias corrections: by the error at the model's outputs, on samples held out."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto

from mlopt import ranges
from mlopt.distribution import Distribution
from mlopt.ranges import Range
from mlopt_onnx import qdq
from mlopt_onnx.calibration import batches
from mlopt_onnx.graph import Graph
from mlopt_onnx.plan import Plan
from mlopt_onnx.qdq import Grid, Grids
from mlopt_onnx.runtime import exposed, open_session

METHODS: Mapping[str, Callable[[Distribution], Range]] = {
    "min-max": ranges.min_max,
    "percentile 99.9999": lambda h: ranges.percentile(h, 99.9999),
    "percentile 99.999": lambda h: ranges.percentile(h, 99.999),
    "percentile 99.99": lambda h: ranges.percentile(h, 99.99),
    "percentile 99.9": lambda h: ranges.percentile(h, 99.9),
    "least squares": ranges.least_squares,
}
BEST_DB = 120.0  # beyond float32's own digits: no difference counts above it
LEAST_GAIN_DB = 0.05  # a refinement that gains less is not worth its own entry
MOST_REFINED = 48  # tensors tried one by one; more take minutes and gain little
NARROW = 63  # 7-bit weights: sums of two products stay within 16 bits


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the search settled on, and the signal to noise it gave at the outputs on the held-out samples."""

    grids: Grids
    ranges: str
    bias: str
    weights: str
    sqnr_db: float


class Judge:
    """Scores a quantized graph against the float one on one set of inputs. Float outputs are computed once."""

    def __init__(self, graph: Graph, chosen: Plan, inputs: Mapping[str, np.ndarray]) -> None:
        self.graph, self.plan, self.inputs = graph, chosen, inputs
        self.expected = self._outputs(graph)

    def of(self, graph: Graph) -> "Judge":
        """The same judge for a float graph that computes the same in another way."""
        other = copy.copy(self)
        other.graph = graph
        return other

    def score(self, grids: Grids) -> float:
        """Mean over the outputs of the signal to noise in dB, at most `BEST_DB` each; minus infinity for NaN."""
        found = self._outputs(qdq.insert(self.graph, self.plan, grids))
        return float(np.mean([_decibels(a, b) for a, b in zip(self.expected, found, strict=True)]))

    def _outputs(self, graph: Graph) -> list[np.ndarray]:
        session = open_session(graph.model().SerializeToString())
        parts = [session.run(None, batch) for batch in batches(self.inputs)]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _decibels(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise as the search compares it: an output that is always zero counts 0 dB, NaN as bad as can be."""
    if not np.isfinite(found).all():
        return -np.inf
    ratio = ranges.sqnr_db(expected, found)
    return 0.0 if np.isnan(ratio) else min(ratio, BEST_DB)


def search(graph: Graph, chosen: Plan, seen: Mapping[str, Distribution], choosing: Judge, confirming: Judge) -> Found:
    """The best method for all tensors, then single tensors, narrower weights and bias correction where they pay.

    A refinement stays when it lowers the error on both sets of held-out samples.
    """
    table = {name: activation_grids(name, graph, chosen, seen) for name in METHODS}
    scores = {name: choosing.score(Grids(activations=grids)) for name, grids in table.items()}
    best = max(scores, key=lambda name: scores[name])
    found = Found(
        grids=Grids(activations=table[best]),
        ranges=best,
        bias="as trained",
        weights="8 bits",
        sqnr_db=confirming.score(Grids(activations=table[best])),
    )
    found = _narrow_weights(found, scores[best], choosing, confirming)
    found = _single_tensors(found, table, choosing, confirming)
    return _corrected_bias(found, graph, chosen, choosing, confirming)


def activation_grids(
    method: str, graph: Graph, chosen: Plan, seen: Mapping[str, Distribution]
) -> dict[str, Grid]:
    """The grid of each planned tensor by one of `METHODS`, no wider than the clip before it leaves."""
    limits = _limits(graph, chosen)
    return {tensor: _grid(METHODS[method](seen[tensor]), limits.get(tensor)) for tensor in chosen.tensors}


def _narrow_weights(found: Found, score: float, choosing: Judge, confirming: Judge) -> Found:
    """7-bit weights, where the processor at hand clips sums of 8-bit products (x86 with AVX2 and without VNNI)."""
    grids = replace(found.grids, most_weight=NARROW)
    if (
        choosing.score(grids) <= score + LEAST_GAIN_DB
        or (sure := confirming.score(grids)) <= found.sqnr_db + LEAST_GAIN_DB
    ):
        return found
    return replace(found, grids=grids, weights="7 bits: this processor clips sums of 8-bit products", sqnr_db=sure)


def _single_tensors(found: Found, table: Mapping[str, Mapping[str, Grid]], choosing: Judge, confirming: Judge) -> Found:
    """Another method for one tensor after the other, where that lowers the error."""
    grids, score = found.grids, choosing.score(found.grids)
    changed: dict[str, str] = {}
    for tensor in list(grids.activations)[:MOST_REFINED]:
        tried = {grids.activations[tensor]}
        for name, row in table.items():
            if row[tensor] in tried:
                continue
            tried.add(row[tensor])
            candidate = replace(grids, activations={**grids.activations, tensor: row[tensor]})
            value = choosing.score(candidate)
            if value > score + LEAST_GAIN_DB:
                grids, score, changed[tensor] = candidate, value, name
    if not changed or (sure := confirming.score(grids)) <= found.sqnr_db + LEAST_GAIN_DB:
        return found
    others = ", ".join(sorted(set(changed.values())))
    return replace(
        found,
        grids=grids,
        sqnr_db=sure,
        ranges=f"{found.ranges}; {len(changed)} of {len(grids.activations)} tensors by {others}",
    )


def _corrected_bias(found: Found, graph: Graph, chosen: Plan, choosing: Judge, confirming: Judge) -> Found:
    """Shift each bias by the mean error of its channel, first layer first, each seeing those before it corrected."""
    grids = found.grids
    owners = [n for n in graph.nodes if n.op_type in {"Conv", "Gemm"} and n.output[0] in chosen.integer]
    wanted = [n.output[0] for n in owners]
    if not wanted:
        return found
    expected = _channel_means(graph, wanted, owners, choosing.inputs)
    for node in owners:
        quantized = qdq.insert(graph, chosen, grids)
        name = node.output[0]
        inner = f"{name}.f" if name in chosen.tensors else name
        mean = _channel_means(quantized, [inner], [node], choosing.inputs)[inner]
        grids = replace(grids, bias_shift={**grids.bias_shift, name: expected[name] - mean})
    if choosing.score(grids) <= choosing.score(found.grids) + LEAST_GAIN_DB:
        return found
    sure = confirming.score(grids)
    if sure <= found.sqnr_db + LEAST_GAIN_DB:
        return found
    return replace(found, grids=grids, bias="corrected", sqnr_db=sure)


def _channel_means(
    graph: Graph, tensors: list[str], owners: list[NodeProto], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Mean of each channel (axis 1) of each tensor over all samples and places, float64 [channels]."""
    session = exposed(graph, tensors, "model")
    sums = [np.zeros(1)] * len(tensors)
    count = 0
    for batch in batches(inputs):
        size = len(next(iter(batch.values())))
        values = session.run(tensors, batch)
        # Rows of a Gemm behind a Reshape are more than the samples, equally many for each.
        sums = [
            s + v.mean(axis=(0, *range(2, v.ndim)), dtype=np.float64) * size for s, v in zip(sums, values, strict=True)
        ]
        count += size
    return {tensor: total / count for tensor, total in zip(tensors, sums, strict=True)}


def _limits(graph: Graph, chosen: Plan) -> dict[str, Range]:
    """The range that a clip leaves: a grid inside it lets ONNX Runtime drop the clip."""
    producers = graph.producers()
    limits = {}
    for tensor in chosen.tensors:
        node = producers.get(tensor)
        if node is not None and node.op_type == "Clip" and len(node.input) == 3 and node.input[2] in graph.constants:
            low, high = (float(graph.constants[n]) if n else 0.0 for n in node.input[1:3])
            limits[tensor] = Range(low=min(low, 0.0), high=max(high, 0.0))
    return limits


def _grid(span: Range, limit: Range | None) -> Grid:
    if limit is not None:
        span = Range(low=max(span.low, limit.low), high=min(span.high, limit.high))
    scale, zero_point = ranges.unsigned_grid(span)
    return Grid(scale=scale, zero_point=zero_point)
