"""The model, opened and trainable: what the door names. Runs in mlopt's workers alone."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import LabelLoss
from mlopt.grid import ActivationGrid
from mlopt.location import ModelLocation
from mlopt.model import LayerFacts, Signature, SourceModel, TensorSpec
from mlopt.network import Kept, Kind, Network, Node, Weight, Weights
from mlopt.scheme import IntegerFormat
from mlopt_linear.file import read, write

KERNEL, BIAS = "dense/kernel", "dense/bias"


def open_model(location: ModelLocation) -> "OpenedModel":
    return OpenedModel(location, open_trainable(location))


def open_trainable(location: ModelLocation) -> "LinearModel":
    return LinearModel(*read(location.path))


class LinearModel:
    """`mlopt.frameworks.protocol.TrainableModel`: one dense layer from input `x` to output `y`."""

    output_activations = ("linear",)

    def __init__(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        self.kernel, self.bias = kernel, bias
        inputs, outputs = kernel.shape
        self.signature = Signature(
            inputs=(TensorSpec(name="x", shape=(None, inputs), dtype="float32", layout="NC"),),
            outputs=(TensorSpec(name="y", shape=(None, outputs), dtype="float32", layout="NC"),),
        )

    @property
    def network(self) -> Network:
        inputs, outputs = self.kernel.shape
        weights = (
            Weight(name=KERNEL, shape=(inputs, outputs), out_axis=1, in_axis=0, role="kernel"),
            Weight(name=BIAS, shape=(outputs,), out_axis=0, in_axis=None, role="bias"),
        )
        return Network(outputs=("dense",), nodes=(
            Node(name="x", kind=Kind.INPUT, op="Input", inputs=(), shape=(inputs,)),
            Node(name="dense", kind=Kind.CONVOLUTION, op="Dense", inputs=("x",), shape=(outputs,), weights=weights,
                 macs=inputs * outputs),
        ))  # fmt: skip

    def weights(self) -> dict[str, np.ndarray]:
        return {KERNEL: self.kernel.copy(), BIAS: self.bias.copy()}

    def set_weights(self, weights: Weights) -> None:
        self.kernel = np.array(weights.get(KERNEL, self.kernel), np.float32).reshape(self.kernel.shape)
        self.bias = np.array(weights.get(BIAS, self.bias), np.float32).reshape(self.bias.shape)

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"y": inputs["x"].astype(np.float32, copy=False) @ self.kernel + self.bias}

    def activations(self, nodes: Sequence[str], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = {"x": inputs["x"], "dense": self.predict(inputs)["y"]}
        return {node: values[node] for node in nodes}

    def folded(self) -> "LinearModel":
        """There is no normalization to fold."""
        return LinearModel(self.kernel.copy(), self.bias.copy())

    def save(self, folder: Path) -> None:
        folder.mkdir()
        write(folder, self.kernel, self.bias)

    def narrowed(self, kept: Kept) -> NoReturn:
        raise BadRequest("a linear model has no channels between its input and its output that could be cut")

    def without(self, nodes: Sequence[str]) -> NoReturn:
        raise BadRequest("a linear model is one layer, and none can be left out")

    def renamed(self, signature: Signature) -> NoReturn:
        raise BadRequest("the input and the output of a linear model are called x and y")

    def first_order_terms(
        self, samples: Path, output: str, loss: LabelLoss | None, *, count: int, seed: int
    ) -> Iterator[dict[str, np.ndarray]]:
        raise BadRequest("nothing of a linear model can be cut, so nothing is asked of its gradients")

    def on_grid(
        self, activations: Mapping[str, ActivationGrid], kernels: Mapping[str, IntegerFormat], *,
        shared: Sequence[Sequence[str]] = (), learned: Collection[str] = (),
    ) -> NoReturn:
        raise BadRequest("linear models are not trained on a grid; a format quantizes them after training")


class OpenedModel:
    """`mlopt.frameworks.protocol.TrainedModel`."""

    def __init__(self, location: ModelLocation, model: LinearModel) -> None:
        self.model, parameters = model, model.network.parameters
        inputs, outputs = model.kernel.shape
        layer = LayerFacts(
            name="dense", kind="Dense", parameters=parameters, macs=inputs * outputs, output_shape=(None, outputs)
        )
        self.source = SourceModel(
            path=location.path, framework="linear", container="npz", loaded_by="mlopt_linear", digest=location.digest,
            file_bytes=location.size, weight_bytes=4 * parameters, optimizer_bytes=0, parameters=parameters,
            macs=layer.macs, signature=model.signature, output_activations=model.output_activations, layers=(layer,),
        )

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.model.predict(inputs)

    def synthesise(self, count: int, seed: int) -> tuple[dict[str, np.ndarray], str]:
        made = np.random.default_rng(seed).standard_normal((count, self.model.kernel.shape[0]), np.float32)
        return {"x": made}, "Normal noise: a linear model keeps nothing of what its data looked like."
