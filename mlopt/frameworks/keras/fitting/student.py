"""The model that learns: its variables by name, its call by names of the signature, and what its outputs are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mlopt import outputs as what
from mlopt.errors import BadRequest
from mlopt.frameworks.keras import layers as keras_layers
from mlopt.frameworks.keras.fitting.heads import head_of
from mlopt.frameworks.keras.quiet import tf, tf_keras
from mlopt.model import Signature
from mlopt.network import Network
from mlopt.outputs import Head


class Trainee(Protocol):
    """What is trained: `keras_model` computes the network, rounding included where it is on a grid."""

    @property
    def signature(self) -> Signature: ...

    @property
    def network(self) -> Network: ...

    @property
    def output_activations(self) -> tuple[str, ...]: ...

    @property
    def keras_model(self) -> Any: ...

    @property
    def variables(self) -> Mapping[str, Any]:
        """`tf.Variable` by the weight's name in `network`."""
        ...

    def weights(self) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True, kw_only=True)
class Student:
    """A live Keras model and names for all that it holds."""

    model: Any
    signature: Signature
    names: Mapping[str, int]            # of `variables`, by weight name; what the network does not know: by place
    variables: tuple[Any, ...]          # all of them
    trained: tuple[int, ...]            # indices in `variables`
    frozen: tuple[int, ...]             # statistics that the model would move, and must not
    decayed: frozenset[int]             # kernels
    view: Any                           # the model with the outputs of nodes behind its own
    nodes: tuple[str, ...]

    def call(self, inputs: Mapping[str, Any], *, training: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Outputs by name, and what `nodes` give."""
        flat = [
            tf.cast(inputs[spec.name], tensor.dtype)
            for spec, tensor in zip(self.signature.inputs, tf.nest.flatten(self.model.inputs), strict=True)
        ]
        given = tf.nest.pack_sequence_as(keras_layers.input_structure(self.model), flat)
        found = tf.nest.flatten(self.view(given, training=training))
        outputs = {
            spec.name: tf.cast(tensor, tf.float32) if tensor.dtype != tf.float32 else tensor
            for spec, tensor in zip(self.signature.outputs, found, strict=False)
        }
        return outputs, dict(zip(self.nodes, found[len(self.signature.outputs) :], strict=True))

    def weights(self) -> dict[str, np.ndarray]:
        return {name: np.array(self.variables[i].numpy()) for name, i in self.names.items()}

    def values(self) -> list[np.ndarray]:
        return [np.array(variable.numpy()) for variable in self.variables]

    def assign(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)


def student(
    trainee: Trainee, model: Any, tensors: Mapping[str, Any] | None, *, freeze: Sequence[str], nodes: Sequence[str]
) -> Student:
    """`model` is the trainee's own, or one like it made for a strategy: the same weights in the same order.

    `tensors` holds its symbolic tensors by node name, None where it has no graph.
    Raises `BadRequest` for weights and nodes that are not there.
    """
    place = {id(variable): i for i, variable in enumerate(trainee.keras_model.weights)}
    names = {name: place[id(variable)] for name, variable in trainee.variables.items() if id(variable) in place}
    unnamed = sorted(set(place.values()) - set(names.values()))
    names |= {f"{model.weights[i].name.removesuffix(':0')}@{i}": i for i in unnamed}
    unknown = [name for name in freeze if name not in names]
    if unknown:
        raise BadRequest(f"no weight is called {', '.join(unknown)}; the model has {', '.join(names)}")
    held = {names[name] for name in freeze}
    by_id = {id(variable): i for i, variable in enumerate(model.weights)}
    trained = [by_id[id(variable)] for variable in model.trainable_variables]
    moved = {by_id[id(variable)] for variable in model.non_trainable_variables}
    if not set(trained) - held:
        raise BadRequest("no weight is left to train: all are frozen")
    kernels = {name for name, weight in trainee.network.weights().items() if weight.role == "kernel"}
    return Student(
        model=model, signature=trainee.signature, names=names, variables=tuple(model.weights),
        trained=tuple(i for i in trained if i not in held), frozen=tuple(sorted(moved & held)),
        decayed=frozenset(names[name] for name in kernels if name in names),
        view=_with_nodes(model, tensors, nodes), nodes=tuple(nodes),
    )


def _with_nodes(model: Any, tensors: Mapping[str, Any] | None, nodes: Sequence[str]) -> Any:
    if not nodes:
        return model
    found = node_tensors(tensors, nodes, "student")
    return tf_keras.Model(keras_layers.input_structure(model), [*model.outputs, *(found[name] for name in nodes)])


def node_tensors(tensors: Mapping[str, Any] | None, nodes: Sequence[str], who: str) -> Mapping[str, Any]:
    """Symbolic tensors by node name; raises `BadRequest` where the model has no graph, or no such node."""
    if tensors is None:
        raise BadRequest(f"hints and attention need a {who} whose layers can be reached")
    missing = [name for name in nodes if name not in tensors]
    if missing:
        raise BadRequest(f"the {who} has no node {', '.join(missing)}; it has {', '.join(tensors)}")
    return tensors


def heads(one: Student, sample: Mapping[str, np.ndarray], activations: Sequence[str]) -> dict[str, Head]:
    """What each output applies last: by the operation that makes it, else as the proof of files reads `activations`.

    `sample` are inputs as seen; what the outputs give for them decides where the activation is unknown.
    """
    found: dict[str, Head] = {}

    @tf.function(autograph=False)
    def traced(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        outputs, _ = one.call(inputs, training=False)
        found.update({name: head_of(output) for name, output in outputs.items()})
        return outputs

    tensors = {name: tf.constant(array) for name, array in sample.items()}
    outputs = traced.get_concrete_function(tensors)(tensors)
    applied = dict(zip((spec.name for spec in one.signature.outputs), activations, strict=True))
    return {
        name: what.head_of(applied[name], outputs[name].numpy()) if head is Head.PLAIN else head
        for name, head in found.items()
    }
