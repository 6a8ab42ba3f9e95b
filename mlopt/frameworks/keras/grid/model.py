"""A folded Keras network that trains on its grid."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Never

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.keras.grid.building import Places, Wanted, with_grid
from mlopt.frameworks.keras.grid.layers import nudged
from mlopt.frameworks.keras.network.building import build
from mlopt.frameworks.keras.network.model import KerasNetwork
from mlopt.grid import ActivationGrid, WeightGrid
from mlopt.network import Kind, Network, Weights
from mlopt.scheme import IntegerFormat


class GriddedKeras(KerasNetwork):
    """A `GriddedModel`: the layers of `plain`, rounding.

    Its `variables` are what is trained: kernels of the size that `layers.sizes` gives them, and ranges beside them.
    """

    def __init__(self, plain: KerasNetwork, places: Places) -> None:
        self.plain, self.places = plain, places
        self.plan, self.signature = places.plan, plain.signature
        self.built = build(places.plan)
        self.kernels = {plain.network.node(name).kernel.name: layer for name, layer in places.kernels.items()}
        self.set_weights(plain.weights())

    @cached_property
    def network(self) -> Network:
        """That of the plain model: rounding is no node."""
        return self.plain.network

    @cached_property
    def output_activations(self) -> tuple[str, ...]:
        return self.plain.output_activations        # what rounds stands behind the activation

    def weights(self) -> dict[str, np.ndarray]:
        """Every weight by its name in `network`, not rounded, copied; see `stripped`."""
        found = {name: np.array(self.variables[name].numpy()) for name in self.network.weights()}
        return found | {name: self.built.layers[layer].real_kernel().numpy() for name, layer in self.kernels.items()}

    def set_weights(self, weights: Weights) -> None:
        """Those that are named; shapes must fit."""
        super().set_weights(weights)
        for name in weights.keys() & self.kernels.keys():
            self.built.layers[self.kernels[name]].set_kernel(weights[name])

    def grids(self) -> tuple[dict[str, ActivationGrid], dict[str, WeightGrid]]:
        """Ranges by name of the value, and the grid of each kernel by node."""
        activations = {}
        for name, layer in self.places.roundings.items():
            low, high = nudged(*(float(end) for end in self.built.layers[layer].range()))
            activations[name] = ActivationGrid(low=low, high=high)
        kernels = {}
        for name, layer in self.places.kernels.items():
            found, axes = self.built.layers[layer], self.network.node(name).kernel_axes
            kernel = found.real_kernel().shape
            shape = [size if axis in axes else 1 for axis, size in enumerate(kernel)]
            steps = np.broadcast_to(found.steps().numpy(), shape).ravel()
            kernels[name] = WeightGrid(bits=found.bits, axis=axes[0], steps=tuple(float(step) for step in steps))
        return activations, kernels

    def stripped(self) -> KerasNetwork:
        """The plain model, its kernels rounded to the grid, nothing else rounded."""
        rounded = {name: self.built.layers[layer].rounded_kernel().numpy() for name, layer in self.kernels.items()}
        return KerasNetwork(self.plain.plan, self.weights() | rounded, self.signature)

    def save(self, folder: Path) -> None:
        """What `stripped` gives: a file holds no rounding."""
        self.stripped().save(folder)

    def narrowed(self, kept: Any) -> Never:
        raise BadRequest(_STAYS)

    def without(self, nodes: Sequence[str]) -> Never:
        raise BadRequest(_STAYS)

    def folded(self) -> Never:
        raise BadRequest(_STAYS)

    def on_grid(self, *args: Any, **kwargs: Any) -> Never:
        raise BadRequest(_STAYS)


_STAYS = "a network that trains on its grid is not changed any more: change it before `quantize`"


def gridded(
    plain: KerasNetwork,
    activations: Mapping[str, ActivationGrid],
    kernels: Mapping[str, IntegerFormat],
    *,
    shared: Sequence[Sequence[str]] = (),
    learned: Collection[str] = (),
) -> GriddedKeras:
    """See `TrainableModel.on_grid`."""
    _check(plain.network, kernels)
    wanted = Wanted(activations=activations, kernels=kernels, shared=shared, learned=learned)
    return GriddedKeras(plain, with_grid(plain.plan, plain.network, wanted))


def _check(network: Network, formats: Mapping[str, IntegerFormat]) -> None:
    for name, format_ in formats.items():
        node = network.node(name)
        if node.kind not in (Kind.CONVOLUTION, Kind.DEPTHWISE):
            raise ValueError(f"{name} ({node.op}) has no kernel with a grid of {format_.bits} bits")
        if not 2 <= format_.bits <= 8 or not format_.symmetric:
            kind = "symmetric" if format_.symmetric else "not symmetric"
            raise BadRequest(f"weights at {format_.bits} bits, {kind}, cannot be trained: 2 to 8 bits, symmetric, can")
    sharing: dict[str, str] = {}
    for name in formats:
        for weight in network.node(name).weights:
            other = sharing.setdefault(weight.name, name)
            if formats[other] != formats[name]:
                raise ValueError(f"{name} and {other} share {weight.name} and cannot have different formats")
