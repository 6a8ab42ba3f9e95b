"""A network as steps see it: a graph of nodes whose channels depend on each other, and its weights by name.

Frameworks read it out of their models; slimming, folding, quantization and the rest are written on it once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

Weights = Mapping[str, np.ndarray]         # by `Weight.name`


class Kind(StrEnum):
    """What a node does to channels. Everything else about it is the framework's business."""

    INPUT = "input"
    CONVOLUTION = "convolution"     # each output channel sees every input channel: (transposed) convolutions, dense
    DEPTHWISE = "depthwise"         # output channel k sees input channel k // multiplier alone
    NORMALIZATION = "normalization"  # batch normalization: a scale and a shift for each channel, foldable at inference
    ADD = "add"                     # element by element, two or more inputs; channel k with channel k, or broadcast
    MULTIPLY = "multiply"           # the same, with products (squeeze-and-excite)
    CONCAT = "concat"               # along the channel axis
    FLATTEN = "flatten"             # to one axis; with channels last, channel k of C is at every k + i * C
    PASS = "pass"                   # each channel on its own: activations, pooling, padding, dropout, resizing
    OTHER = "other"                 # mixes or rearranges channels in a way not known: pins what goes in and out


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One array that a node owns. An axis is None where the array has none of that kind."""

    name: str                       # "layer/kernel", unique in the network
    shape: tuple[int, ...]
    out_axis: int | None            # runs over the node's output channels
    in_axis: int | None             # runs over the node's input channels
    role: str                       # "kernel", "bias", "gamma", "beta", "mean", "variance", "other"
    trainable: bool = True


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation. Shapes are without the batch; arrays of its values have the same axes behind the batch."""

    name: str                       # unique; a layer used twice is two nodes that share weights
    kind: Kind
    op: str                         # the framework's own class name, for people
    inputs: tuple[str, ...]         # names of nodes
    shape: tuple[int, ...]          # of the output
    channel_axis: int = -1          # in `shape`
    weights: tuple[Weight, ...] = ()
    macs: int = 0                   # multiply-accumulates for one sample
    multiplier: int = 1             # of a depthwise node
    activation: str = "linear"      # that this node applies after its arithmetic: "relu", "relu6", "softmax", ...
    keeps_range: bool = False       # gives its inputs' values, or means of a few: pooling, padding, resizing, reshaping
    note: str = ""                  # why it is OTHER

    @property
    def channels(self) -> int:
        return self.shape[self.channel_axis] if self.shape else 1

    @property
    def kernel(self) -> Weight:
        """Of a convolution or a depthwise node."""
        (kernel,) = (weight for weight in self.weights if weight.role == "kernel")
        return kernel

    @property
    def kernel_axes(self) -> tuple[int, ...]:
        """The kernel's axes that run over output channels; depthwise [..., in, multiplier] may have two of them."""
        if self.kind is Kind.DEPTHWISE and self.kernel.out_axis is None:
            rank = len(self.kernel.shape)
            return (rank - 2, rank - 1)
        assert self.kernel.out_axis is not None, self.name
        return (self.kernel.out_axis,)


@dataclass(frozen=True, kw_only=True)
class Network:
    """Nodes in an order in which each stands after its inputs."""

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]        # names of nodes, in the signature's order

    def node(self, name: str) -> Node:
        return {node.name: node for node in self.nodes}[name]

    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Names of the nodes that read each node's output."""
        found: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                found[name].append(node.name)
        return {name: tuple(readers) for name, readers in found.items()}

    @property
    def macs(self) -> int:
        return sum(node.macs for node in self.nodes)

    def weights(self) -> dict[str, Weight]:
        """Every weight once, also where several nodes share it."""
        return {weight.name: weight for node in self.nodes for weight in node.weights}

    @property
    def parameters(self) -> int:
        return sum(int(np.prod(weight.shape)) for weight in self.weights().values())


Kept = Mapping[str, Mapping[int, np.ndarray]]
"""Which indices stay: weight name -> axis -> increasing int64 indices. Axes that are not named stay whole."""
