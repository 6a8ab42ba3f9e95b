"""Where two networks can be compared inside: at the ends of their stages, matched by the size of the picture there."""

from dataclasses import dataclass

import numpy as np

from mlopt.network import Kind, Network

_COMPUTING = (Kind.CONVOLUTION, Kind.DEPTHWISE, Kind.NORMALIZATION, Kind.ADD, Kind.MULTIPLY, Kind.CONCAT, Kind.PASS)


@dataclass(frozen=True, kw_only=True)
class Pair:
    student: str         # names of nodes
    teacher: str


def stage_ends(network: Network) -> dict[tuple[int, ...], str]:
    """By size without channels: the last node of that size that something is computed from further on.

    Sizes of one place are left out: there is no picture any more, and a teacher's outputs say as much.
    """
    found: dict[tuple[int, ...], str] = {}
    readers = network.consumers()
    for node in network.nodes:
        size = np.delete(node.shape, node.channel_axis).tolist() if node.shape else []
        if size and max(size) > 1 and node.kind in _COMPUTING and readers[node.name]:
            found[tuple(size)] = node.name
    return found


def pairs(student: Network, teacher: Network) -> tuple[Pair, ...]:
    """Stage ends of both with the same size, in the student's order."""
    theirs = stage_ends(teacher)
    ours = stage_ends(student)
    return tuple(Pair(student=name, teacher=theirs[size]) for size, name in ours.items() if size in theirs)
