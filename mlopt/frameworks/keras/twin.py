"""Keras 3 models: loaded, and rebuilt as the `tf_keras` model that computes the same, proven on the same inputs.

Training-time steps need the legacy Keras. Conversion does not: a model that has no twin is used as it is.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mlopt.frameworks.keras import legacy
from mlopt.frameworks.keras.layers import input_structure
from mlopt.frameworks.keras.operations import OPERATIONS
from mlopt.frameworks.keras.quiet import chatter_held, tf, tf_keras
from mlopt.frameworks.keras.sniff import Container, Sniffed

with chatter_held():
    import keras

TOLERANCE = 1e-5     # of the largest output; a different function differs far more, rounding far less
PROOF_ROWS = 4
RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}, "InputLayer": {"batch_shape": "batch_input_shape"}}
UNUSED = ("initializer", "quantization_config", "lora_rank", "lora_alpha", "seed", "synchronized", "renorm")


class NoTwin(Exception):
    """Why a Keras 3 model has no `tf_keras` twin; a reason for the report, no failure of the run."""


def load(sniffed: Sniffed, custom_objects: Mapping[str, Any], *, trust_code: bool) -> tuple[Any, str]:
    """The twin where there is one, else the Keras 3 model, and which of the two it is."""
    model = load_keras_3(sniffed, custom_objects, trust_code=trust_code)
    try:
        made = twin(model)
        prove(model, made)
    except NoTwin as reason:
        return model, f"keras 3 (no tf_keras twin: {reason})"
    return made, "tf_keras twin of keras 3"


def load_keras_3(sniffed: Sniffed, custom_objects: Mapping[str, Any], *, trust_code: bool) -> Any:
    """A `keras.Model` from a .keras or .h5 file; losses, metrics and optimizer stay closed."""
    with TemporaryDirectory(prefix="mlopt-") as folder:
        clean = legacy.clean_zip if sniffed.container is Container.KERAS_ZIP else legacy.clean_h5
        path = clean(sniffed, Path(folder))
        return keras.saving.load_model(
            str(path), custom_objects=dict(custom_objects), compile=False, safe_mode=not trust_code
        )


def twin(model: Any) -> Any:
    """The `tf_keras` model with the same layers and weights; raises `NoTwin` saying what has no counterpart."""
    functional = model if not isinstance(model, keras.Sequential) else model._functional
    if not hasattr(functional, "_nodes_by_depth"):
        raise NoTwin(f"{type(model).__name__} is not a functional or sequential model")
    try:
        made = _rebuilt(functional, model.name)
        _copy_weights(model, made)
    except legacy.LOADING_ERRORS as err:
        raise NoTwin(" ".join(str(err).split())[:200]) from err
    return made


def prove(model: Any, made: Any) -> None:
    """Run both on the same seeded inputs; raises `NoTwin` when an output differs by more than `TOLERANCE`."""
    random = np.random.default_rng(0)
    inputs = [_proof_input(model, tensor, random) for tensor in tf.nest.flatten(input_structure(model))]
    wanted = tf.nest.flatten(model(tf.nest.pack_sequence_as(input_structure(model), inputs), training=False))
    got = tf.nest.flatten(made(tf.nest.pack_sequence_as(made.input, inputs), training=False))
    for one, other in zip(wanted, got, strict=True):
        size = max(float(np.abs(one).max()), 1e-6)
        error = float(np.abs(np.asarray(one) - np.asarray(other)).max()) / size
        if not error <= TOLERANCE:
            raise NoTwin(f"the rebuilt model's output differs by {error:.1e} of its size")


def _rebuilt(functional: Any, name: str) -> Any:
    """Call a twin of each layer and operation in the order of the graph."""
    done: dict[int, Any] = {}
    made: dict[int, Any] = {}
    for tensor in functional.inputs:
        done[id(tensor)] = tf_keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=_input_name(tensor))
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in functional._nodes_by_depth[depth]:
            if node.is_input:
                continue
            operation = node.operation
            args, kwargs = node.arguments.convert(lambda value: done.get(id(value), value))
            if id(operation) not in made:
                made[id(operation)] = _counterpart(operation)
            outputs = _called(made[id(operation)], operation, args, kwargs)
            for old, new in zip(node.outputs, tf.nest.flatten(outputs), strict=True):
                done[id(old)] = new
    ins = tf.nest.map_structure(lambda tensor: done[id(tensor)], functional._inputs_struct)
    outs = tf.nest.map_structure(lambda tensor: done[id(tensor)], functional._outputs_struct)
    one = isinstance(ins, list | tuple) and len(ins) == 1
    return tf_keras.Model(ins[0] if one else ins, outs, name=name)


def _called(counterpart: Any, operation: Any, args: Any, kwargs: Any) -> Any:
    if not isinstance(counterpart, tf_keras.layers.Layer):
        return counterpart(operation, *args, **kwargs)
    accepted = inspect.signature(counterpart.call).parameters
    passed = {key: value for key, value in kwargs.items() if value is not None and key in accepted}
    missing = {key for key, value in kwargs.items() if value is not None} - passed.keys() - {"training"}
    if missing:
        raise NoTwin(f"{operation.name} is called with {', '.join(sorted(missing))}")
    passed.pop("training", None)
    return counterpart(*args, **passed)


def _counterpart(operation: Any) -> Any:
    """A fresh legacy layer, a nested twin, or the function that stands for a keras.ops operation."""
    kind = type(operation).__name__
    if isinstance(operation, keras.Model):
        return twin(operation)
    if not isinstance(operation, keras.layers.Layer):
        if kind not in OPERATIONS:
            raise NoTwin(f"keras.ops {kind} ({operation.name}) has no counterpart")
        return OPERATIONS[kind]
    cls = getattr(tf_keras.layers, kind, None)
    if cls is None or not type(operation).__module__.startswith("keras."):
        raise NoTwin(f"{kind} ({operation.name}) has no counterpart in tf_keras")
    return cls(**_legacy_config(operation.get_config(), cls))


def _legacy_config(config: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """A layer's settings as the legacy class takes them; a setting that it does not know must be at rest."""
    accepted: set[str] = set()
    for base in cls.__mro__:
        if base is tf_keras.layers.Layer:
            break
        accepted |= set(inspect.signature(base.__init__).parameters)   # type: ignore[misc]  # each base's own
    accepted |= {"name", "trainable", "dtype"}
    renamed = RENAMED.get(cls.__name__, {})
    settings = {}
    for key, value in config.items():
        known = renamed.get(key, key)
        if known.endswith("initializer") or known == "dtype":
            continue                                   # the weights are copied; twins compute in float32
        if known in accepted:
            settings[known] = _legacy_value(known, value)
        elif value not in (None, False, 0, "auto", {}) and not known.endswith(UNUSED):
            raise NoTwin(f"{cls.__name__} in tf_keras has no setting {key}={value!r}")
    return settings


