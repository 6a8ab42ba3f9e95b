"""Which channels of a network go together, and what goes with them: found on `Network` alone, for every framework.

Every output channel of a node that makes channels is an atom. Nodes that only pass channels on carry the atoms of their
inputs; an addition makes one atom out of two; an array that several nodes share does so too. What is connected in the
end is a unit: the smallest thing that can be cut. Units that lie in the same places are one group: of their width alone
does the cost of the network depend. (Dependency graphs as in Fang et al. 2023, "DepGraph", on channels, not layers.)
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mlopt.network import Kept, Kind, Network, Node, Weight, Weights

Slot = tuple[str, int]                      # a weight's name and one of its axes
Dropped = Mapping[str, np.ndarray]          # by group name: units that go, indices below `Group.units`

CARRIES = {Kind.ADD, Kind.MULTIPLY, Kind.NORMALIZATION, Kind.PASS}      # channel k from channel k
STATISTICS = ("mean", "variance")           # silencing a channel leaves these alone: a variance of 0 divides


@dataclass(frozen=True, kw_only=True)
class Group:
    """Units that are cut one by one and cost the same. `cuts` and `places` have one row a unit."""

    name: str                               # of the node that makes the channels, the first of several
    units: int
    places: Mapping[str, np.ndarray]        # node -> int64 [units, n]: output channels of the node
    cuts: Mapping[Slot, np.ndarray]         # weight and axis -> int64 [units, n]: indices that go with the unit
    makers: frozenset[Slot]                 # those of `cuts` that make the unit's channels; the others read them
    producers: tuple[str, ...]              # convolutions that make its channels, in order
    pinned: str = ""                        # why nothing can be cut; empty where it can


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Every channel of a network is in exactly one unit of one group."""

    network: Network
    all: tuple[Group, ...]

    @property
    def free(self) -> tuple[Group, ...]:
        """Groups that can lose a unit: the last one of each always stays."""
        return tuple(group for group in self.all if not group.pinned and group.units > 1)

    def kept(self, dropped: Dropped) -> Kept:
        """What stays of every weight that loses something."""
        gone = self._gone(dropped)
        shapes = {name: weight.shape for name, weight in self.network.weights().items()}
        kept: dict[str, dict[int, np.ndarray]] = {}
        for (name, axis), indices in gone.items():
            kept.setdefault(name, {})[axis] = np.setdiff1d(np.arange(shapes[name][axis], dtype=np.int64), indices)
        return kept

    def masked(self, weights: Weights, dropped: Dropped) -> dict[str, np.ndarray]:
        """The same network at full width with those units silenced.

        What makes the unit is 0, and so is what reads it: the network equals the cut one whatever an activation makes
        of 0 in between.
        """
        roles = {name: weight.role for name, weight in self.network.weights().items()}
        silenced = {name: np.array(array) for name, array in weights.items()}
        for (name, axis), indices in self._gone(dropped).items():
            if roles[name] not in STATISTICS:
                np.moveaxis(silenced[name], axis, 0)[indices] = 0
        return silenced

    def _gone(self, dropped: Dropped) -> dict[Slot, np.ndarray]:
        groups = {group.name: group for group in self.all}
        gone: dict[Slot, list[np.ndarray]] = {}
        for name, units in dropped.items():
            group = groups[name]
            if len(units) and (group.pinned or len(np.unique(units)) >= group.units):
                raise ValueError(f"{name}: {group.pinned or 'every channel would go'}")
            for slot, indices in group.cuts.items():
                gone.setdefault(slot, []).append(indices[np.asarray(units, dtype=np.int64)].ravel())
        joined = {slot: np.unique(np.concatenate(parts)) for slot, parts in gone.items()}
        return {slot: joined[slot] for slot in sorted(joined) if len(joined[slot])}


def couple(network: Network) -> Groups:
    """Find the groups of a network."""
    atoms = _Atoms()
    channels: dict[str, np.ndarray] = {}
    nodes = {node.name: node for node in network.nodes}
    for node in network.nodes:
        values = [channels[name] for name in node.inputs]
        channels[node.name] = atoms.enter(node, [nodes[name] for name in node.inputs], values)
    for name in network.outputs:
        atoms.pin(channels[name], "an output of the model")
    return Groups(network=network, all=_gather(network, atoms, channels))


