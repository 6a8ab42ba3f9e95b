"""Rewrite the main graph of a TFLite model: tensors and operations added, inputs rewired, types changed.

An `Editor` works on its own shallow copy: what it changes it copies first, so that the float model it came from can
serve the next candidate.
"""

import copy

import numpy as np

from mlopt_tflite import flatfile
from mlopt_tflite.private.ai_edge_litert import schema
from mlopt_tflite.tables import Model, Operator, Quantization, Tensor


class Editor:
    """The main graph under change; `model` is what becomes of it."""

    def __init__(self, model: Model) -> None:
        self.model = copy.copy(model)
        self.model.buffers = list(model.buffers)
        self.model.operatorCodes = list(model.operatorCodes)
        self.model.subgraphs = [copy.copy(model.subgraphs[0]), *model.subgraphs[1:]]
        self.model.signatureDefs = copy.deepcopy(model.signatureDefs)
        self.graph = self.model.subgraphs[0]
        self.graph.tensors = [copy.copy(t) for t in self.graph.tensors]
        self.graph.operators = [_copied(op) for op in self.graph.operators or []]
        self.graph.inputs, self.graph.outputs = list(self.graph.inputs), list(self.graph.outputs)

    def tensor(self, index: int) -> Tensor:
        return self.graph.tensors[index]

    def name(self, op: Operator) -> str:
        return flatfile.op_name(self.model, op)

    def add_tensor(self, *, shape: tuple[int, ...], kind: str, quantization: Quantization | None = None,
        name: str | bytes | None = None,
   ) -> int:
        tensor = schema.TensorT(
            shape=np.asarray(shape, np.int32), type=flatfile.TYPE_CODES[kind], quantization=quantization, name=name,
            hasRank=True,
        )
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def add_constant(self, values: np.ndarray, kind: str, quantization: Quantization | None = None) -> int:
        index = self.add_tensor(shape=values.shape, kind=kind, quantization=quantization)
        flatfile.set_constant(self.model, self.tensor(index), values, kind)
        return index

    def code(self, name: str, version: int) -> int:
        """The index of an operator code, added where the model lacks it."""
        wanted = flatfile.OP_CODES[name]
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted and code.version == version:
                return index
        new = schema.OperatorCodeT(builtinCode=wanted, deprecatedBuiltinCode=min(wanted, 127), version=version)
        self.model.operatorCodes.append(new)
        return len(self.model.operatorCodes) - 1

    def set_version(self, op: Operator, version: int) -> None:
        """The least version of the operation that knows its new types; a later one stays."""
        current = self.model.operatorCodes[op.opcodeIndex]
        if current.version < version:
            op.opcodeIndex = self.code(self.name(op), version)

    def new_op(self, name: str, inputs: list[int], outputs: list[int], version: int) -> Operator:
        return schema.OperatorT(opcodeIndex=self.code(name, version), inputs=inputs, outputs=outputs)


def parameters(scale: float | np.ndarray, zero_point: int | np.ndarray = 0, axis: int = 0) -> Quantization:
    """Quantization of a tensor: one scale for all, or one for each index along `axis`."""
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    zeros = np.zeros(len(scales), np.int64) + np.asarray(zero_point, np.int64)
    axis = axis if len(scales) > 1 else 0
    return schema.QuantizationParametersT(scale=scales, zeroPoint=zeros, quantizedDimension=axis)


def _copied(op: Operator) -> Operator:
    new = copy.copy(op)
    new.inputs = list(op.inputs) if op.inputs is not None else []
    new.outputs = list(op.outputs) if op.outputs is not None else []
    return new
