"""The rebuilt network computes what the silenced one does: shown on samples before any of it is trained."""

from collections.abc import Mapping

import numpy as np

from mlopt.channels.coupling import Dropped, Groups
from mlopt.channels.resizing import channels_kept, resized
from mlopt.frameworks.protocol import TrainableModel
from mlopt.network import Kind, Network, Node

TOLERANCE = 1e-3               # of a node's largest value: float32 sums in another order; a wrong channel gives about 1


def prove(
    model: TrainableModel, small: TrainableModel, groups: Groups, dropped: Dropped, inputs: Mapping[str, np.ndarray]
) -> float:
    """The largest difference between `model` with `dropped` silenced and `small`, which was rebuilt without it.

    Over all nodes, relative to each node's largest value. `model` is left as it was. `AssertionError` where a node
    differs: the cut is wrong, and training would only hide it.
    """
    kept = groups.kept(dropped)
    expected = resized(model.network, kept)
    if difference := _different(expected, small.network):
        raise AssertionError(f"the rebuilt network is not the one that was asked for: {difference}")
    staying = channels_kept(model.network, kept)
    names = [node.name for node in model.network.nodes if node.kind is not Kind.INPUT]
    before = model.weights()
    try:
        model.set_weights(groups.masked(before, dropped))
        wanted, outputs = model.activations(names, inputs), model.predict(inputs)
    finally:
        model.set_weights(before)
    worst = 0.0
    found, rebuilt = small.activations(names, inputs), small.predict(inputs)
    for node in (node for node in model.network.nodes if node.name in wanted):
        values = wanted[node.name]
        values = np.compress(staying[node.name], values, axis=_axis(node)) if node.shape else values
        worst = max(worst, _checked(node.name, values, found[node.name]))
    for name, values in outputs.items():
        worst = max(worst, _checked(f"output {name}", values, rebuilt[name]))
    return worst


def _different(expected: Network, found: Network) -> str:
    """The first node that is not as worked out, in words; empty where all are."""
    nodes = {node.name: node for node in found.nodes}
    for node in expected.nodes:
        other = nodes.get(node.name)
        if other is None:
            return f"{node.name} is gone"
        if other.shape != node.shape:
            return f"{node.name} has shape {other.shape}, not {node.shape}"
        shapes = [(weight.name, weight.shape) for weight in node.weights]
        if [(weight.name, weight.shape) for weight in other.weights] != shapes:
            return f"{node.name} has weights {[(w.name, w.shape) for w in other.weights]}, not {shapes}"
    return ""


def _checked(name: str, wanted: np.ndarray, found: np.ndarray) -> float:
    if wanted.shape != found.shape:
        raise AssertionError(f"{name}: the rebuilt network gives {found.shape}, the silenced one {wanted.shape}")
    if not wanted.size:
        return 0.0
    away = float(np.abs(wanted - found).max()) / max(float(np.abs(wanted).max()), 1e-6)
    if not away <= TOLERANCE:
        raise AssertionError(
            f"{name}: the rebuilt network is {away:.2g} of its largest value away from the silenced one"
        )
    return away


def _axis(node: Node) -> int:
    return node.channel_axis if node.channel_axis < 0 else node.channel_axis + 1      # the batch stands first