def carried(node: Node, inputs: Sequence[Node], values: Sequence[np.ndarray]) -> np.ndarray | None:
    """What a node that makes no channels of its own does to one value a channel; None where it is not known to carry.

    Of an addition it is the value of the first input that has all channels.
    """
    found: np.ndarray | None = None
    if node.kind in CARRIES and inputs:
        full = [v for i, v in zip(inputs, values, strict=True) if len(v) == node.channels]
        axes = {_from_the_right(i) for i in (*inputs, node) if i.channels > 1}
        aligned = len(inputs) == 1 or len(axes) <= 1
        found = full[0] if full and aligned and all(len(v) in (1, node.channels) for v in values) else None
    elif node.kind is Kind.DEPTHWISE and len(inputs) == 1:
        found = np.repeat(values[0], node.multiplier)
    elif node.kind is Kind.CONCAT and inputs:
        found = np.concatenate(values)
    elif node.kind is Kind.FLATTEN and len(inputs) == 1:
        shape = np.array(inputs[0].shape)
        along = np.ones_like(shape)
        along[inputs[0].channel_axis] = len(values[0])
        found = np.broadcast_to(values[0].reshape(along), shape).ravel()
    return found if found is not None and len(found) == node.channels else None


def slots(node: Node, incoming: np.ndarray | None, outgoing: np.ndarray) -> Iterator[tuple[Slot, bool, np.ndarray]]:
    """(weight and axis, whether it makes channels, one value an index) for given values of each channel.

    Raises `ValueError` that says why where an axis fits no channels, as in a grouped convolution.
    """
    for weight in node.weights:
        for axis, makes, runs_over in _axes(node, weight, [] if incoming is None else [incoming], outgoing):
            fitting = [values for values in runs_over if len(values) == weight.shape[axis]]
            if not fitting:
                counts = " or ".join(str(len(values)) for values in runs_over) or "no"
                raise ValueError(f"{weight.name} has {weight.shape[axis]} entries for {counts} channels")
            yield (weight.name, axis), makes, fitting[0]


def _axes(
    node: Node, weight: Weight, incoming: list[np.ndarray], outgoing: np.ndarray
) -> list[tuple[int, bool, list[np.ndarray]]]:
    """Axes of a weight that run over channels, whether they make them, and over which channels that may be."""
    own = node.kind is Kind.DEPTHWISE or node.kind in CARRIES      # its output is its input's channels
    rank = len(weight.shape)
    out_axis, in_axis = (None if axis is None else axis % rank for axis in (weight.out_axis, weight.in_axis))
    if out_axis is None or in_axis is None or out_axis == in_axis:
        if out_axis is not None:                                   # one entry may serve all outputs of an input
            return [(out_axis, True, [outgoing, *incoming] if own else [outgoing])]
        return [] if in_axis is None else [(in_axis, own, incoming)]
    if own and weight.shape[in_axis] * weight.shape[out_axis] == node.channels:
        return [(in_axis, True, incoming)]                         # [..., inputs, multiplier]
    return [(out_axis, True, [outgoing]), (in_axis, own, incoming)]


