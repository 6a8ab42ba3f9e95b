"""A Keras model as a flat list of calls: what is edited to change an architecture, and built again from its settings.

Nested models are unrolled ("outer/inner"), and a separable convolution becomes the two layers that it is made of, so
that each kernel belongs to one layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.keras import private
from mlopt.frameworks.keras.layers import output_names
from mlopt.frameworks.keras.network.separable import split
from mlopt.frameworks.keras.quiet import tf, tf_keras


@dataclass(frozen=True)
class Ref:
    """The output of a node, where a call or a model takes it."""

    node: str


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """Enough to build a layer; its name stands in its settings."""

    cls: type
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.config["name"])

    def changed(self, **settings: Any) -> "LayerSpec":
        return replace(self, config={**self.config, **settings})


@dataclass(frozen=True, kw_only=True)
class Call:
    """One use of a layer. The first use of a layer gives the node of its name, the next "name@1", and so on."""

    layer: str
    nodes: tuple[str, ...]              # one for each output tensor: "name", then "name->1", ...
    args: tuple[Any, ...]               # nested, with `Ref` in place of tensors
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the nodes that are read, in order of the arguments."""
        return tuple(leaf.node for leaf in tf.nest.flatten([self.args, dict(self.kwargs)]) if isinstance(leaf, Ref))

    def rewired(self, names: Mapping[str, str]) -> "Call":
        """With other nodes as inputs, where `names` has one."""
        if all(names.get(name, name) == name for name in self.inputs):
            return self
        args, kwargs = filled((self.args, dict(self.kwargs)), {old: Ref(new) for old, new in names.items()})
        return replace(self, args=args, kwargs=kwargs)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """An input, in the order of the signature."""

    name: str                           # of the input layer, and of the node
    shape: tuple[int, ...]              # without the batch
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about a model but the values of its weights."""

    name: str
    inputs: tuple[InputSpec, ...]
    input_structure: Any                # nested `Ref`s, as the model's call takes them
    output_structure: Any
    layers: Mapping[str, LayerSpec]
    calls: tuple[Call, ...]             # each after those that it reads
    customs: Mapping[str, Any] = field(default_factory=dict)     # the user's own classes and functions, by name

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output nodes, in the order of the signature."""
        return tuple(ref.node for ref in tf.nest.flatten(self.output_structure))

    def calls_of(self, layer: str) -> tuple[Call, ...]:
        return tuple(call for call in self.calls if call.layer == layer)

    def call_of(self, node: str) -> Call | None:
        """Who makes this node; None for an input."""
        return next((call for call in self.calls if node in call.nodes), None)

    def readers(self) -> dict[str, list[Call]]:
        """Calls by node that they read."""
        found: dict[str, list[Call]] = {}
        for call in self.calls:
            for name in dict.fromkeys(call.inputs):
                found.setdefault(name, []).append(call)
        return found

    def rewired(self, names: Mapping[str, str]) -> "Plan":
        """Every reader of a node of `names`, the model's outputs included, reads the other node instead."""
        outputs = filled(self.output_structure, {old: Ref(new) for old, new in names.items()})
        return replace(self, calls=tuple(call.rewired(names) for call in self.calls), output_structure=outputs)

    def pruned(self) -> "Plan":
        """Without the calls and layers that no output needs."""
        needed, kept = set(self.outputs), []
        for call in reversed(self.calls):
            if needed & set(call.nodes):
                needed |= set(call.inputs)
                kept.append(call)
        used = {call.layer for call in kept}
        layers = {name: spec for name, spec in self.layers.items() if name in used}
        return replace(self, calls=tuple(reversed(kept)), layers=layers)


def filled(structure: Any, values: Mapping[str, Any]) -> Any:
    """`structure` with every `Ref` that `values` knows by node name replaced."""
    return tf.nest.map_structure(
        lambda leaf: values.get(leaf.node, leaf) if isinstance(leaf, Ref) else leaf, structure
    )


