"""Read the channel graph of steps out of a built plan."""

import math
from collections.abc import Sequence
from typing import Any

from mlopt.frameworks.keras.graph import flatten, operation_macs
from mlopt.frameworks.keras.layers import _recurrent_macs as recurrent_macs
from mlopt.frameworks.keras.network.building import Built
from mlopt.frameworks.keras.network.kinds import CONVOLUTIONS, DEPTHWISE, NORMALIZATIONS, Role, keeps_range, role
from mlopt.frameworks.keras.network.plan import Call, Plan, filled
from mlopt.frameworks.keras.quiet import tf
from mlopt.network import Kind, Network, Node, Weight

ROLES = {"gamma": "gamma", "beta": "beta", "moving_mean": "mean", "moving_variance": "variance", "bias": "bias"}
MULTIPLYING = ("Dot", "Attention", "AdditiveAttention")     # products of tensors, without weights
Shape = tuple[int, ...]


def network(plan: Plan, built: Built) -> Network:
    """Nodes, their weights and their work."""
    shapes = {name: _shape(tensor) for name, tensor in built.tensors.items()}
    readers = plan.readers()
    nodes = [
        Node(name=spec.name, kind=Kind.INPUT, op="InputLayer", inputs=(), shape=spec.shape) for spec in plan.inputs
    ]
    for call in plan.calls:
        layer = built.layers[call.layer]
        ins = [shapes[name] for name in call.inputs]
        found = role(call, layer, ins, shapes[call.nodes[0]], last=call.nodes[0] not in readers)
        nodes.append(
            Node(
                name=call.nodes[0],
                kind=found.kind,
                op=type(layer).__name__,
                inputs=call.inputs,
                shape=shapes[call.nodes[0]],
                weights=weights_of(call.layer, layer, shapes[call.nodes[0]], built),
                macs=macs(call, layer, ins, shapes[call.nodes[0]], built),
                multiplier=found.multiplier,
                activation=found.activation,
                keeps_range=keeps_range(layer),
                note=found.note,
            )
        )
        nodes += [_further(call, name, shapes[name], found) for name in call.nodes[1:]]
    return Network(nodes=tuple(nodes), outputs=plan.outputs)


def _further(call: Call, name: str, shape: Shape, found: Role) -> Node:
    """One of several outputs of a layer, after its first."""
    return Node(name=name, kind=Kind.OTHER, op="output", inputs=(call.nodes[0],), shape=shape, note=found.note)


def weights_of(name: str, layer: Any, out: Shape, built: Built) -> tuple[Weight, ...]:
    """A layer's weights with the axes that run over its channels, as Keras stores them; `out` is its output's shape."""
    trainable = {id(variable) for variable in layer.trainable_weights}
    found = []
    for weight in built.owned[name]:
        variable = built.variables[weight]
        shape = tuple(int(size) for size in variable.shape)
        tail = weight.rpartition("/")[2]
        part = "kernel" if tail.endswith("kernel") else ROLES.get(tail, "other")
        out_axis, in_axis = _axes(layer, tail, shape, out)
        found.append(
            Weight(
                name=weight, shape=shape, out_axis=out_axis, in_axis=in_axis, role=part,
                trainable=id(variable) in trainable,
            )
        )  # fmt: skip
    return tuple(found)


def _axes(layer: Any, tail: str, shape: Shape, out: Shape) -> tuple[int | None, int | None]:
    """(output axis, input axis) of one array.

    Source: Keras stores [taps..., in, out], transposed convolutions [taps..., out, in], depthwise ones
    [taps..., in, multiplier]: there the input axis is the output axis as well where the multiplier is 1.
    """
    kind, rank = type(layer).__name__, len(shape)
    if kind in CONVOLUTIONS:
        if tail != "kernel":
            return 0, None
        return (rank - 2, rank - 1) if kind.endswith("Transpose") else (rank - 1, rank - 2)
    if kind in DEPTHWISE:
        if tail == "bias":
            return 0, None
        return (rank - 2 if shape[-1] == 1 else None), rank - 2
    if kind in NORMALIZATIONS and rank == 1:
        return 0, None
    if kind == "PReLU" and shape[-1] == out[-1]:
        return rank - 1, None
    return None, None


def macs(call: Call, layer: Any, ins: Sequence[Shape], out: Shape, built: Built) -> int:
    """Multiply-accumulates of one call for one sample, counted as `graph.operation_macs` counts."""
    kind = type(layer).__name__
    if kind in CONVOLUTIONS:
        kernel = tuple(layer.kernel.shape)
        if kind.endswith("Transpose"):
            return math.prod(ins[0]) * math.prod(kernel[:-1])
        return math.prod(out) * math.prod(kernel[:-1])
    if kind in DEPTHWISE:
        return math.prod(out) * math.prod(layer.depthwise_kernel.shape[:-2])
    heavy = any(len(weight.shape) > 1 for weight in layer.weights) and kind not in ("Embedding", "PReLU")
    multiplies = kind in MULTIPLYING or any(word in str(getattr(layer, "name", "")) for word in ("matmul", "einsum"))
    if not heavy and not multiplies:
        return 0
    return recurrent_macs(layer) or _traced_macs(call, layer, built)


def _traced_macs(call: Call, layer: Any, built: Built) -> int:
    """From the operations that the layer puts into a graph."""
    names = list(dict.fromkeys(call.inputs))
    specs = [
        tf.TensorSpec((1, *_shape(built.tensors[name])), built.tensors[name].dtype, name=f"x{i}")
        for i, name in enumerate(names)
    ]

    @tf.function(input_signature=specs, autograph=False)
    def alone(*tensors: Any) -> dict[str, Any]:
        args, kwargs = filled((call.args, dict(call.kwargs)), dict(zip(names, tensors, strict=True)))
        outputs = tf.nest.flatten(layer(*args, **kwargs))
        return {f"y{i}": tf.identity(output) for i, output in enumerate(outputs)}

    graph = flatten(alone.get_concrete_function(), ()).graph
    return sum(operation_macs(operation) for operation in graph.get_operations())


def _shape(tensor: Any) -> Shape:
    return tuple(int(size or 1) for size in tensor.shape[1:])

