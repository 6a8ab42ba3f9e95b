"""The file: for each layer a kernel, what it is scaled by, a bias, and the name of an activation."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.errors import ModelUnreadable

ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh", "softmax")
_KINDS = ("float32", "int8")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """activation(x @ (kernel * scale) + bias), x [N, inputs]."""

    kernel: np.ndarray      # float32 or int8 [inputs, outputs]
    scale: np.ndarray       # float32 [outputs]; ones where the kernel is float32
    bias: np.ndarray        # float32 [outputs]
    activation: str         # one of `ACTIVATIONS`


def write(path: Path, layers: Sequence[Layer]) -> None:
    """The same layers are the same bytes: members of a .npz have no time of their own."""
    arrays: dict[str, np.ndarray] = {}
    for number, layer in enumerate(layers):
        arrays |= {
            f"{number}.kernel": layer.kernel, f"{number}.scale": layer.scale, f"{number}.bias": layer.bias,
            f"{number}.activation": np.array(layer.activation),
        }
    with path.open("wb") as file:       # np.savez would add a suffix of its own to a name
        np.savez(file, allow_pickle=False, **arrays)


def read(path: Path) -> list[Layer]:
    """Raises `ModelUnreadable` for what `write` does not write."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise ModelUnreadable(path, "a single array, and no dense network", "Export it again.")
            if any(member.compress_type != zipfile.ZIP_STORED for member in stored.zip.infolist()):
                raise ModelUnreadable(path, "compressed, which this format is not", "Export it again.")
            layers = [
                Layer(
                    kernel=stored[f"{number}.kernel"], scale=stored[f"{number}.scale"], bias=stored[f"{number}.bias"],
                    activation=str(stored[f"{number}.activation"]),
                )
                for number in range(len(stored.files) // 4)
            ]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as err:
        raise ModelUnreadable(path, f"no file of a dense network ({err})", "Export it again.") from err
    for number, layer in enumerate(layers):
        before = layers[number - 1].kernel.shape[-1] if number else None
        if reason := _wrong(layer, before):
            raise ModelUnreadable(path, f"layer {number} {reason}", "Export it again.")
    if not layers:
        raise ModelUnreadable(path, "no layers", "Export it again.")
    return layers


def _wrong(layer: Layer, inputs: int | None) -> str:
    """What is not as it should be; `inputs` is what the layer before gives."""
    if layer.kernel.ndim != 2 or layer.kernel.dtype.name not in _KINDS:
        return f"has a kernel of {layer.kernel.dtype.name} {list(layer.kernel.shape)}"
    if inputs not in (None, layer.kernel.shape[0]):
        return f"takes {layer.kernel.shape[0]} values, and the one before gives {inputs}"
    outputs = layer.kernel.shape[1:]
    if any(array.dtype.name != "float32" or array.shape != outputs for array in (layer.scale, layer.bias)):
        return "has scales or biases that do not fit its kernel"
    return "" if layer.activation in ACTIVATIONS else f"ends in {layer.activation!r}, which is no activation"
