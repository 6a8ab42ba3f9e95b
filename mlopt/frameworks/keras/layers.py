"""What each layer of a Keras model is, legacy Keras and Keras 3 alike: names, sizes, and that weights are finite."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mlopt.errors import ModelUnreadable
from mlopt.frameworks.keras.graph import Owner
from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.keras.sniff import Sniffed


def flattened(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("outer/inner", layer) for every layer that is no model itself, in the model's order; a shared layer once."""
    for layer in model.layers:
        name = f"{prefix}{layer.name}"
        if is_model(layer):
            yield from flattened(layer, f"{name}/")
        elif type(layer).__name__ != "InputLayer":
            yield name, layer


def is_model(layer: Any) -> bool:
    """A nested model; wrappers around one layer (TimeDistributed, Bidirectional) are layers."""
    return any(kind.__name__ == "Model" for kind in type(layer).__mro__)


def owners(model: Any) -> list[Owner]:
    """One owner a layer; weights that the model holds outside of its layers come last, under the model's own name."""
    found, seen = [], set()
    for name, layer in flattened(model):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        found.append(
            Owner(
                name=name,
                kind=type(layer).__name__,
                parameters=sum(math.prod(w.shape) for w in layer.weights),
                output_shape=_output_shape(layer),
                handles=frozenset(id(_variable(w).handle) for w in layer.weights),
                recurrent_macs=_recurrent_macs(layer),
            )
        )
    owned = {handle for owner in found for handle in owner.handles}
    loose = [w for w in model.weights if id(_variable(w).handle) not in owned]
    if loose:
        found.append(
            Owner(
                name=model.name,
                kind=type(model).__name__,
                parameters=sum(math.prod(w.shape) for w in loose),
                output_shape=(),
                handles=frozenset(id(_variable(w).handle) for w in loose),
            )
        )
    return found


def check_weights(sniffed: Sniffed, model: Any) -> None:
    """Raise `ModelUnreadable` for a model without weights, or with weights that are not finite, naming the layers."""
    if not model.weights:
        raise ModelUnreadable(sniffed.path, "the model has no weights", "There is nothing to compress in it.")
    broken = []
    for name, layer in flattened(model):
        for weight in layer.weights:
            values = np.asarray(_variable(weight).numpy())
            if values.dtype.kind not in "fc" and values.dtype.name != "bfloat16":
                continue
            bad = int(values.size - np.isfinite(values.astype(np.float32)).sum())
            if bad:
                broken.append(f"{name} ({bad} of {values.size} in {weight.name.rpartition('/')[2].removesuffix(':0')})")
    if broken:
        raise ModelUnreadable(
            sniffed.path, f"weights are NaN or infinite in {', '.join(broken)}", "Train or save the model again."
        )


def data_format(model: Any) -> str:
    """Of the first layer that has one; "channels_last" where none does."""
    found = (getattr(layer, "data_format", None) for _, layer in flattened(model))
    return next((form for form in found if form), "channels_last")


def ports(structure: Any, names: Sequence[str]) -> list[tuple[str, Any]]:
    """(name, symbolic tensor) of a model's inputs or outputs in tf.nest's order; the keys where it is a plain dict."""
    if isinstance(structure, dict) and not any(tf.nest.is_nested(value) for value in structure.values()):
        return [(key, structure[key]) for key in sorted(structure)]
    return list(zip(names, tf.nest.flatten(structure), strict=True))


def input_structure(model: Any) -> Any:
    """The model's symbolic inputs, nested as its call takes them; a Keras 3 Sequential has only the flat list."""
    return model.inputs[0] if not hasattr(model, "input") and len(model.inputs) == 1 else model.input


def output_structure(model: Any) -> Any:
    return model.outputs[0] if not hasattr(model, "output") and len(model.outputs) == 1 else model.output


def input_names(model: Any) -> list[str]:
    return list(model.input_names) if hasattr(model, "input_names") else [tensor.name for tensor in model.inputs]


def output_names(model: Any) -> list[str]:
    """The names of the layers that end the model."""
    if hasattr(model, "output_names"):
        return list(model.output_names)
    return [model.layers[-1].name]       # a Keras 3 Sequential


def dtype_of(tensor: Any) -> str:
    """Numpy's name of a symbolic tensor's type, in either Keras."""
    return tensor.dtype if isinstance(tensor.dtype, str) else str(tensor.dtype.name)


def real_dtype(tensor: Any) -> str:
    """As `dtype_of`, with every floating type read as float32."""
    name = dtype_of(tensor)
    return "float32" if name.startswith(("float", "bfloat")) else name


def _variable(weight: Any) -> Any:
    """The tf.Variable behind a weight of either Keras."""
    return weight.value if hasattr(weight, "value") and not callable(weight.value) else weight


def _output_shape(layer: Any) -> tuple[int | None, ...]:
    """Of the layer's first call; empty for a layer that was never called on symbolic inputs."""
    try:
        node = layer._inbound_nodes[0]
    except IndexError:
        return ()
    tensors = node.outputs if isinstance(node.outputs, list) and node.outputs else tf.nest.flatten(node.outputs)
    return tuple(None if d is None else int(d) for d in tensors[0].shape)


def _recurrent_macs(layer: Any) -> int:
    """Kernels times steps, for loops over time; 0 for other layers and where the number of steps is unknown.

    Source: each step of LSTM, GRU and SimpleRNN multiplies its input and its state by their kernels once.
    """
    inner = [layer.forward_layer, layer.backward_layer] if type(layer).__name__ == "Bidirectional" else [layer]
    total = 0
    for one in inner:
        if type(one).__name__ not in ("LSTM", "GRU", "SimpleRNN"):
            continue
        if not layer._inbound_nodes:
            continue
        steps = tf.nest.flatten(layer._inbound_nodes[0].input_tensors)[0].shape[1] or 0
        total += steps * sum(math.prod(w.shape) for w in one.weights if len(w.shape) == 2 and "bias" not in w.name)
    return total
