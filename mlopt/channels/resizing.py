"""The network that is left when channels are cut, worked out on paper: shapes, weights, multiply-accumulates."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mlopt.channels.coupling import carried, slots
from mlopt.network import Kept, Kind, Network, Node, Weight


def resized(network: Network, kept: Kept) -> Network:
    """The network as the framework rebuilds it from `kept`; `ValueError` where the indices do not fit each other."""
    staying = channels_kept(network, kept)
    before = {node.name: node for node in network.nodes}
    nodes = []
    for node in network.nodes:
        shape = list(node.shape)
        if shape:
            shape[node.channel_axis] = int(staying[node.name].sum())
        incoming = [(before[name], staying[name]) for name in node.inputs]
        weights = tuple(_cut(weight, kept) for weight in node.weights)
        nodes.append(replace(node, shape=tuple(shape), weights=weights, macs=_macs(node, incoming, staying[node.name])))
    return replace(network, nodes=tuple(nodes))


def channels_kept(network: Network, kept: Kept) -> dict[str, np.ndarray]:
    """By node: bool [channels], which of its output channels stay."""
    before = {node.name: node for node in network.nodes}
    staying: dict[str, np.ndarray] = {}
    for node in network.nodes:
        values = [staying[name] for name in node.inputs]
        made = node.kind in (Kind.INPUT, Kind.CONVOLUTION, Kind.OTHER)
        outgoing = None if made else carried(node, [before[name] for name in node.inputs], values)
        if outgoing is None:
            outgoing = _made(node, kept)
            if node.kind is not Kind.CONVOLUTION and not all(value.all() for value in (*values, outgoing)):
                raise ValueError(f"{node.name} ({node.op}) is not known to go on with fewer channels")
        for name, value in zip(node.inputs, values, strict=True):
            if node.kind is not Kind.CONCAT and len(value) == len(outgoing) and not made and (value != outgoing).any():
                raise ValueError(f"{node.name} adds channels of {name} to others that were cut differently")
        staying[node.name] = outgoing
        if node.kind is not Kind.OTHER:
            _check(node, values[0] if len(values) == 1 else None, outgoing, kept)
    return staying


def _check(node: Node, incoming: np.ndarray | None, outgoing: np.ndarray, kept: Kept) -> None:
    shapes = {weight.name: weight.shape for weight in node.weights}
    named = {weight.name for weight in node.weights} & set(kept)
    try:
        used = list(slots(node, incoming, outgoing))
    except ValueError:
        if named or not outgoing.all() or not (incoming is None or incoming.all()):
            raise
        return
    for (name, axis), _, wanted in used:
        if (_mask(shapes[name], axis, kept.get(name, {})) != wanted).any():
            raise ValueError(f"axis {axis} of {name} is not cut as the channels it runs over are")


def _made(node: Node, kept: Kept) -> np.ndarray:
    for weight in node.weights:
        if weight.out_axis is not None and weight.name in kept and weight.shape[weight.out_axis] == node.channels:
            return _mask(weight.shape, weight.out_axis, kept[weight.name])
    return np.ones(node.channels, dtype=bool)


def _mask(shape: tuple[int, ...], axis: int, kept: Mapping[int, np.ndarray]) -> np.ndarray:
    mask = np.ones(shape[axis], dtype=bool)
    if axis % len(shape) in kept:
        mask[:] = False
        mask[kept[axis % len(shape)]] = True
    return mask


def _cut(weight: Weight, kept: Kept) -> Weight:
    shape = tuple(
        len(kept[weight.name][axis]) if axis in kept.get(weight.name, {}) else length
        for axis, length in enumerate(weight.shape)
    )
    return replace(weight, shape=shape)


def _macs(node: Node, incoming: list[tuple[Node, np.ndarray]], outgoing: np.ndarray) -> int:
    """In proportion to the output channels, and to the input channels where each output sees all of them."""
    macs = node.macs * int(outgoing.sum()) // max(len(outgoing), 1)
    if node.kind is Kind.CONVOLUTION and len(incoming) == 1:
        mask = incoming[0][1]
        macs = node.macs * int(outgoing.sum()) * int(mask.sum()) // max(len(outgoing) * len(mask), 1)
    return macs
