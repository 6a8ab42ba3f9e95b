"""Facts read from a network's flat graph: multiply-accumulates by layer, and the activation behind each output."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlopt.frameworks.keras.architecture.names import words
from mlopt.frameworks.keras.quiet import chatter_held, convert_variables_to_constants_v2, function_from_graph_def
from mlopt.model import LayerFacts

# operations whose output is their first input, in other clothes
PASSES_ON = words(
    """
    Identity ReadVariableOp Reshape ExpandDims Squeeze Transpose Cast StopGradient Snapshot EnsureShape
    """
)
ACTIVATIONS = {
    "Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu",
    "Relu6": "relu6", "LeakyRelu": "leaky_relu", "Elu": "elu", "Selu": "selu", "Softplus": "softplus",
    "Softsign": "softsign",
}   # fmt: skip
LINEAR = words(
    """
    BiasAdd Add AddV2 Sub MatMul BatchMatMulV2 Einsum Conv2D Conv3D DepthwiseConv2dNative Conv2DBackpropInput
    FusedBatchNormV3 Mean AvgPool Sum Placeholder
    """
)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A layer, or in a SavedModel a group of variables, as far as it can be told before the graph is read."""

    name: str                             # "outer/inner"
    kind: str                             # "" where unknown
    parameters: int
    output_shape: tuple[int | None, ...]
    handles: frozenset[int]               # id() of the resource handle of each variable
    recurrent_macs: int = 0               # of a loop over time, whose body the flat graph does not show


@dataclass(frozen=True, kw_only=True)
class FlatGraph:
    """A network without functions and variables."""

    function: Any                         # the graph as a function, to be pruned to any of its tensors
    graph: Any                            # tf.Graph
    inputs: dict[str, Any]                # symbolic tensors by the signature's names
    outputs: dict[str, Any]
    owner_of: dict[str, str]              # name of a constant's operation -> name of the owner of that weight


def flatten(concrete: Any, owners: Sequence[Owner], owner_of: Mapping[str, str] | None = None) -> FlatGraph:
    """Inline every function of `concrete`, whose output is a dict, and turn its variables to constants.

    `owner_of` names the owners of constants that are no variables any more. Control edges are dropped: nothing that
    is left has an effect, and they would tie constants to the inputs. Gradients that code gave (swish has one, to save
    memory) are dropped too: they belong to the graph that they were traced in, and the operations have their own.
    """
    with chatter_held():
        frozen = convert_variables_to_constants_v2(concrete)
    definition = frozen.graph.as_graph_def()
    for node in definition.node:
        data = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(data)
        node.attr.pop("_gradient_op_type", None)
    function = function_from_graph_def(definition, [t.name for t in frozen.inputs], [t.name for t in frozen.outputs])
    owner_by_handle = {handle: owner.name for owner in owners for handle in owner.handles}
    found = {
        inside.op.name: owner_by_handle[id(outside)]
        for outside, inside in concrete.graph.captures
        if id(outside) in owner_by_handle
    }
    names = [spec.name for spec in concrete.structured_input_signature[0]]
    outputs = sorted(concrete.structured_outputs)        # as tf.nest flattens a dict
    return FlatGraph(
        function=function,
        graph=function.graph,
        inputs=dict(zip(names, function.inputs, strict=True)),
        outputs=dict(zip(outputs, function.outputs, strict=True)),
        owner_of={**(owner_of or {}), **found},
    )


def layer_facts(flat: FlatGraph, owners: Sequence[Owner]) -> tuple[LayerFacts, ...]:
    """One entry a layer, in the owners' order; work that no layer owns stands last, under its operation's scope."""
    known = {owner.name: owner for owner in owners}
    macs: dict[str, int] = defaultdict(int)
    kinds: dict[str, str] = {}
    shapes: dict[str, tuple[int | None, ...]] = {}
    for op in flat.graph.get_operations():
        work = operation_macs(op)
        name = _owner(op, flat.owner_of, known) if work or op.type.startswith("FusedBatchNorm") else ""
        if name:
            macs[name] += work
            kinds.setdefault(name, op.type)
            shapes.setdefault(name, (None, *_shape(op.outputs[0])[1:]))
    facts = [
        LayerFacts(
            name=owner.name,
            kind=owner.kind or kinds.get(owner.name, "unknown"),
            parameters=owner.parameters,
            macs=owner.recurrent_macs or macs[owner.name],
            output_shape=owner.output_shape or shapes.get(owner.name, ()),
        )
        for owner in owners
    ]
    facts += [
        LayerFacts(name=name, kind=kinds[name], parameters=0, macs=work, output_shape=shapes[name])
        for name, work in macs.items()
        if name not in known and work
    ]
    return tuple(facts)


