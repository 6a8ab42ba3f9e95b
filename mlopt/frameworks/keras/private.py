"""What is taken of TensorFlow and of both Keras without their promise: after an upgrade, this file is read again.

Everything here was seen in TensorFlow 2.21.0, tf_keras 2.21.0 and Keras 3.15.1.
"""

from typing import Any

from mlopt.frameworks.keras.quiet import chatter_held, garbage_left, tf

with chatter_held(), garbage_left():
    from tensorflow.python.eager.wrap_function import function_from_graph_def  # a graph back to a function
    from tensorflow.python.framework import op_def_registry  # which attributes an operation has
    from tensorflow.python.framework.config import (  # only to switch it on is public
        disable_op_determinism,
        is_op_determinism_enabled,
    )
    from tensorflow.python.framework.convert_to_constants import (  # variables become constants
        convert_variables_to_constants_v2,
    )
    from tf_keras.src.backend import RandomGenerator  # what dropout and its kin draw from
    from tf_keras.src.saving.serialization_lib import SafeModeScope  # files whose code is trusted

EagerTensor = tf.__internal__.EagerTensor       # a value, where a tensor of a graph has an operation

__all__ = [
    "EagerTensor", "RandomGenerator", "SafeModeScope", "convert_variables_to_constants_v2", "disable_op_determinism",
    "function_from_graph_def", "is_op_determinism_enabled", "op_def_registry",
]  # fmt: skip


def calls_of(layer: Any) -> list[Any]:
    """The nodes of a graph that call this layer; no public name gives the tensors of one call."""
    found: list[Any] = layer._inbound_nodes
    return found


def has_graph(model: Any) -> bool:
    """Whether a model is a graph of layers, and not code."""
    return bool(getattr(model, "_nodes_by_depth", None))


def nodes(model: Any) -> list[Any]:
    """The calls of a model in an order in which each stands after its inputs; no public name gives any."""
    return [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]


def history(tensor: Any) -> Any:
    """The call that made a symbolic tensor; None without one."""
    return getattr(tensor, "_keras_history", None)


def reference_inputs(model: Any, given: Any) -> list[Any]:
    """What a model is called with, in the order of its inputs, however it is nested."""
    found: list[Any] = model._flatten_to_reference_inputs(given)
    return found


def takes_training(layer: Any) -> bool:
    """Whether a layer's call has the argument `training`, its own or one passed on."""
    return bool(getattr(layer, "_expects_training_arg", False))


def functional(sequential: Any) -> Any:
    """The functional model that a Keras 3 `Sequential` keeps."""
    return sequential._functional


def structures(model: Any) -> tuple[Any, Any]:
    """How inputs and outputs of a functional Keras 3 model are nested."""
    return model._inputs_struct, model._outputs_struct


def layers_within(model: Any) -> list[Any]:
    """The layers of a Keras 3 model, those of the models in it too."""
    return list(model._flatten_layers())


def random_generator(layer: Any) -> Any:
    """What a layer draws from; None where it has none."""
    return getattr(layer, "_random_generator", None)


def set_random_generator(layer: Any, generator: Any) -> None:
    """Past Keras's tracking of state, which would take it for a part of the layer."""
    object.__setattr__(layer, "_random_generator", generator)
