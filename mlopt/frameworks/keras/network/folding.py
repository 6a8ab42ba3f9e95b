"""Batch normalization folded into the weights beside it: the same function at inference, in fewer steps.

Where the layer before is no convolution or dense layer, the one after it takes it (without padding that is exact);
failing that it becomes a depthwise 1x1 convolution of the same name. What is none of these stays as it was: batch
normalization of vectors and of volumes between other layers, and over other axes than the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlopt.frameworks.keras.network.kinds import CONVOLUTIONS, DEPTHWISE, IDENTITIES, activation_name
from mlopt.frameworks.keras.network.plan import Call, LayerSpec, Plan, Ref, filled, with_output_names
from mlopt.frameworks.keras.quiet import tf_keras
from mlopt.network import Kind, Network, Weight

ONE_BY_ONE = {2: tf_keras.layers.DepthwiseConv1D, 3: tf_keras.layers.DepthwiseConv2D}


@dataclass(frozen=True, kw_only=True)
class ScaleShift:
    """y = x * scale + shift for each channel, float64."""

    scale: np.ndarray
    shift: np.ndarray


def scale_shift(arrays: Mapping[str, np.ndarray], epsilon: float) -> ScaleShift:
    """What batch normalization does at inference; `arrays` by role, gamma and beta where it has them.

    Source: Ioffe and Szegedy 2015, gamma * (x - mean) / sqrt(variance + epsilon) + beta.

    >>> found = scale_shift({"mean": np.array([1.0]), "variance": np.array([3.0]), "beta": np.array([5.0])}, 1.0)
    >>> float(found.scale[0]), float(found.shift[0])
    (0.5, 4.5)
    """
    scale = 1 / np.sqrt(arrays["variance"].astype(np.float64) + epsilon)
    scale = scale * arrays["gamma"] if "gamma" in arrays else scale
    shift = -arrays["mean"] * scale
    return ScaleShift(scale=scale, shift=shift + arrays["beta"] if "beta" in arrays else shift)


def folded(
    plan: Plan, network: Network, weights: Mapping[str, np.ndarray], layers: Mapping[str, Any], names: list[str]
) -> tuple[Plan, dict[str, np.ndarray]]:
    """The plan without what can be folded, and weights for it; `layers` are live, `names` the layers of the outputs."""
    folding = _Folding(plan, network, weights, layers)
    for name, kind in folding.kinds.items():
        if kind is Kind.NORMALIZATION:
            folding.fold(name)
    return with_output_names(folding.done(), names), folding.weights


class _Folding:
    """The plan while it changes. What is taken out stays in it to the end: `stands_for` says what is read instead."""

    def __init__(
        self, plan: Plan, network: Network, weights: Mapping[str, np.ndarray], layers: Mapping[str, Any]
    ) -> None:
        self.plan, self.layers, self.weights = plan, layers, dict(weights)
        nodes = {node.name: node for node in network.nodes}
        self.specs = dict(plan.layers)
        self.kinds = {call.layer: nodes[call.nodes[0]].kind for call in plan.calls}
        self.ranks = {call.layer: len(nodes[call.nodes[0]].shape) for call in plan.calls}
        self.arrays: dict[str, dict[str, Weight]] = {
            call.layer: {weight.role: weight for weight in nodes[call.nodes[0]].weights} for call in plan.calls
        }
        self.calls: dict[str, list[Call]] = {}                      # by layer
        for call in plan.calls:
            self.calls.setdefault(call.layer, []).append(call)
        self.call_of = {node: call for call in plan.calls for node in call.nodes}
        self.readers = plan.readers()
        self.ends = set(plan.outputs)
        self.stands_for: dict[str, str] = {}
        self.depthwise: set[str] = set()                            # norms that became such layers

    def done(self) -> Plan:
        """The plan as it is now."""
        calls = tuple(
            replace(call.rewired(self.stands_for), kwargs={} if call.layer in self.depthwise else call.kwargs)
            for call in self.plan.calls if call.nodes[0] not in self.stands_for
        )
        outputs = filled(self.plan.output_structure, {old: Ref(new) for old, new in self.stands_for.items()})
        return replace(self.plan, layers=self.specs, calls=calls, output_structure=outputs)

    def fold(self, norm: str) -> None:
        """Take one batch normalization out, in the first way that is exact."""
        arrays = {role: self.weights[weight.name] for role, weight in self.arrays[norm].items()}
        change = scale_shift(arrays, self.layers[norm].epsilon)
        if before := self._only_before(norm):
            self._into_before(before, change)
            self._take_out(norm)
        elif after := self._only_after(norm):
            self._into_after(after, change)
            self._take_out(norm)
        else:
            self._as_depthwise(norm, change)

    def _only_before(self, norm: str) -> str | None:
        """The layer whose every output goes through `norm` alone, and that has no activation of its own."""
        starts = [self._behind_identities(self._input(call)) for call in self.calls[norm]]
        if any(start not in self.call_of for start in starts):
            return None
        found = {self.call_of[start].layer for start in starts}
        if len(found) != 1:
            return None
        (name,) = found
        linear = activation_name(self.layers[name]) == "linear"
        return name if self._has_kernel(name) and linear and self._all_pass(name, starts) else None

    def _only_after(self, norm: str) -> str | None:
        """The layer that reads all of `norm` and nothing else, and pads nothing."""
        found = {one.layer for call in self.calls[norm] for one in self.readers.get(call.nodes[0], [])}
        if len(found) != 1:
            return None
        (name,) = found
        layer = self.layers[name]
        if self.kinds[name] is not Kind.CONVOLUTION or type(layer).__name__.endswith("Transpose"):
            return None
        taps = int(np.prod(self.arrays[name]["kernel"].shape[:-2]))
        unpadded = type(layer).__name__ == "Dense" or layer.padding == "valid" or taps == 1
        read = [self._input(call) for call in self.calls[name]]
        return name if unpadded and self._all_pass(norm, read) else None

    def _has_kernel(self, name: str) -> bool:
        layer = self.layers[name]
        known = type(layer).__module__.startswith("tf_keras.") and type(layer).__name__ in CONVOLUTIONS | DEPTHWISE
        return known and getattr(layer, "data_format", "channels_last") == "channels_last"

    def _all_pass(self, name: str, read: Sequence[str]) -> bool:
        """Whether a layer gives nothing but what one other layer reads, `read`, each output once."""
        made = [call.nodes[0] for call in self.calls[name]]
        return sorted(made) == sorted(read) and all(self._read_once(node) for node in made)

    def _read_once(self, node: str) -> bool:
        return node not in self.ends and len(self.readers.get(node, [])) == 1

    def _input(self, call: Call) -> str:
        return self.stands_for.get(call.inputs[0], call.inputs[0])

    def _behind_identities(self, node: str) -> str:
        """The node that this one equals at inference, as long as nobody else reads on the way."""
        while (call := self.call_of.get(node)) and type(self.layers[call.layer]).__name__ in IDENTITIES:
            if not self._read_once(node):
                break
            node = self._input(call)
        return node

    def _take_out(self, norm: str) -> None:
        """Readers of `norm` read what it read."""
        for call in self.calls[norm]:
            node, source = call.nodes[0], self._input(call)
            self.stands_for |= {old: source for old, new in self.stands_for.items() if new == node}
            self.stands_for[node] = source
            others = [reader for reader in self.readers[source] if reader is not call]
            self.readers[source] = others + self.readers.get(node, [])
            self.ends |= {source} if node in self.ends else set()

    def _into_before(self, name: str, change: ScaleShift) -> None:
        """conv(x) * scale + shift: the kernel scaled by output channel, the bias moved."""
        kernel = self.arrays[name]["kernel"]
        values = self.weights[kernel.name].astype(np.float64)
        if kernel.out_axis is None:         # depthwise with a multiplier: channel c * multiplier + m
            values = values * change.scale.reshape(values.shape[-2:])
        else:
            shape = [1] * values.ndim
            shape[kernel.out_axis] = -1
            values = values * change.scale.reshape(shape)
        self._set(name, values, self._bias(name, len(change.scale)) * change.scale + change.shift)

    def _into_after(self, name: str, change: ScaleShift) -> None:
        """conv(x * scale + shift) without padding: the kernel scaled by input channel, its sum over shift added."""
        kernel = self.arrays[name]["kernel"]
        values = self.weights[kernel.name].astype(np.float64)
        moved = np.tensordot(values, change.shift, axes=([-2], [0]))        # [taps..., out]
        bias = self._bias(name, values.shape[-1]) + moved.reshape(-1, values.shape[-1]).sum(axis=0)
        self._set(name, values * change.scale[:, None], bias)

    def _bias(self, name: str, channels: int) -> np.ndarray:
        bias = self.arrays[name].get("bias")
        return np.zeros(channels) if bias is None else self.weights[bias.name].astype(np.float64)

    def _set(self, name: str, kernel: np.ndarray, bias: np.ndarray) -> None:
        weight = self.arrays[name]["kernel"]
        self.weights[weight.name] = kernel.astype(np.float32)
        self.weights[f"{name}/bias"] = bias.astype(np.float32)
        if "bias" not in self.arrays[name]:
            self.arrays[name]["bias"] = Weight(
                name=f"{name}/bias", shape=bias.shape, out_axis=0, in_axis=None, role="bias"
            )
        self.specs[name] = self.specs[name].changed(use_bias=True)

    def _as_depthwise(self, norm: str, change: ScaleShift) -> None:
        """A kernel of one tap and one bias for each channel, where Keras has such a layer."""
        rank = self.ranks[norm]
        if rank not in ONE_BY_ONE:
            return
        old = self.specs[norm].config
        config = {"name": norm, "trainable": old["trainable"], "dtype": old["dtype"], "kernel_size": 1}
        for weight in self.arrays[norm].values():
            del self.weights[weight.name]
        kernel = change.scale.reshape(*[1] * (rank - 1), -1, 1)
        self.weights[f"{norm}/depthwise_kernel"] = kernel.astype(np.float32)
        self.weights[f"{norm}/bias"] = change.shift.astype(np.float32)
        self.specs[norm] = LayerSpec(cls=ONE_BY_ONE[rank], config=config)
        self.depthwise.add(norm)
