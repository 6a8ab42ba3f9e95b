"""Blocks that repeat: parts of a network that can be left out because what comes out has the shape of what goes in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlopt.network import Kind, Network, Node


@dataclass(frozen=True, kw_only=True)
class Block:
    """`nodes` are left out together; what read the last of them reads `start` then."""

    start: str
    nodes: tuple[str, ...]

    @property
    def end(self) -> str:
        return self.nodes[-1]


def blocks(network: Network) -> tuple[Block, ...]:
    """In the network's order: residual branches, and stretches of a chain that keep the shape at every node.

    A residual block is an addition that has an input from which all its others are made: leaving the addition out
    leaves that shortcut. A stretch begins and ends at nodes that everything passes through, with the same operation at
    both ends, an activation function or an addition, and computes something.
    """
    residual = tuple(block for node in network.nodes if (block := _residual(network, node)))
    inside = {name for block in residual for name in _between(network, block)}
    return tuple(sorted(
        (*residual, *(block for block in _stretches(network) if not inside & set(block.nodes))),
        key=lambda block: [node.name for node in network.nodes].index(block.end),
    ))


def _residual(network: Network, node: Node) -> Block | None:
    if node.kind is not Kind.ADD or len(node.inputs) < 2:
        return None
    above = ancestors(network)
    shapes = {each.name: each.shape for each in network.nodes}
    for name in node.inputs:
        others = [other for other in node.inputs if other != name]
        if others and shapes[name] == node.shape and all(name in above[other] for other in others):
            return Block(start=name, nodes=(node.name,))
    return None


def _between(network: Network, block: Block) -> set[str]:
    """The nodes after the start that the end is made from."""
    above = ancestors(network)
    return {name for name in above[block.end] if block.start in above[name]} | {block.end}


def _stretches(network: Network) -> list[Block]:
    nodes = [network.node(name) for name in passed_by_all(network)]
    trunk = [node for node in nodes if node.kind in (Kind.PASS, Kind.ADD) or node.activation != "linear"]
    found, at = [], 0
    while at < len(trunk):
        stop = _next_alike(network, trunk, at)
        if stop is not None:
            part = _part(network, trunk[at].name, trunk[stop].name)
            found.append(Block(start=trunk[at].name, nodes=tuple(node.name for node in part)))
        at = at + 1 if stop is None else stop
    return found


def _next_alike(network: Network, trunk: Sequence[Node], at: int) -> int | None:
    """The nearest place in `trunk` after `at` with the same operation, where the shape never changed on the way."""
    first = trunk[at]
    for stop in range(at + 1, len(trunk)):
        last, part = trunk[stop], _part(network, first.name, trunk[stop].name)
        if any(node.shape != first.shape for node in part):
            return None
        computes = any(node.kind in (Kind.CONVOLUTION, Kind.DEPTHWISE) for node in part)
        if computes and last.op == first.op and last.activation == first.activation:
            return stop
    return None


def _part(network: Network, first: str, last: str) -> list[Node]:
    names = [node.name for node in network.nodes]
    return list(network.nodes[names.index(first) + 1 : names.index(last) + 1])


def passed_by_all(network: Network) -> list[str]:
    """Nodes that every path from the inputs to the outputs leads through, in order; none of the inputs and outputs."""
    readers, above = network.consumers(), ancestors(network)
    last = {name: max((i for i, n in enumerate(network.nodes) if n.name in readers[name]), default=len(network.nodes))
            for name in readers}
    for name in network.outputs:
        last[name] = len(network.nodes)
    found, open_until = [], -1
    for place, node in enumerate(network.nodes):
        if open_until <= place and node.kind is not Kind.INPUT and node.name not in network.outputs:
            found.append(node.name)
        open_until = max(open_until, last[node.name])
    inputs = [node.name for node in network.nodes if node.kind is Kind.INPUT]
    return [name for name in found if all(one in above[name] for one in inputs)]


def ancestors(network: Network) -> dict[str, set[str]]:
    """By node: every node that it is made from."""
    found: dict[str, set[str]] = {}
    for node in network.nodes:
        found[node.name] = set(node.inputs).union(*(found[name] for name in node.inputs))
    return found


def least_missed(effects: Sequence[float], count: int) -> list[int]:
    """Indices of the `count` smallest effects, increasing.

    >>> least_missed([0.5, 0.1, 0.3], 2)
    [1, 2]
    """
    return sorted(int(i) for i in np.argsort(np.asarray(effects), kind="stable")[:count])
