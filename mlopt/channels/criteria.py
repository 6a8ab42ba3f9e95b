"""What each unit of a group is worth: numbers of which a cut gives up the smallest, comparable across groups."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mlopt.channels.coupling import Group, Groups
from mlopt.network import Weights

Importance = Mapping[str, np.ndarray]       # by name of each free group: float64 [units], at least 0


def magnitude(groups: Groups, weights: Weights) -> dict[str, np.ndarray]:
    """The unit's share of the squared norm of the kernels that make it, the mean over those kernels.

    The norm of a filter ranks filters of a layer (Li et al. 2017, "Pruning Filters for Efficient ConvNets"); divided by
    the layer's own norm it compares layers (Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource
    Efficient Inference", section 2.2). Squares, so that what several units lose adds up; all units of a group have 1.
    """
    roles = {name: weight.role for name, weight in groups.network.weights().items()}
    found = {}
    for group in groups.free:
        shares = [
            _shares(_squares(weights[name], axis, group.cuts[name, axis]))
            for name, axis in sorted(group.makers) if roles[name] == "kernel"
        ]
        found[group.name] = np.mean(shares, axis=0) if shares else np.full(group.units, 1 / group.units)
    return found


def scale(groups: Groups, weights: Weights) -> dict[str, np.ndarray]:
    """The unit's share of the squared batch-norm scales of its group (Liu et al. 2017, "Network Slimming").

    There the scales of all layers are compared as they are, after a training that presses on all of them; without it
    they mean something within a layer alone, hence the share. A group without batch norm is left out.
    """
    found = {}
    for group in groups.free:
        shares = [
            _shares(_squares(weights[name], axis, group.cuts[name, axis])) for name, axis in gammas(groups, group)
        ]
        if shares:
            found[group.name] = np.mean(shares, axis=0)
    return found


def gammas(groups: Groups, group: Group) -> list[tuple[str, int]]:
    """The scales of batch norms on a group's channels."""
    roles = {name: weight.role for name, weight in groups.network.weights().items()}
    return [slot for slot in sorted(group.makers) if roles[slot[0]] == "gamma"]


def taylor(groups: Groups, batches: Iterable[Weights]) -> dict[str, np.ndarray]:
    """What the loss changes by to first order where the unit goes, squared, the mean over batches.

    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", section 3.2: the terms of a gate on the
    unit. Such a gate stands before everything that reads the unit, and its gradient is the sum of gradient * weight
    over all of those weights; the square is taken of that sum, since single terms cancel and their squares would add
    up noise. Losses are comparable across layers as they are. `batches`: `TrainableModel.first_order_terms`.
    """
    sums, count = {group.name: np.zeros(group.units) for group in groups.free}, 0
    for terms in batches:
        count += 1
        for group in groups.free:
            gate = np.zeros(group.units)
            for name, axis in sorted(group.cuts.keys() - group.makers):
                if name in terms:
                    gate += np.take(_along(terms[name], axis), group.cuts[name, axis]).sum(axis=1)
            sums[group.name] += np.square(gate)
    return {name: total / max(count, 1) for name, total in sums.items()}


def together(by_output: Sequence[Importance]) -> dict[str, np.ndarray]:
    """The sum over outputs, each with a whole of 1: losses of different kinds have no common unit.

    >>> {name: v.tolist() for name, v in together([{"a": np.array([3.0, 1.0])}, {"a": np.array([0.0, 50.0])}]).items()}
    {'a': [0.75, 1.25]}
    """
    wholes = [sum(float(values.sum()) for values in each.values()) for each in by_output]
    return {
        name: np.sum([each[name] / (whole or 1.0) for each, whole in zip(by_output, wholes, strict=True)], axis=0)
        for name in by_output[0]
    }


def random(groups: Groups, seed: int) -> dict[str, np.ndarray]:
    """A control: shares of each group drawn at random, the same for the same seed."""
    source = np.random.default_rng(seed)
    return {group.name: _shares(source.uniform(0.5, 1.5, group.units)) for group in groups.free}


def _squares(array: np.ndarray, axis: int, indices: np.ndarray) -> np.ndarray:
    """Squared norm of each unit's slices: of indices [units, n], float64 [units]."""
    return np.asarray(np.take(_along(np.square(array, dtype=np.float64), axis), indices).sum(axis=1))


def _along(array: np.ndarray, axis: int) -> np.ndarray:
    """The sum over all axes but one."""
    return np.asarray(array.astype(np.float64).sum(axis=tuple(i for i in range(array.ndim) if i != axis)))


def _shares(values: np.ndarray) -> np.ndarray:
    """Each value as a share of their sum; equal shares where that is 0.

    >>> _shares(np.array([1.0, 3.0])).tolist(), _shares(np.zeros(2)).tolist()
    ([0.25, 0.75], [0.5, 0.5])
    """
    total = values.sum()
    return np.asarray(values / total) if total > 0 else np.full(len(values), 1 / len(values))