def operation_macs(op: Any) -> int:
    """Multiply-accumulates of one graph operation, from its static shapes; 0 for what is no product with a sum.

    A shape that is not even known in rank stands inside of a loop over time, which is counted by its layer.
    """
    if any(tensor.shape.rank is None for tensor in (*op.inputs, *op.outputs)):
        return 0
    if op.type in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        kernel = _shape(op.inputs[1])
        taps = kernel[:2] if op.type == "DepthwiseConv2dNative" else kernel[:-1]
        return _product(_shape(_undilated(op))) * _product(taps)
    if op.type in ("Conv2DBackpropInput", "Conv3DBackpropInputV2"):       # inputs: sizes, [..., out, in], images
        return _product(_shape(op.inputs[2])) * _product(_shape(op.inputs[1])[:-1])
    if op.type == "MatMul":
        left = _shape(op.inputs[0])
        return _product(_shape(op.outputs[0])) * _product([left[0 if op.get_attr("transpose_a") else 1]])
    if op.type in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        left = _shape(op.inputs[0])
        return _product(_shape(op.outputs[0])) * _product([left[-2 if op.get_attr("adj_x") else -1]])
    if op.type == "Einsum":
        return einsum_macs(op.get_attr("equation").decode(), [_shape(tensor) for tensor in op.inputs])
    return 0


def einsum_macs(equation: str, shapes: Sequence[Sequence[int | None]]) -> int:
    """The product of all index sizes; 0 for a single operand. A broadcast "..." counts each of its axes once.

    >>> einsum_macs("abc,cde->abde", [(1, 6, 8), (8, 2, 4)])
    384
    >>> einsum_macs("...x,xy->...y", [(1, 6, 8), (8, 4)])
    192
    """
    if len(shapes) < 2:
        return 0
    sizes: dict[str, int] = {}
    for labels, shape in zip(equation.partition("->")[0].split(","), shapes, strict=True):
        plain = labels.replace("...", "")
        spread = len(shape) - len(plain)
        before = labels.partition("...")[0] if "..." in labels else plain
        names = [*before, *(f"...{spread - i}" for i in range(spread)), *plain[len(before):]]
        for name, size in zip(names, shape, strict=True):
            sizes[name] = max(sizes.get(name, 1), size or 1)
    return math.prod(sizes.values())


def activation_of(flat: FlatGraph, output: str) -> str:
    """The activation that makes `output`: "softmax", "linear", ...; "unknown" when something else comes last."""
    return applied_to(flat.outputs[output])


def applied_to(tensor: Any) -> str:
    """As `activation_of`, of a tensor in a graph."""
    op = tensor.op
    while op.type in PASSES_ON:
        op = op.inputs[0].op
    if op.type in ACTIVATIONS:
        return ACTIVATIONS[op.type]
    return "linear" if op.type in LINEAR else "unknown"


def _undilated(op: Any) -> Any:
    """The tensor whose size counts: a dilated convolution may run on a picture cut in strips, with padding."""
    consumers = op.outputs[0].consumers()
    cut = op.inputs[0].op.type == "SpaceToBatchND" and len(consumers) == 1 and consumers[0].type == "BatchToSpaceND"
    return consumers[0].outputs[0] if cut else op.outputs[0]


def _owner(op: Any, owner_of: dict[str, str], known: dict[str, Owner]) -> str:
    """Whose weights an operation reads; failing that, in whose scope it stands; failing that, its scope."""
    for tensor in op.inputs:
        source = tensor.op
        while source.type in PASSES_ON and source.name not in owner_of:
            source = source.inputs[0].op
        if source.name in owner_of:
            return owner_of[source.name]
    parts = op.name.split("/")[:-1]
    for end in range(len(parts), 0, -1):
        for start in range(end):
            scope = "/".join(parts[start:end])
            for name in (scope, re.sub(r"_\d+$", "", scope)):
                if name in known:
                    return name
    return "/".join(parts) or op.name


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return tuple(tensor.shape.as_list()) if tensor.shape.rank is not None else ()


def _product(sizes: Sequence[int | None]) -> int:
    """Unknown sizes count as 1: only the batch can be unknown here."""
    return math.prod(size or 1 for size in sizes)
