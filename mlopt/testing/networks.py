"""Networks of every kind of node on numpy alone: a builder and an interpreter, for tests of what works on `Network`."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import plain
from mlopt.channels.resizing import resized
from mlopt.location import ModelLocation
from mlopt.model import Signature, TensorSpec
from mlopt.network import Kept, Kind, Network, Node, Weight, Weights

ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),          # makes 0.5 of 0: what is cut is not what is 0
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
}


class Builder:
    """Nodes one after the other; each method gives the name of the new node. Kernels are 1x1: [in, out]."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: dict[str, Node] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def input(self, *shape: int) -> str:
        return self._add(Kind.INPUT, "Input", (), shape)

    def convolution(
        self, x: str, channels: int, activation: str = "linear", bias: bool = True, like: str | None = None
    ) -> str:
        """`like`: a node whose weights are used here too."""
        name, incoming = self._name(Kind.CONVOLUTION), self.nodes[x].channels
        if like is not None:
            weights = self.nodes[like].weights
        else:
            weights = (self._weight(f"{name}/kernel", (incoming, channels), 1, 0, "kernel"),)
            weights += (self._weight(f"{name}/bias", (channels,), 0, None, "bias"),) if bias else ()
        shape = (*self.nodes[x].shape[:-1], channels)
        macs = int(np.prod(shape[:-1])) * incoming * channels
        return self._add(Kind.CONVOLUTION, "Conv1x1", (x,), shape, weights, macs=macs, activation=activation)

    def depthwise(self, x: str, multiplier: int = 1) -> str:
        """The kernel is [in, multiplier]."""
        name, before = self._name(Kind.DEPTHWISE), self.nodes[x]
        shape = (*before.shape[:-1], before.channels * multiplier)
        weights = (
            self._weight(f"{name}/kernel", (before.channels, multiplier), 1, 0, "kernel"),
            self._weight(f"{name}/bias", shape[-1:], 0, None, "bias"),
        )
        return self._add(
            Kind.DEPTHWISE, "Depthwise", (x,), shape, weights, macs=int(np.prod(shape)), multiplier=multiplier
        )

    def normalization(self, x: str) -> str:
        name, before = self._name(Kind.NORMALIZATION), self.nodes[x]
        weights = tuple(
            self._weight(f"{name}/{role}", (before.channels,), 0, None, role)
            for role in ("gamma", "beta", "mean", "variance")
        )
        return self._add(Kind.NORMALIZATION, "Norm", (x,), before.shape, weights)

    def passing(self, x: str, activation: str = "relu") -> str:
        return self._add(Kind.PASS, "Activation", (x,), self.nodes[x].shape, activation=activation)

    def pooling(self, x: str) -> str:
        """The mean over the picture, [1, 1, C]."""
        shape = self.nodes[x].shape
        return self._add(Kind.PASS, "Mean", (x,), (*(1 for _ in shape[:-1]), shape[-1]))

    def add(self, *inputs: str) -> str:
        return self._together(Kind.ADD, inputs)

    def multiply(self, *inputs: str) -> str:
        return self._together(Kind.MULTIPLY, inputs)

    def concat(self, *inputs: str) -> str:
        shapes = [self.nodes[name].shape for name in inputs]
        return self._add(Kind.CONCAT, "Concat", inputs, (*shapes[0][:-1], sum(shape[-1] for shape in shapes)))

    def flatten(self, x: str) -> str:
        return self._add(Kind.FLATTEN, "Flatten", (x,), (int(np.prod(self.nodes[x].shape)),))

    def other(self, x: str) -> str:
        """Channels in the reverse order."""
        return self._add(Kind.OTHER, "Reverse", (x,), self.nodes[x].shape, note="turns channels round")

    def model(self, *outputs: str) -> "NumpyModel":
        return NumpyModel(Network(nodes=tuple(self.nodes.values()), outputs=outputs), self.arrays)

    def _together(self, kind: Kind, inputs: tuple[str, ...]) -> str:
        shape = np.broadcast_shapes(*(self.nodes[name].shape for name in inputs))
        return self._add(kind, kind.capitalize(), inputs, tuple(shape))

    def _weight(self, name: str, shape: tuple[int, ...], out: int | None, into: int | None, role: str) -> Weight:
        values = self.random.normal(0, 1 / np.sqrt(shape[0]) if role == "kernel" else 0.3, shape)
        self.arrays[name] = np.asarray(np.abs(values) + 0.5 if role in ("gamma", "variance") else values)
        return Weight(name=name, shape=shape, out_axis=out, in_axis=into, role=role,
                      trainable=role not in ("mean", "variance"))

    def _name(self, kind: Kind) -> str:
        return f"{kind}{len(self.nodes)}"

    def _add(
        self, kind: Kind, op: str, inputs: tuple[str, ...], shape: tuple[int, ...], weights: tuple[Weight, ...] = (),
        *, macs: int = 0, multiplier: int = 1, activation: str = "linear", note: str = "",
    ) -> str:
        name = self._name(kind)
        self.nodes[name] = Node(
            name=name, kind=kind, op=op, inputs=inputs, shape=shape, weights=weights, macs=macs, multiplier=multiplier,
            activation=activation, note=note,
        )
        return name


