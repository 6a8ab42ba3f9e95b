"""Where integer kernels round a network, which of those values share one grid, and which kernels may have 4 bits.

As TFLite's converter and kernels decide, seen in files that it wrote: a relu that alone follows a convolution or a sum
is part of it, and nothing is rounded in between; other activation functions are operations of their own, rounded before
and after; what only hands values on (pooling, padding, reshaping, concatenation) has the grid of what it is given.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from mlopt.channels.costs import CHANNEL_BYTES
from mlopt.grid import ActivationGrid, before
from mlopt.network import Kind, Network, Node, Weight
from mlopt.scheme import IntegerFormat, QuantizationScheme

FUSED = frozenset({"relu", "relu6", "relu_n1_to_1"})
# What the kernels of these functions give, whatever they are given: (low, high), a scale of 1/256 and of 1/128.
FIXED: Mapping[str, ActivationGrid] = {
    "softmax": ActivationGrid(low=0.0, high=255 / 256),
    "sigmoid": ActivationGrid(low=0.0, high=255 / 256),
    "tanh": ActivationGrid(low=-1.0, high=127 / 128),
}
_WEIGHTED = (Kind.CONVOLUTION, Kind.DEPTHWISE)
_ARITHMETIC = (*_WEIGHTED, Kind.NORMALIZATION, Kind.ADD, Kind.MULTIPLY)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Values that have one range between them, as names of nodes, or `before` their activation function."""

    members: tuple[str, ...]
    fixed: ActivationGrid | None = None     # where kernels prescribe it


def groups(network: Network, *, without: Set[str] = frozenset()) -> tuple[Group, ...]:
    """Every value that is rounded, in groups, in the network's order. `without` names nodes that hold no real numbers.

    A range that a kernel prescribes goes through what hands on one value; where several values are joined, the one with
    a prescribed range is rounded again to the others'.
    """
    points = _Points(network, without)
    joint = [node for node in network.nodes if node.name in points.parent and points.hands_on(node)]
    for node in joint:
        if len(node.inputs) == 1:
            points.join(node.inputs[0], node.name)
    prescribed = {points.find(name): grid for name, grid in points.fixed.items()}
    for node in joint:
        if len(node.inputs) > 1:
            for name in node.inputs:
                if points.find(name) not in prescribed:
                    points.join(name, node.name)
    found: dict[str, list[str]] = {}
    for name in points.parent:
        found.setdefault(points.find(name), []).append(name)
    return tuple(Group(members=tuple(names), fixed=prescribed.get(leader)) for leader, names in found.items())


class _Points:
    """The values that are rounded, and which stand for one another."""

    def __init__(self, network: Network, without: Set[str]) -> None:
        self.nodes = {node.name: node for node in network.nodes}
        self.readers, self.outputs = network.consumers(), set(network.outputs)
        self.fixed: dict[str, ActivationGrid] = {}
        self.parent: dict[str, str] = {}
        for node in network.nodes:
            if node.name in without or self._fuses_into_reader(node):
                continue
            if node.kind in _WEIGHTED and not _fuses(node) and node.activation != "linear":
                self.parent[before(node.name)] = before(node.name)
            self.parent[node.name] = node.name
            if node.activation in FIXED:
                self.fixed[node.name] = FIXED[node.activation]

    def find(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def join(self, given: str, name: str) -> None:
        """Give both one range; an input that is not rounded itself (token ids) has none to share."""
        if given in self.parent:
            first, second = self.find(given), self.find(name)
            self.parent[second] = first

    def hands_on(self, node: Node) -> bool:
        """Whether a node gives out what it is given; a relu is part of the pooling that it follows."""
        if is_lone_relu(node):
            given = self.nodes[node.inputs[0]]
            return given.kind is Kind.PASS and given.keeps_range
        return node.kind in (Kind.CONCAT, Kind.FLATTEN) or (node.keeps_range and node.activation == "linear")

    def _fuses_into_reader(self, node: Node) -> bool:
        """Whether the only reader is a relu that becomes part of `node`; reshapes in between change no value."""
        readers = self.readers[node.name]
        if len(readers) != 1 or node.name in self.outputs or node.activation != "linear":
            return False
        reader = self.nodes[readers[0]]
        if node.kind is Kind.FLATTEN:
            return is_lone_relu(reader) and self._fuses_into_reader(self.nodes[node.inputs[0]])
        if node.kind not in _ARITHMETIC or node.keeps_range or transposed(node):
            return False
        return is_lone_relu(reader) or (reader.kind is Kind.FLATTEN and self._leads_to_relu(reader))

    def _leads_to_relu(self, node: Node) -> bool:
        readers = self.readers[node.name]
        return len(readers) == 1 and node.name not in self.outputs and is_lone_relu(self.nodes[readers[0]])


def is_lone_relu(node: Node) -> bool:
    return node.kind is Kind.PASS and not node.weights and node.activation in FUSED


def transposed(node: Node) -> bool:
    """A transposed convolution: kernels for it take no relu in, and have no form with 4 bits."""
    return "transpose" in node.op.lower()


def _fuses(node: Node) -> bool:
    return node.activation in FUSED and not transposed(node)


# ---- kernels -------------------------------------------------------------------------------------------------------


def kernels(network: Network) -> dict[str, tuple[Weight, tuple[Node, ...]]]:
    """Kernels that are rounded, by weight name, with the nodes that use each."""
    found: dict[str, tuple[Weight, tuple[Node, ...]]] = {}
    for node in network.nodes:
        for weight in node.weights:
            if weight.role == "kernel" and node.kind in _WEIGHTED:
                found[weight.name] = (weight, (*found.get(weight.name, (weight, ()))[1], node))
    return found


def may_have_4_bits(node: Node) -> bool:
    """Convolutions and dense layers alone: LiteRT has kernels for them with 8-bit activations and 4-bit weights.

    Transposed convolutions have none. Depthwise ones have one in XNNPACK alone, so that the file would not load in an
    interpreter without it, and they are small.
    """
    return node.kind is Kind.CONVOLUTION and not transposed(node)


def formats(scheme: QuantizationScheme, nodes: Sequence[Node]) -> tuple[IntegerFormat, ...]:
    """The weight formats of the scheme that kernels exist for, for every node that uses one kernel; in its order."""
    return tuple(f for f in scheme.weights if f.bits == 8 or all(may_have_4_bits(node) for node in nodes))


def stored_bytes(shape: tuple[int, ...], channels: int, bits: int) -> int:
    """A kernel and its scales, and the 32-bit biases of its channels and theirs, as a TFLite file stores them.

    >>> stored_bytes((3, 3, 3, 16), 16, 8), stored_bytes((3, 3, 3, 16), 16, 4)
    (624, 408)
    """
    return -(-int(np.prod(shape)) * bits // 8) + CHANNEL_BYTES * channels


def network_bytes(network: Network, bits: Mapping[str, int]) -> int:
    """All weights, `bits` by kernel name; those that are no kernels of convolutions count at 8 bits, vectors at 32."""
    rounded = kernels(network)
    total = 0
    for name, (weight, nodes) in rounded.items():
        total += stored_bytes(weight.shape, nodes[0].channels, bits.get(name, 8))
    owners = {weight.name: node for node in network.nodes for weight in node.weights}
    for name, weight in network.weights().items():
        in_kernel = name in rounded or (weight.role == "bias" and owners[name].kind in _WEIGHTED)
        if not in_kernel:
            total += int(np.prod(weight.shape)) * (1 if weight.role == "kernel" else 4)
    return total
