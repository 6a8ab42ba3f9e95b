"""What a network costs as a function of the widths of its groups: exact, and for many choices of widths at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlopt.channels.coupling import Groups
from mlopt.network import Kind, Node, Weight

CHANNEL_BYTES = 12
"""An int8 TFLite file stores one byte an element of a kernel, and for each output channel of a convolution the kernel's
step, the 32-bit bias and the bias's step, 4 bytes each. (Zero points are all 0 and stored once.) Measured on a residual
network at four widths: files of 86,128 to 10,144 bytes are 4,616 to 3,980 larger than this."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The sum over terms of scale * (a + A w) * (b + B w), for w the widths of the free groups in their order."""

    scale: np.ndarray                       # float64 [terms]
    a: np.ndarray                           # float64 [terms]
    A: np.ndarray                           # float64 [terms, groups]
    b: np.ndarray
    B: np.ndarray

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Of widths [..., groups], a number for each row [...]."""
        w = np.asarray(widths, dtype=np.float64)
        return np.asarray(((w @ self.A.T + self.a) * (w @ self.B.T + self.b)) @ self.scale)


Count = tuple[float, np.ndarray]            # constant, and how many for each unit of each free group [groups]


def macs(groups: Groups) -> Cost:
    """Multiply-accumulates of one sample."""
    counts = _Counts(groups)
    return _sum(counts.macs(node) for node in groups.network.nodes)


def parameters(groups: Groups) -> Cost:
    """Elements of all weights, each array once."""
    counts = _Counts(groups)
    return _sum(counts.elements(weight) for weight in groups.network.weights().values())


def weight_bytes(groups: Groups) -> Cost:
    """Of the weights in an int8 TFLite file; the graph around them comes on top.

    Batch norms are folded into the convolution they follow and cost nothing; one that follows nothing of the kind is a
    product and a sum with one byte a channel each.
    """
    counts, found, seen = _Counts(groups), list[tuple[float, Count, Count]](), set[str]()
    kinds = {node.name: node.kind for node in groups.network.nodes}
    for node in groups.network.nodes:
        new = [weight for weight in node.weights if weight.name not in seen]
        seen |= {weight.name for weight in new}
        if node.kind is Kind.NORMALIZATION:
            if new and kinds[node.inputs[0]] not in (Kind.CONVOLUTION, Kind.DEPTHWISE):
                found.append((2.0, counts.channels(node), counts.one))
        elif node.kind in (Kind.CONVOLUTION, Kind.DEPTHWISE):
            kernels = [weight for weight in new if weight.role != "bias"]
            found += [counts.elements(weight) for weight in kernels]
            if kernels:
                found.append((float(CHANNEL_BYTES), counts.channels(node), counts.one))
        else:
            found += [counts.elements(weight) for weight in new]
    return _sum(found)


class _Counts:
    """How many channels and indices there are, as linear functions of the widths."""

    def __init__(self, groups: Groups) -> None:
        self.free = groups.free
        self.nodes = {node.name: node for node in groups.network.nodes}
        self.one: Count = (1.0, np.zeros(len(self.free)))

    def channels(self, node: Node) -> Count:
        return self._linear(node.channels, [group.places.get(node.name) for group in self.free])

    def macs(self, node: Node) -> tuple[float, Count, Count]:
        outgoing = self.channels(node)
        if node.kind is Kind.CONVOLUTION and len(node.inputs) == 1:
            before = self.nodes[node.inputs[0]]
            return node.macs / (node.channels * before.channels), outgoing, self.channels(before)
        return node.macs / max(node.channels, 1), outgoing, self.one

    def elements(self, weight: Weight) -> tuple[float, Count, Count]:
        cut = [axis for axis in range(len(weight.shape)) if any((weight.name, axis) in g.cuts for g in self.free)]
        assert len(cut) <= 2, f"{weight.name} is cut along {len(cut)} axes"
        rest = np.prod([length for axis, length in enumerate(weight.shape) if axis not in cut], initial=1.0)
        along = [
            self._linear(weight.shape[axis], [group.cuts.get((weight.name, axis)) for group in self.free])
            for axis in cut
        ]
        first, second = (*along, self.one, self.one)[:2]
        return float(rest), first, second

    def _linear(self, total: int, rows: Sequence[np.ndarray | None]) -> Count:
        each = np.array([0 if row is None else row.shape[1] for row in rows], dtype=np.float64)
        widths = np.array([group.units for group in self.free], dtype=np.float64)
        return float(total - each @ widths), each


def _sum(terms: Iterable[tuple[float, Count, Count]]) -> Cost:
    kept = [term for term in terms if term[0]]
    scale, first, second = zip(*kept, strict=True) if kept else ((), (), ())
    return Cost(
        scale=np.array(scale), a=np.array([c for c, _ in first]), A=np.array([each for _, each in first]),
        b=np.array([c for c, _ in second]), B=np.array([each for _, each in second]),
    )
