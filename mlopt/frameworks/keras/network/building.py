"""Build the model of a plan: live layers, the symbolic tensor of every node, every variable by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.frameworks.keras.network.plan import Plan, filled
from mlopt.frameworks.keras.quiet import tf, tf_keras


@dataclass(frozen=True, kw_only=True)
class Built:
    """A plan come alive."""

    model: Any                              # tf_keras.Model, functional and flat
    layers: Mapping[str, Any]               # by name
    tensors: Mapping[str, Any]              # symbolic, by node name
    variables: Mapping[str, Any]            # tf.Variable by weight name, "layer/kernel"
    owned: Mapping[str, tuple[str, ...]]    # weight names by layer, in Keras's order


def build(plan: Plan) -> Built:
    """A fresh model with fresh weights."""
    tensors: dict[str, Any] = {
        spec.name: tf_keras.Input(spec.shape, dtype=spec.dtype, name=spec.name) for spec in plan.inputs
    }
    live: dict[str, Any] = {}
    with tf_keras.utils.custom_object_scope(dict(plan.customs)):
        for call in plan.calls:
            if call.layer not in live:
                spec = plan.layers[call.layer]
                live[call.layer] = spec.cls.from_config(dict(spec.config))      # type: ignore[attr-defined]
            args, kwargs = filled((call.args, dict(call.kwargs)), tensors)
            outputs = tf.nest.flatten(live[call.layer](*args, **kwargs))
            tensors.update(zip(call.nodes, outputs, strict=True))
    inputs, outputs = filled(plan.input_structure, tensors), filled(plan.output_structure, tensors)
    model = tf_keras.Model(inputs, outputs, name=plan.name)
    variables: dict[str, Any] = {}
    owned: dict[str, tuple[str, ...]] = {}
    for name, layer in live.items():
        mine: dict[str, Any] = {}
        for variable in layer.weights:
            mine[_weight_name(name, variable.name, mine)] = variable
        variables.update(mine)
        owned[name] = tuple(mine)
    return Built(model=model, layers=live, tensors=tensors, variables=variables, owned=owned)


def assign(built: Built, weights: Mapping[str, np.ndarray]) -> None:
    """Give variables their values by name; raises `ValueError` for an unknown name or another shape."""
    for name, value in weights.items():
        if name not in built.variables:
            raise ValueError(f"the model has no weight {name}; it has {', '.join(built.variables)}")
        wanted = tuple(built.variables[name].shape)
        if tuple(value.shape) != wanted:
            raise ValueError(f"the weight {name} has the shape {list(wanted)}; got {list(value.shape)}")
        built.variables[name].assign(value)
    for layer in built.layers.values():
        layer.finalize_state()          # a few hold what follows from their weights


def _weight_name(layer: str, variable: str, taken: Mapping[str, Any]) -> str:
    """Such as "layer/kernel"; what a layer's own layers hold keeps their names, "attention/query/kernel".

    >>> _weight_name("a/conv", "a/conv/kernel:0", {}), _weight_name("lstm", "lstm/lstm_cell/bias:0", {})
    ('a/conv/kernel', 'lstm/lstm_cell/bias')
    """
    plain = variable.removesuffix(":0")
    inner = plain.partition(f"{layer}/")[2] or plain.rpartition("/")[2]
    name, count = f"{layer}/{inner}", 0
    while name in taken:
        count += 1
        name = f"{layer}/{inner}_{count}"
    return name