@dataclass
class NumpyModel:
    """What steps ask of a `TrainableModel`, except training."""

    network: Network
    arrays: Mapping[str, np.ndarray]

    @property
    def signature(self) -> Signature:
        def spec(node: Node) -> TensorSpec:
            return TensorSpec(name=node.name, shape=(None, *node.shape), dtype="float32", layout="?")

        inputs = tuple(spec(node) for node in self.network.nodes if node.kind is Kind.INPUT)
        return Signature(inputs=inputs, outputs=tuple(spec(self.network.node(name)) for name in self.network.outputs))

    framework = "numpy"         # no door has that name: nothing else opens it

    @property
    def output_activations(self) -> tuple[str, ...]:
        return tuple(self.network.node(name).activation for name in self.network.outputs)

    def weights(self) -> dict[str, np.ndarray]:
        return {name: np.array(array) for name, array in self.arrays.items()}

    def set_weights(self, weights: Weights) -> None:
        assert all(self.arrays[name].shape == array.shape for name, array in weights.items())
        self.arrays = {**self.arrays, **weights}

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.activations(self.network.outputs, inputs)

    def activations(self, nodes: Sequence[str], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {}
        for node in self.network.nodes:
            before = [values[name] for name in node.inputs]
            value = inputs[node.name] if node.kind is Kind.INPUT else self._value(node, before)
            assert value.shape[1:] == node.shape, f"{node.name} gives {value.shape[1:]}, not {node.shape}"
            values[node.name] = ACTIVATIONS[node.activation](value)
        return {name: values[name] for name in nodes}

    def first_order_terms(
        self, samples: Path, output: str, loss: object, *, count: int, seed: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """One batch, of a loss whose gradient is each weight itself."""
        trainable = [name for name, weight in self.network.weights().items() if weight.trainable]
        yield {name: self.arrays[name] ** 2 for name in trainable}

    def narrowed(self, kept: Kept) -> "NumpyModel":
        arrays = dict(self.arrays)
        for name, axes in kept.items():
            for axis, indices in axes.items():
                arrays[name] = np.take(arrays[name], indices, axis)
        return NumpyModel(resized(self.network, kept), arrays)

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "network.json").write_text(json.dumps(plain.to_plain(self.network)))
        np.savez(folder / "weights.npz", allow_pickle=False, **self.arrays)

    @classmethod
    def open(cls, location: ModelLocation) -> "NumpyModel":
        folder = location.path
        network = plain.from_plain(json.loads((folder / "network.json").read_text()), Network)
        with np.load(folder / "weights.npz") as stored:
            return cls(network, {name: stored[name] for name in stored.files})

    def with_activation(self, node: str, activation: str) -> "NumpyModel":
        nodes = tuple(replace(n, activation=activation) if n.name == node else n for n in self.network.nodes)
        return NumpyModel(replace(self.network, nodes=nodes), self.arrays)

    def _value(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        own = {weight.role: self.arrays[weight.name] for weight in node.weights}
        match node.kind:
            case Kind.CONVOLUTION:
                return inputs[0] @ own["kernel"] + own.get("bias", 0.0)
            case Kind.DEPTHWISE:
                return (inputs[0][..., None] * own["kernel"]).reshape(-1, *node.shape) + own["bias"]
            case Kind.NORMALIZATION:
                return (inputs[0] - own["mean"]) / np.sqrt(own["variance"] + 1e-3) * own["gamma"] + own["beta"]
            case Kind.ADD:
                return sum(inputs[1:], start=inputs[0])
            case Kind.MULTIPLY:
                return np.asarray(np.prod(np.broadcast_arrays(*inputs), axis=0))
            case Kind.CONCAT:
                return np.concatenate(inputs, axis=-1)
            case Kind.FLATTEN:
                return inputs[0].reshape(len(inputs[0]), -1)
            case Kind.PASS if node.op == "Mean":
                return inputs[0].mean(axis=tuple(range(1, inputs[0].ndim - 1)), keepdims=True)
            case Kind.PASS:
                return inputs[0]
        return inputs[0][..., ::-1]


def random_model(pick: Callable[[Sequence[Any]], Any]) -> NumpyModel:
    """Residual, gated, concatenated, shared and flattened things in any order; `pick` chooses one of a sequence."""
    b = Builder(seed=pick(range(100)))
    pictures, vectors = [b.input(2, 2, pick((1, 2, 3)))], list[str]()

    def share(x: str) -> str:
        made = [n for n in b.nodes.values() if n.kind is Kind.CONVOLUTION and n.name not in vectors]
        like = [n for n in made if n.weights[0].shape[0] == b.nodes[x].channels]
        return b.convolution(x, (chosen := pick(like)).channels, like=chosen.name) if like else b.normalization(x)

    makers: Mapping[str, Callable[[str], str]] = {
        "convolution": lambda x: b.convolution(
            x, pick(range(1, 6)), pick(("linear", "relu", "sigmoid")), bias=pick((True, False))
        ),
        "depthwise": lambda x: b.depthwise(x, pick((1, 2))),
        "normalization": b.normalization,
        "activation": lambda x: b.passing(x, pick(("relu", "sigmoid"))),
        "add": lambda x: b.add(x, pick([name for name in pictures if b.nodes[name].shape == b.nodes[x].shape])),
        "gate": lambda x: b.multiply(
            x, b.convolution(b.pooling(x), pick((1, b.nodes[x].channels)), "sigmoid")
        ),
        "concat": lambda x: b.concat(x, pick(pictures)),
        "shared": share,
        "other": b.other,
    }
    for _ in range(pick(range(2, 14))):
        made = pick((*makers, "flatten", "dense"))
        x = pick(pictures)
        if made == "flatten" and b.nodes[x].channels < 10:
            vectors.append(b.flatten(x))
        elif made == "dense" and vectors:
            vectors.append(b.convolution(pick(vectors), pick(range(1, 6)), "relu"))
        elif made in makers:
            pictures.append(makers[made](x))
    return b.model(b.convolution(pictures[-1], 2), *(b.convolution(x, 2) for x in vectors[-1:]))
