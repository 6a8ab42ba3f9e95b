"""The file's own runtime, and what it stores."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlopt.artifact import Contract, PortContract, Storage, StoredLayer
from mlopt.errors import ModelUnreadable
from mlopt.model import Signature, TensorSpec
from mlopt_dense.file import Layer, read


def open_runtime(file: Path, signature: Signature) -> "DenseRuntime":
    """Raises `ModelUnreadable` for a damaged file, and for one of another network."""
    layers = read(file)
    (given,), (wanted,) = signature.inputs, signature.outputs
    found, asked = (layers[0].kernel.shape[0], layers[-1].kernel.shape[1]), (given.shape[-1], wanted.shape[-1])
    if found != asked:
        raise ModelUnreadable(file, f"takes and gives {found} values, where the source has {asked}", "Export it again.")
    return DenseRuntime(layers, given, wanted)


class DenseRuntime:
    """See `mlopt.convert.protocol.Runtime`."""

    def __init__(self, layers: list[Layer], given: TensorSpec, wanted: TensorSpec) -> None:
        self.contract = Contract(inputs=(_port(given),), outputs=(_port(wanted),))
        self._layers = [(layer.kernel * layer.scale, layer.bias, layer.activation) for layer in layers]
        self._staged = np.zeros((1, len(self._layers[0][0])), np.float32)

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {self.contract.outputs[0].name: self._run(inputs[self.contract.inputs[0].name])}

    def stage(self, inputs: Mapping[str, np.ndarray]) -> None:
        self._staged = inputs[self.contract.inputs[0].name].astype(np.float32)

    def invoke(self) -> None:
        self._run(self._staged)

    def _run(self, x: np.ndarray) -> np.ndarray:
        for kernel, bias, activation in self._layers:
            x = _activated(x @ kernel + bias, activation)
        return x.astype(np.float32)


def read_storage(file: Path) -> Storage:
    layers = read(file)
    stored = tuple(
        StoredLayer(
            name=f"dense#{number}", op="dense", weight_dtype=layer.kernel.dtype.name, activation_dtype="float32",
            elements=layer.kernel.size, bytes=layer.kernel.nbytes + layer.scale.nbytes,
        )
        for number, layer in enumerate(layers)
    )
    kind, biases = stored[0].weight_dtype, sum(layer.bias.size for layer in layers)
    return Storage(
        weights_by_dtype={kind: sum(layer.elements for layer in stored), "bias": biases},
        ops_by_dtype={"float32": len(layers)}, layers=stored,
        overhead_bytes=file.stat().st_size - sum(layer.bytes for layer in stored) - 4 * biases,
    )


def operations(file: Path) -> list[str]:
    """The names of what a file holds, for `mlopt gate`."""
    return sorted({"dense", *(layer.activation for layer in read(Path(file)))} - {"linear"})


def _activated(x: np.ndarray, name: str) -> np.ndarray:
    if name == "relu":
        return np.maximum(x, 0)
    if name == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-x)))
    if name == "tanh":
        return np.tanh(x)
    if name == "softmax":
        powers = np.exp(x - x.max(-1, keepdims=True))
        return np.asarray(powers / powers.sum(-1, keepdims=True))
    return x


def _port(spec: TensorSpec) -> PortContract:
    return PortContract(name=spec.name, stored_name=spec.name, shape=spec.shape, layout=spec.layout, dtype="float32")