class _Atoms:
    """The atoms of a network while it is walked through, what connects them and what pins them."""

    def __init__(self) -> None:
        self.count = 0
        self.edges: list[np.ndarray] = []                   # int64 [n, 2]
        self.reasons: dict[int, str] = {}
        self.slots: dict[Slot, np.ndarray] = {}
        self.makers: set[Slot] = set()
        self.fixed: dict[str, str] = {}                     # weights that some node uses in a way not known

    def enter(self, node: Node, inputs: Sequence[Node], values: Sequence[np.ndarray]) -> np.ndarray:
        made = node.kind in (Kind.INPUT, Kind.CONVOLUTION, Kind.OTHER)
        outgoing = self._new(node.channels) if made else carried(node, inputs, values)
        why = self._objection(node, inputs, outgoing)
        if why is None:
            assert outgoing is not None
            try:
                used = list(slots(node, values[0] if len(values) == 1 else None, outgoing))
            except ValueError as err:
                why = f"{node.name} ({node.op}): {err}"
            else:
                self._connect(node, values, outgoing)
                for slot, makes, ids in used:
                    self.unite(self.slots.setdefault(slot, ids), ids)
                    self.makers |= {slot} if makes else set()
                if node.kind is Kind.CONVOLUTION:
                    self._pin_unseen(node, values[0], outgoing, {makes for _, makes, _ in used})
        outgoing = self._new(node.channels) if outgoing is None else outgoing
        if why is not None:
            self.fixed |= {weight.name: why for weight in node.weights}
            for ids in (outgoing, *values):
                self.pin(ids, why)
        if node.kind is Kind.INPUT:
            self.pin(outgoing, "an input of the model")
        if "softmax" in node.activation:
            self.pin(outgoing, f"{node.name} ({node.op}): softmax mixes channels")
        return outgoing

    def unite(self, left: np.ndarray, right: np.ndarray) -> None:
        if left is not right:
            self.edges.append(np.stack([left, right], axis=1))

    def pin(self, ids: np.ndarray, why: str) -> None:
        for atom in np.unique(ids).tolist():
            self.reasons.setdefault(atom, why)

    def components(self) -> tuple[np.ndarray, dict[int, str]]:
        """The unit of each atom, numbered by the first atom of each, and why some are pinned."""
        for (name, _), ids in self.slots.items():
            if name in self.fixed:
                self.pin(ids, self.fixed[name])
        pairs = np.concatenate(self.edges or [np.zeros((0, 2), np.int64)])
        graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(self.count, self.count))
        _, labels = connected_components(graph, directed=False)
        _, first, unit = np.unique(labels, return_index=True, return_inverse=True)
        unit = np.argsort(np.argsort(first))[unit]
        pinned: dict[int, str] = {}
        for atom, why in sorted(self.reasons.items()):
            pinned.setdefault(int(unit[atom]), why)
        return unit, pinned

    def _new(self, count: int) -> np.ndarray:
        self.count += count
        return np.arange(self.count - count, self.count, dtype=np.int64)

    def _objection(self, node: Node, inputs: Sequence[Node], outgoing: np.ndarray | None) -> str | None:
        if node.kind is Kind.OTHER:
            return f"{node.name} ({node.op}): {node.note or 'mixes channels in a way not known'}"
        if node.kind is Kind.CONVOLUTION and len(inputs) != 1:
            return f"{node.name} ({node.op}): a convolution of {len(inputs)} inputs"
        if outgoing is None:
            counts = " and ".join(str(each.channels) for each in inputs)
            return f"{node.name} ({node.op}): {node.kind} of {counts} channels gives {node.channels}"
        return None

    def _pin_unseen(self, node: Node, incoming: np.ndarray, outgoing: np.ndarray, seen: set[bool]) -> None:
        for ids, makes, verb in ((incoming, False, "reads"), (outgoing, True, "makes")):
            if makes not in seen:
                self.pin(ids, f"{node.name} ({node.op}): no weight is known that {verb} these channels")

    def _connect(self, node: Node, values: Sequence[np.ndarray], outgoing: np.ndarray) -> None:
        if node.kind not in CARRIES:
            return
        for ids in values:
            if len(ids) == len(outgoing):
                self.unite(outgoing, ids)
            else:
                self.pin(ids, f"{node.name} ({node.op}): one channel for {len(outgoing)}")


def _gather(network: Network, atoms: _Atoms, channels: Mapping[str, np.ndarray]) -> tuple[Group, ...]:
    """Units with the same number of indices in the same places make a group."""
    unit, pinned = atoms.components()
    places = {name: _rows(unit[ids]) for name, ids in channels.items()}
    cuts = {slot: _rows(unit[ids]) for slot, ids in sorted(atoms.slots.items())}
    lies: list[list[tuple[Any, int]]] = [[] for _ in range(int(unit.max(initial=-1)) + 1)]
    for place, rows in (*places.items(), *cuts.items()):
        for number, indices in rows.items():
            lies[number].append((place, len(indices)))
    alike: dict[Any, list[int]] = {}
    for number, where in enumerate(lies):
        alike.setdefault((tuple(where), pinned.get(number, "")), []).append(number)
    kinds = {node.name: node.kind for node in network.nodes}
    groups, names = [], Counter[str]()
    for (where, why), numbers in alike.items():
        nodes = [place for place, _ in where if isinstance(place, str)]
        producers = tuple(name for name in nodes if kinds[name] is Kind.CONVOLUTION)
        name = (producers or nodes)[0]
        names[name] += 1
        own = {slot: np.array([cuts[slot][n] for n in numbers]) for slot, _ in where if not isinstance(slot, str)}
        groups.append(Group(
            name=name if names[name] == 1 else f"{name} ({names[name]})", units=len(numbers), pinned=why,
            places={node: np.array([places[node][n] for n in numbers]) for node in nodes},
            cuts=own, makers=frozenset(own) & frozenset(atoms.makers), producers=producers,
        ))
    return tuple(groups)


def _rows(units: np.ndarray) -> dict[int, np.ndarray]:
    """Where each unit stands: unit -> increasing indices, units in the order of their numbers."""
    order = np.argsort(units, kind="stable")
    numbers, starts = np.unique(units[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(units) else {}


def _from_the_right(node: Node) -> int:
    return node.channel_axis if node.channel_axis < 0 else node.channel_axis - len(node.shape)