def read(
    model: Any, shapes: Sequence[Sequence[int | None]], customs: Mapping[str, Any]
) -> tuple[Plan, dict[str, list[np.ndarray]]]:
    """The plan of a functional or sequential `tf_keras` model whose inputs have these shapes (batch first).

    With it the values of each layer's weights, in the order of the layer that is built. Raises `BadRequest` for a
    model whose graph is in its code.
    """
    if not _has_graph(model):
        raise BadRequest(
            f"the architecture of {type(model).__name__} {model.name} is in its code; only functional and sequential"
            f" models can be changed layer by layer. Build it with the functional API, or compress it without a recipe."
        )
    reader = _Reader()
    tensors = tf.nest.flatten(model.input)
    inputs = []
    for tensor, shape in zip(tensors, shapes, strict=True):
        name = private.history(tensor).layer.name
        inputs.append(InputSpec(name=name, shape=tuple(int(d or 1) for d in shape[1:]), dtype=tensor.dtype.name))
        reader.node_of[id(tensor)] = Ref(name)
    reader.read(model, "", {})
    plan = Plan(
        name=model.name,
        inputs=tuple(inputs),
        input_structure=reader.refs(model.input),
        output_structure=reader.refs(model.output),
        layers=reader.layers,
        calls=tuple(reader.calls),
        customs=dict(customs),
    )
    return with_output_names(plan, output_names(model)), reader.values


def _in_order(plan: Plan) -> Plan:
    """The calls that outputs need, each right after those that it reads, and the uses of each layer counted anew.

    The order follows from the graph alone: a model that is saved and read again has the same.
    """
    call_of = {node: call for call in plan.calls for node in call.nodes}
    ordered: dict[str, Call] = {}               # by first node
    pending = [call_of[name] for name in reversed(plan.outputs) if name in call_of]
    while pending:
        call = pending[-1]
        missing = [call_of[n] for n in call.inputs if n in call_of and call_of[n].nodes[0] not in ordered]
        if missing:
            pending.extend(reversed(missing))
        else:
            ordered.setdefault(pending.pop().nodes[0], call)
    renamed: dict[str, str] = {}
    uses: dict[str, int] = {}
    for call in ordered.values():
        names = _node_names(call.layer, uses.get(call.layer, 0), len(call.nodes))
        uses[call.layer] = uses.get(call.layer, 0) + 1
        renamed.update(zip(call.nodes, names, strict=True))
    calls = tuple(
        replace(call.rewired(renamed), nodes=tuple(renamed[name] for name in call.nodes)) for call in ordered.values()
    )
    outputs = filled(plan.output_structure, {old: Ref(new) for old, new in renamed.items()})
    return replace(plan, calls=calls, output_structure=outputs, layers={name: plan.layers[name] for name in uses})


def _node_names(layer: str, use: int, outputs: int) -> tuple[str, ...]:
    first = f"{layer}@{use}" if use else layer
    return (first, *(f"{first}->{i}" for i in range(1, outputs)))


def with_output_names(plan: Plan, wanted: Sequence[str]) -> Plan:
    """The plan ending in layers of these names: Keras names a model's outputs by them.

    Where a layer of another name makes an output (it stood in a nested model, or was left out), one that does nothing
    follows it. What no output needs is gone, and the rest is in order.
    """
    plan = _in_order(plan)
    if _keras_output_names(plan) == list(wanted):
        return plan
    layers, calls, refs = dict(plan.layers), list(plan.calls), []
    for node, name in zip(plan.outputs, wanted, strict=True):
        call = plan.call_of(node)
        fits = (call.layer if call else node) == name
        if not fits and name not in layers:
            layers[name] = LayerSpec(cls=tf_keras.layers.Activation, config={"name": name, "activation": "linear"})
            calls.append(Call(layer=name, nodes=(name,), args=(Ref(node),)))
            node = name     # noqa: PLW2901
        refs.append(Ref(node))
    structure = tf.nest.pack_sequence_as(plan.output_structure, refs)
    return _in_order(replace(plan, layers=layers, calls=tuple(calls), output_structure=structure))


