"""A model with fewer channels: its settings edited to fit, its weights cut to the indices that stay."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.keras.network.kinds import CONVOLUTIONS
from mlopt.frameworks.keras.network.plan import Plan
from mlopt.network import Kept, Kind, Network


def cut(weights: Mapping[str, np.ndarray], kept: Kept) -> dict[str, np.ndarray]:
    """Every weight, along the axes that `kept` names with the indices alone that stay.

    >>> cut({"a": np.arange(6).reshape(2, 3), "b": np.ones(2)}, {"a": {1: np.array([0, 2])}})["a"].tolist()
    [[0, 2], [3, 5]]
    """
    unknown = sorted(kept.keys() - weights.keys())
    if unknown:
        raise ValueError(f"the model has no weight {', '.join(unknown)}")
    done = dict(weights)
    for name, by_axis in kept.items():
        for axis, indices in by_axis.items():
            if len(indices) == 0:
                raise BadRequest(f"no channel of {name} would stay: a layer needs at least one")
            done[name] = np.take(done[name], indices, axis=axis)
    return done


def narrowed(plan: Plan, network: Network, kept: Kept) -> Plan:
    """The plan whose layers have as many outputs as `kept` leaves them."""
    layers = dict(plan.layers)
    for node in network.nodes:
        call = plan.call_of(node.name)
        if call is None:
            continue
        spec = layers[call.layer]
        kernels = [weight for weight in node.weights if weight.role == "kernel" and weight.out_axis is not None]
        if spec.cls.__name__ in CONVOLUTIONS and kernels:
            (kernel,) = kernels
            assert kernel.out_axis is not None
            left = kept.get(kernel.name, {}).get(kernel.out_axis)
            if left is not None:
                width = "units" if spec.cls.__name__ == "Dense" else "filters"
                layers[call.layer] = spec.changed(**{width: len(left)})
        if spec.cls.__name__ == "Reshape" and node.kind is not Kind.OTHER:
            layers[call.layer] = spec.changed(target_shape=(*node.shape[:-1], -1))      # its channels: what is left
    return replace(plan, layers=layers)