def _legacy_value(key: str, value: Any) -> Any:
    """Wrapped and nested layers become legacy layers; functions go by name, regularizers and the like by class."""
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    kind, inner = value["class_name"], value.get("config")
    if kind == "function":
        return inner
    if key in ("layer", "forward_layer", "backward_layer", "cell"):
        cls = getattr(tf_keras.layers, kind, None)
        if cls is None:
            raise NoTwin(f"{kind} has no counterpart in tf_keras")
        return cls(**_legacy_config(inner or {}, cls))
    if hasattr(tf_keras.layers, kind) and key.endswith("activation"):
        return getattr(tf_keras.layers, kind)(**_legacy_config(inner or {}, getattr(tf_keras.layers, kind)))
    return {"class_name": kind, "config": {k: _legacy_value(k, v) for k, v in (inner or {}).items()}}


def _copy_weights(model: Any, made: Any) -> None:
    old = {layer.name: layer for layer in model.layers if layer.weights}
    new = {layer.name: layer for layer in made.layers if layer.weights}
    if old.keys() != new.keys():
        raise NoTwin(f"weights in {', '.join(sorted(old.keys() ^ new.keys()))} have no place")
    for name, layer in old.items():
        if isinstance(layer, keras.Model):
            continue                                   # a nested twin has its weights already
        values = [weight.numpy() for weight in layer.weights]
        shapes = [tuple(weight.shape) for weight in new[name].weights]
        if [value.shape for value in values] != shapes:
            raise NoTwin(f"the weights of {name} have other shapes in tf_keras")
        new[name].set_weights(values)


def _input_name(tensor: Any) -> str:
    history = getattr(tensor, "_keras_history", None)
    return history.operation.name if history is not None and history.operation is not None else tensor.name


def _proof_input(model: Any, tensor: Any, random: np.random.Generator) -> Any:
    """A few rows for one input; whole numbers stay below the smallest embedding."""
    shape = (PROOF_ROWS, *(size or 8 for size in tensor.shape[1:]))
    if np.dtype(tensor.dtype).kind in "iu":
        tables = [layer.input_dim for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
        return tf.constant(random.integers(0, min(tables, default=2), shape), tensor.dtype)
    return tf.constant(random.standard_normal(shape), tensor.dtype)

