"""A Keras model to the float file. Runs in the framework's worker: nothing else of this package sees TensorFlow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tf_keras

from mlopt.artifact import Made
from mlopt.errors import MloptError, UnsupportedOps
from mlopt.frameworks.keras.exportable import TensorFlowModel
from mlopt.model import Signature
from mlopt_dense.file import ACTIVATIONS, Layer, write

_TARGET = "The dense format"
_REMEDY = "It holds one chain of Dense layers, batch normalization behind them, and activations."


def export(model: TensorFlowModel, signature: Signature, dest: Path) -> Made:
    """Raises `UnsupportedOps`, naming the layers, for anything but a chain of dense layers."""
    network = model.trackable
    if not isinstance(network, tf_keras.Model):
        raise MloptError(f"{_TARGET} is written from a model with layers, not from a graph. {_REMEDY}")
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        raise UnsupportedOps(_TARGET, {"several inputs or outputs": [network.name]}, _REMEDY)
    layers: list[Layer] = []
    refused: dict[str, list[str]] = {}
    for layer in network.layers:
        if not _taken(layer, layers):
            refused.setdefault(type(layer).__name__, []).append(layer.name)
    if refused:
        raise UnsupportedOps(_TARGET, refused, _REMEDY)
    write(dest, layers)
    return Made(path=dest)


def _taken(layer: tf_keras.layers.Layer, layers: list[Layer]) -> bool:
    """Whether the format can hold the layer; then it stands at the end of `layers`, or in the last of them."""
    kind = type(layer).__name__
    if len(layer.inbound_nodes) != 1 or len(layer.outbound_nodes) > 1:
        return False                    # shared, or read twice: no chain
    if kind in ("InputLayer", "Dropout"):
        return True
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if activation not in ACTIVATIONS:
        return False
    if kind == "Dense" and len(layer.input.shape) == 2:
        outputs = layer.units
        bias = layer.bias.numpy() if layer.use_bias else np.zeros(outputs, np.float32)
        ones = np.ones(outputs, np.float32)
        layers.append(Layer(kernel=layer.kernel.numpy(), scale=ones, bias=bias, activation=activation))
        return True
    if not layers or layers[-1].activation != "linear":
        return False
    if kind == "Activation":
        layers[-1] = replace(layers[-1], activation=activation)
        return True
    if kind == "BatchNormalization":
        layers[-1] = _folded(layers[-1], layer)
        return True
    return False


def _folded(dense: Layer, norm: tf_keras.layers.BatchNormalization) -> Layer:
    """The dense layer with the batch normalization behind it: both scale and shift each output."""
    step = 1 / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    step = step * norm.gamma.numpy() if norm.scale else step
    shift = (dense.bias - norm.moving_mean.numpy()) * step + (norm.beta.numpy() if norm.center else 0)
    return replace(dense, kernel=(dense.kernel * step).astype(np.float32), bias=shift.astype(np.float32))
