"""ONNX files in ONNX Runtime: outputs for a batch, one timed inference, and where in a file its errors arise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from mlopt.artifact import Contract, PortContract
from mlopt.convert.equalize import unscaled
from mlopt.data.samples import Samples
from mlopt.errors import ModelUnreadable
from mlopt.model import Signature, TensorSpec
from mlopt.ranges import sqnr_db
from mlopt.report import LayerError
from mlopt_onnx.graph import Graph, read_model
from mlopt_onnx.pairs import pairs
from mlopt_onnx.session import open_session
from mlopt_onnx.storage import read_storage

__all__ = ["OnnxRuntime", "layer_errors", "open_runtime", "open_session", "read_storage"]

BATCH = 64  # samples a run: enough to keep the processor busy, small beside the model


def open_runtime(file: Path, signature: Signature) -> "OnnxRuntime":
    """Load `file`, whose inputs and outputs are those of `signature`, in its order."""
    model = read_model(file)
    session = open_session(model.SerializeToString(), name=file)
    if (len(session.get_inputs()), len(session.get_outputs())) != (len(signature.inputs), len(signature.outputs)):
        raise ModelUnreadable(
            file,
            f"has {len(session.get_inputs())} inputs and {len(session.get_outputs())} outputs, where the source has "
            f"{len(signature.inputs)} and {len(signature.outputs)}",
            "Export it again from this source.",
        )
    return OnnxRuntime(session, signature)


class OnnxRuntime:
    """A session that speaks the source's names; see `mlopt.convert.protocol.Runtime`."""

    def __init__(self, session: ort.InferenceSession, signature: Signature) -> None:
        self.session = session
        self.contract = Contract(
            inputs=_ports(signature.inputs, session.get_inputs()),
            outputs=_ports(signature.outputs, session.get_outputs()),
        )
        self._binding = session.io_binding()
        self._staged: list[ort.OrtValue] = []  # keeps the bound arrays alive

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = len(next(iter(inputs.values())))
        parts = [
            self.session.run(None, self._fed({name: array[start : start + BATCH] for name, array in inputs.items()}))
            for start in range(0, rows, BATCH)
        ]
        if not parts:
            return {p.name: np.zeros((0, *(d or 0 for d in p.shape[1:])), np.float32) for p in self.contract.outputs}
        joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return {p.name: real(p, a) for p, a in zip(self.contract.outputs, joined, strict=True)}

    def stage(self, inputs: Mapping[str, np.ndarray]) -> None:
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        self._staged = []
        for name, array in self._fed(inputs).items():
            value = ort.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_input(name, value)
            self._staged.append(value)
        for port in self.contract.outputs:
            self._binding.bind_output(port.stored_name, "cpu")

    def invoke(self) -> None:
        self.session.run_with_iobinding(self._binding)

    def _fed(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {p.stored_name: stored(p, inputs[p.name]) for p in self.contract.inputs}


def stored(port: PortContract, array: np.ndarray) -> np.ndarray:
    """Real numbers as the file takes them."""
    kind = np.dtype(port.dtype)
    if kind.kind in "iu" and (port.scale, port.zero_point) != (1.0, 0):
        limits = np.iinfo(kind)
        array = np.clip(np.rint(array / np.float32(port.scale)) + port.zero_point, limits.min, limits.max)
    return np.ascontiguousarray(array, dtype=kind)


def real(port: PortContract, array: np.ndarray) -> np.ndarray:
    """What the file gives as float32 real numbers."""
    if array.dtype.kind in "iu" and (port.scale, port.zero_point) != (1.0, 0):
        return (array.astype(np.float32) - np.float32(port.zero_point)) * np.float32(port.scale)
    return array.astype(np.float32)


def layer_errors(float_file: Path, file: Path, samples: Samples, limit: int = 64) -> tuple[LayerError, ...]:
    """Signal to noise at every tensor that both files hold, on the first `limit` samples, in the order of computation.

    Files made from one float file keep its tensor names: a quantized tensor's name is that of its dequantized value.
    Tensors that the file no longer holds (an activation joined to its convolution) are not listed. Where scale can have
    moved between two layers (`mlopt.convert.equalize`), it is moved back first.
    """
    reference, candidate = Graph.of(read_model(float_file)), Graph.of(read_model(file))
    held = candidate.producers()
    named = {name: node.name for node in reference.nodes for name in node.output if name in held and node.name}
    rows = samples.rows(0, min(limit, samples.count))
    expected = exposed(reference, list(named), float_file).run(list(named), rows)
    found = exposed(candidate, list(named), file).run(list(named), rows)
    movable = {tensor for pair in pairs(reference) for tensor in pair.tensors}
    return tuple(
        LayerError(
            name=named[tensor], sqnr_db=sqnr_db(a, unscaled(a, b, 1) if tensor in movable else b.astype(np.float32))
        )
        for tensor, a, b in zip(named, expected, found, strict=True)
        if a.dtype == np.float32
    )


def exposed(graph: Graph, tensors: list[str], name: Path | str) -> ort.InferenceSession:
    """A session of the graph whose outputs are `tensors`, wherever they lie."""
    types = graph.types()
    outputs = [helper.make_tensor_value_info(t, types.get(t, TensorProto.FLOAT), None) for t in tensors]
    wide = Graph(nodes=graph.nodes, constants=graph.constants, inputs=graph.inputs, outputs=outputs, opset=graph.opset)
    return open_session(wide.model().SerializeToString(), name=name)


def _ports(specs: tuple[TensorSpec, ...], nodes: list[ort.NodeArg]) -> tuple[PortContract, ...]:
    kinds = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
    return tuple(
        PortContract(
            name=spec.name,
            stored_name=node.name,
            shape=spec.shape,
            layout=spec.layout,
            dtype=kinds.get(node.type, node.type.removeprefix("tensor(").removesuffix(")")),
        )
        for spec, node in zip(specs, nodes, strict=True)
    )
