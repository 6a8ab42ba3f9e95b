"""An ONNX graph that is easy to edit: nodes in order, constants as arrays. How a file is read and written safely."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # comes with onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from mlopt.errors import ModelUnreadable

OPSET = 17  # LayerNormalization is in it, and every ONNX Runtime since 1.12 (2022) reads it
IR_VERSION = 8  # the IR version of that opset
PROBES = 1009, 2003  # batch sizes, prime and unlike any size in a model, at which shapes are inferred
MOST_SHAPE_ENTRIES = 64  # a longer vector of integers is data and no shape
MOST_BYTES = 2**31 - 1  # what one protobuf message can hold

Shape = tuple[int | str | None, ...]  # a size; "N" or "3N" where it grows with the batch; None where unknown


class Graph:
    """Nodes in topological order, constants by name, and typed inputs and outputs.

    Editing is by replacing entries of `nodes` and `constants`. `held` are names that nodes with a body (If, Loop)
    reach for from inside: such tensors keep their name and are never removed.
    """

    def __init__(
        self,
        *,
        nodes: Iterable[NodeProto],
        constants: dict[str, np.ndarray],
        inputs: Sequence[ValueInfoProto],
        outputs: Sequence[ValueInfoProto],
        opset: int = OPSET,
    ) -> None:
        self.nodes = list(nodes)
        self.constants = constants
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.opset = opset
        self._shapes: tuple[tuple[bytes, ...], dict[str, Shape]] | None = None
        self.held = frozenset(name for node in self.nodes for name in captured(node))

    @classmethod
    def of(cls, model: ModelProto) -> "Graph":
        graph = model.graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        nodes = []
        for node in graph.node:
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if node.op_type == "Constant" and value is not None:
                constants[node.output[0]] = numpy_helper.to_array(value)
            else:
                nodes.append(copy_of(node))
        opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        inputs = [i for i in graph.input if i.name not in constants]
        return cls(nodes=nodes, constants=constants, inputs=inputs, outputs=list(graph.output), opset=opset)

    @property
    def output_names(self) -> list[str]:
        return [o.name for o in self.outputs]

    def producers(self) -> dict[str, NodeProto]:
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[NodeProto]]:
        found: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                if name:
                    found[name].append(node)
        return found

    def uses(self) -> Counter[str]:
        """How often each tensor is read; an output of the graph, or a name held by a body, counts as a reading."""
        count = Counter(name for node in self.nodes for name in node.input if name)
        count.update(self.output_names)
        count.update(self.held)
        return count

    def rename(self, old: str, new: str) -> None:
        """Every reader of `old` reads `new` instead."""
        for node in self.nodes:
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new

    def model(self, *, value_info: Sequence[ValueInfoProto] = ()) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "mlopt",
            self.inputs,
            self.outputs,
            [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in self.constants.items()],
            value_info=value_info,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(d, 1) for d in sorted({n.domain for n in self.nodes} - {"", "ai.onnx"})]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def shapes(self) -> dict[str, Shape]:
        """Shape of every tensor that inference knows: sizes, or "3N" for three times the batch, or None.

        Inference runs at two batch sizes; a size that grows with the batch is told by its ratio. It loses track of a
        free batch at the first Reshape, but not of a number.
        """
        key = tuple(n.SerializeToString(deterministic=True) for n in self.nodes)
        if self._shapes is None or self._shapes[0] != key:
            few, many = (self._shapes_at(batch) for batch in PROBES)
            self._shapes = key, {n: _grown(few[n], many[n]) for n in few if n in many and len(few[n]) == len(many[n])}
        known = self._shapes[1]
        known.update((name, array.shape) for name, array in self.constants.items())
        return known

    def _shapes_at(self, batch: int) -> dict[str, tuple[int | None, ...]]:
        inputs = []
        for port in self.inputs:
            fixed = ValueInfoProto()
            fixed.CopyFrom(port)
            fixed.type.tensor_type.shape.dim[0].dim_value = batch
            inputs.append(fixed)
        outputs = [helper.make_tensor_value_info(o.name, o.type.tensor_type.elem_type, None) for o in self.outputs]
        inferred = self._typed_only(inputs, outputs, data_prop=True)
        return {
            info.name: tuple(d.dim_value if d.HasField("dim_value") else None for d in info.type.tensor_type.shape.dim)
            for info in (*inferred.input, *inferred.value_info, *inferred.output)
            if info.type.tensor_type.HasField("shape")
        }

    def types(self) -> dict[str, int]:
        """Inferred element type (a TensorProto number) of every tensor."""
        inferred = self._typed_only(self.inputs, self.outputs, data_prop=False)
        known: dict[str, int] = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in self.constants.items()}
        known.update(
            (i.name, i.type.tensor_type.elem_type) for i in (*inferred.input, *inferred.value_info, *inferred.output)
        )
        return known

    def _typed_only(
        self, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto], *, data_prop: bool
    ) -> onnx.GraphProto:
        """Inference on the graph with its large constants as inputs of their shape: their values play no part."""
        large = {n: a for n, a in self.constants.items() if a.size > MOST_SHAPE_ENTRIES}
        stand_ins = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in large.items()
        ]
        light = Graph(
            nodes=self.nodes,
            constants={n: a for n, a in self.constants.items() if n not in large},
            inputs=[*inputs, *stand_ins],
            outputs=outputs,
            opset=self.opset,
        )
        return onnx.shape_inference.infer_shapes(light.model(), data_prop=data_prop).graph


def _grown(few: tuple[int | None, ...], many: tuple[int | None, ...]) -> Shape:
    """Sizes at two batches -> sizes as functions of the batch.

    >>> _grown((1009, 2 * 1009, 3), (2003, 2 * 2003, 3))
    ('N', '2N', 3)
    """
    return tuple(_grown_size(a, b) for a, b in zip(few, many, strict=True))


def _grown_size(few: int | None, many: int | None) -> int | str | None:
    if few is None or many is None or few == many:
        return few if few == many else None
    if few % PROBES[0] == 0 and few // PROBES[0] * PROBES[1] == many:
        factor = few // PROBES[0]
        return "N" if factor == 1 else f"{factor}N"
    return None


def shape_of(info: ValueInfoProto) -> Shape:
    return tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in info.type.tensor_type.shape.dim
    )


def captured(node: NodeProto) -> set[str]:
    """Names that the bodies of a node (If, Loop, Scan) read; some are their own, which does no harm."""
    names: set[str] = set()
    for attribute in node.attribute:
        for body in [attribute.g] * attribute.HasField("g") + list(attribute.graphs):
            names.update(o.name for o in body.output)
            for inner in body.node:
                names.update(n for n in inner.input if n)
                names |= captured(inner)
    return names


def attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def set_attribute(node: NodeProto, name: str, value: int | Sequence[int]) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def copy_of(node: NodeProto) -> NodeProto:
    new = NodeProto()
    new.CopyFrom(node)
    return new


def read_model(path: Path) -> ModelProto:
    """Parse an ONNX file that may be hostile: nothing outside of it is opened, and damage is a `ModelUnreadable`."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if 0 < size <= MOST_BYTES else b""
    except OSError as err:
        raise ModelUnreadable(path, f"cannot be read ({err.strerror or err})") from err
    if not data:
        raise ModelUnreadable(path, "is empty" if size == 0 else f"has {size} bytes, more than one ONNX file can hold")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as err:
        raise ModelUnreadable(path, "is damaged or not an ONNX file", "Write it again.") from err
    if not model.graph.node or not model.opset_import:
        raise ModelUnreadable(path, "is damaged or not an ONNX file: it holds no operations", "Write it again.")
    outside = sorted({_location(t) for t in _tensors(model.graph) if t.data_location == TensorProto.EXTERNAL})
    if outside:
        raise ModelUnreadable(
            path,
            f"keeps weights in other files ({', '.join(outside[:3])}), which are not opened",
            "Save it as one file.",
        )
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as err:
        raise ModelUnreadable(path, f"is not valid ONNX: {str(err).splitlines()[0]}") from err
    return model


def write_model(model: ModelProto, dest: Path) -> None:
    """The model's bytes, the same in every process for the same model."""
    try:
        dest.write_bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as err:
        raise ModelUnreadable(dest, "would be larger than one ONNX file can hold (2 GiB)") from err


def _location(tensor: TensorProto) -> str:
    return next((e.value for e in tensor.external_data if e.key == "location"), "?")


def _tensors(graph: onnx.GraphProto) -> Iterable[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
            for sparse in [attribute.sparse_tensor] * attribute.HasField("sparse_tensor"):
                yield from (sparse.values, sparse.indices)
            for body in [attribute.g] * attribute.HasField("g") + list(attribute.graphs):
                yield from _tensors(body)
