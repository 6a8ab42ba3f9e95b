"""Put rounding into a plan: kernels by other layer classes, activations by layers of their own behind the calls."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlopt.frameworks.keras.architecture.names import words
from mlopt.frameworks.keras.grid.layers import Rounding, on_grid
from mlopt.frameworks.keras.network.plan import Call, LayerSpec, Plan, Ref
from mlopt.frameworks.keras.quiet import tf_keras
from mlopt.grid import ActivationGrid, before
from mlopt.network import Kind, Network, Node
from mlopt.scheme import Granularity, IntegerFormat

# What gives out values that it is given: on the grid already where its input has the same.
COPYING = words(
    """
    MaxPooling1D MaxPooling2D MaxPooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D Flatten Reshape
    Permute ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D RepeatVector UpSampling1D
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D ReLU
    """
)
POOLING = words("AveragePooling1D AveragePooling2D AveragePooling3D")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be rounded, as `TrainableModel.on_grid` takes it."""

    activations: Mapping[str, ActivationGrid]
    kernels: Mapping[str, IntegerFormat]
    shared: Sequence[Sequence[str]]
    learned: Collection[str]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the grid is in a plan that rounds."""

    plan: Plan
    roundings: Mapping[str, str]        # layer of the rounding, by name of the value
    kernels: Mapping[str, str]          # layer with the kernel, by name of the node


def with_grid(plan: Plan, network: Network, wanted: Wanted) -> Places:
    """The plan with every value of `wanted.activations` rounded and its `wanted.kernels`.

    A node keeps its name for what it gives to its consumers. What it has computed is "NAME/raw" where that is rounded.
    Activation functions of layers with kernels become layers of their own, so that there is a value `before` them.
    """
    return _Gridding(plan, network, wanted).run()


def has_own_activation(node: Node) -> bool:
    return node.kind in (Kind.CONVOLUTION, Kind.DEPTHWISE) and node.activation != "linear"


class _Gridding:
    def __init__(self, plan: Plan, network: Network, wanted: Wanted) -> None:
        self.plan, self.activations, self.formats = plan, wanted.activations, wanted.kernels
        self.learned = frozenset(wanted.learned)
        self.nodes = {node.name: node for node in network.nodes}
        self.leader = {name: names[0] for names in wanted.shared for name in names}
        self.layers = dict(plan.layers)
        self.calls: list[Call] = []
        self.layer_of: dict[str, str] = {}
        self.roundings: dict[str, str] = {}
        self.kernels: dict[str, str] = {}

    def run(self) -> Places:
        self._kernels()
        renamed = {spec.name: f"{spec.name}/rounded" for spec in self.plan.inputs if spec.name in self.activations}
        for name, new in renamed.items():
            self._round(name, name, new)
        for call in self.plan.rewired(renamed).calls:
            self._call(call)
        rewired = self.plan.rewired(renamed)
        done = replace(rewired, layers=self.layers, calls=tuple(self.calls))
        return Places(plan=done, roundings=self.roundings, kernels=self.kernels)

    def _kernels(self) -> None:
        for node in self.nodes.values():
            format_ = self.formats.get(node.name)
            if format_ is None:
                continue
            call = next(call for call in self.plan.calls if node.name in call.nodes)
            spec = self.plan.layers[call.layer]
            self.layers[spec.name] = LayerSpec(
                cls=on_grid(spec.cls),
                config={
                    **spec.config, "bits": format_.bits, "learnt": format_.learnt,
                    "kept": node.kernel_axes if format_.granularity is Granularity.CHANNEL else (),
                },
            )
            self.kernels[node.name] = spec.name

    def _call(self, call: Call) -> None:
        name = call.nodes[0]
        if has_own_activation(self.nodes[name]):
            call = self._activation_apart(call)
        if name not in self.activations or len(call.nodes) > 1 or self._on_grid_already(call):
            self.calls.append(call)
        else:
            self.calls.append(replace(call, nodes=(f"{name}/raw",)))
            pooled = self.nodes[name].op in POOLING and self._group(call.inputs[0]) == self._group(name)
            self._round(name, f"{name}/raw", name, pooled=pooled)

    def _activation_apart(self, call: Call) -> Call:
        """Leave the layer's arithmetic in the list of calls; the call of its activation function comes back."""
        name, function = call.nodes[0], self.plan.layers[call.layer].config["activation"]
        self.layers[call.layer] = self.layers[call.layer].changed(activation="linear")
        rounded = before(name) in self.activations
        raw = f"{before(name)}/raw" if rounded else before(name)
        self.calls.append(replace(call, nodes=(raw,)))
        if rounded:
            self._round(before(name), raw, before(name))
        layer = self._layer(f"{name}/activation", tf_keras.layers.Activation, activation=function)
        return Call(layer=layer, nodes=(name,), args=(Ref(before(name)),))

    def _on_grid_already(self, call: Call) -> bool:
        name = call.nodes[0]
        node = self.nodes[name]
        copies = node.op in COPYING and len(node.inputs) == 1
        return copies and self._group(node.inputs[0]) == self._group(name)

    def _group(self, name: str) -> str:
        return self.leader.get(name, name)

    def _round(self, name: str, source: str, target: str, *, pooled: bool = False) -> None:
        """The rounding of one value; values of one group are rounded by one layer."""
        leader = self._group(name)
        if leader not in self.layer_of:
            grid = self.activations[leader]
            self.layer_of[leader] = self._layer(
                f"{leader}/range", Rounding, low=grid.low, high=grid.high, learned=leader in self.learned
            )
        self.roundings[name] = self.layer_of[leader]
        kwargs = {"pooled": True} if pooled else {}
        self.calls.append(Call(layer=self.layer_of[leader], nodes=(target,), args=(Ref(source),), kwargs=kwargs))

    def _layer(self, name: str, cls: type, **config: Any) -> str:
        """A new layer; the name that it got, of letters that TensorFlow takes, and no other layer's."""
        name = re.sub(r"[^A-Za-z0-9_.\-/]", ".", name)
        while name in self.layers:
            name += "_"
        self.layers[name] = LayerSpec(cls=cls, config={"name": name, **config})
        return name