def _keras_output_names(plan: Plan) -> list[str]:
    """As Keras makes them: the layers' names, the second of its kind with "_1"."""
    found: list[str] = []
    for node in plan.outputs:
        call = plan.call_of(node)
        base = name = call.layer if call else node
        count = 0
        while name in found:
            count += 1
            name = f"{base}_{count}"
        found.append(name)
    return found


class _Reader:
    """Walks the nodes of a model and of the models in it."""

    def __init__(self) -> None:
        self.node_of: dict[int, Ref] = {}           # by id of a symbolic tensor
        self.names: dict[int, str] = {}             # of layers, by their id
        self.uses: dict[str, int] = {}
        self.layers: dict[str, LayerSpec] = {}
        self.parts: dict[str, tuple[str, ...]] = {}  # of what stands for a layer, its own name last
        self.values: dict[str, list[np.ndarray]] = {}
        self.calls: list[Call] = []

    def refs(self, structure: Any) -> Any:
        return tf.nest.map_structure(lambda leaf: self.node_of.get(id(leaf), leaf), structure)

    def read(self, model: Any, prefix: str, forced: Mapping[str, Any]) -> None:
        """`forced` holds the "training" that an outer call fixed."""
        for node in private.nodes(model):
            if node.is_input:
                continue
            args, kwargs = self.refs(tuple(node.call_args)), self.refs(dict(node.call_kwargs))
            if private.takes_training(node.layer) and kwargs.get("training") is None:
                kwargs.update(forced)
            if _has_graph(node.layer):
                outputs = self._inside(node.layer, prefix, args, kwargs)
            else:
                outputs = self._called(node.layer, prefix, args, kwargs, len(tf.nest.flatten(node.outputs)))
            for tensor, ref in zip(tf.nest.flatten(node.outputs), outputs, strict=True):
                self.node_of[id(tensor)] = ref

    def _inside(self, model: Any, prefix: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Ref]:
        """One use of a nested model: its nodes once more, on these inputs."""
        given = args[0] if args else kwargs["inputs"]
        for tensor, ref in zip(tf.nest.flatten(model.inputs), private.reference_inputs(model, given), strict=True):
            self.node_of[id(tensor)] = ref
        training = {key: value for key, value in kwargs.items() if key == "training" and value is not None}
        self.read(model, f"{prefix}{model.name}/", training)
        return [self.node_of[id(tensor)] for tensor in tf.nest.flatten(model.outputs)]

    def _called(
        self, layer: Any, prefix: str, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: int
    ) -> list[Ref]:
        if id(layer) not in self.names:
            self.names[id(layer)] = name = f"{prefix}{layer.name}"
            config = {key: value for key, value in layer.get_config().items() if key != "batch_input_shape"}
            parts = split(type(layer), {**config, "name": name}, [weight.numpy() for weight in layer.weights])
            self.parts[name] = tuple(part.name for part in parts)
            self.layers.update({part.name: LayerSpec(cls=part.cls, config=part.config) for part in parts})
            self.values.update({part.name: part.values for part in parts})
        name = self.names[id(layer)]
        for part in self.parts[name][:-1]:
            args = (self._use(part, args, {}, 1)[0],)
        return self._use(name, args, kwargs, outputs)

    def _use(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: int) -> list[Ref]:
        count = self.uses.get(name, 0)
        self.uses[name] = count + 1
        nodes = _node_names(name, count, outputs)
        self.calls.append(Call(layer=name, nodes=nodes, args=tuple(args), kwargs=dict(kwargs)))
        return [Ref(node) for node in nodes]


def _has_graph(layer: Any) -> bool:
    return isinstance(layer, tf_keras.Model) and private.has_graph(layer)
