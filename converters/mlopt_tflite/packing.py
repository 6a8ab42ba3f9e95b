"""Write a TFLite model with every repeated vector, table and buffer stored once.

The generated `Pack` methods write each vector again for each table that holds it. A flatbuffer is offsets, so equal
bytes can be one: a runtime that follows the offsets sees the same model. What stays unshared is what must: tensors and
operators, which are known by their place in a list.
"""

from collections.abc import Hashable, Iterable, Sequence

import flatbuffers
import numpy as np

from mlopt_tflite.private.ai_edge_litert import schema
from mlopt_tflite.tables import (
    Metadata,
    Model,
    Operator,
    OperatorCode,
    Packed,
    Quantization,
    SignatureDef,
    SubGraph,
    Tensor,
    TensorMap,
)

FILE_IDENTIFIER = b"TFL3"
DATA_ALIGNMENT = 16   # bytes; the schema's force_align of Buffer.data, and what SIMD kernels expect


def pack(model: Model) -> bytes:
    """The bytes of a `schema.ModelT`. Deterministic: the same model gives the same bytes."""
    return _Packer().model(model)


class _Packer:
    """A flatbuffer grows from its end to its start, and children come before their parents."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 16)
        self.offsets: dict[tuple[Hashable, ...], int] = {}

    def model(self, model: Model) -> bytes:
        b = self.builder
        buffers = self.table_vector([self.buffer(x.data) for x in model.buffers])
        subgraphs = self.table_vector([self.subgraph(g) for g in model.subgraphs])
        codes = self.table_vector([self.operator_code(c) for c in model.operatorCodes or []])
        signatures = self.table_vector([self.signature(s) for s in model.signatureDefs or []])
        metadata = self.table_vector([self.metadata(m) for m in model.metadata or []]) if model.metadata else None
        description = self.string(model.description) if model.description else None
        schema.ModelStart(b)
        schema.ModelAddVersion(b, model.version)
        schema.ModelAddOperatorCodes(b, codes)
        schema.ModelAddSubgraphs(b, subgraphs)
        if description is not None:
            schema.ModelAddDescription(b, description)
        schema.ModelAddBuffers(b, buffers)
        if metadata is not None:
            schema.ModelAddMetadata(b, metadata)
        if model.signatureDefs:
            schema.ModelAddSignatureDefs(b, signatures)
        b.Finish(schema.ModelEnd(b), FILE_IDENTIFIER)
        return bytes(b.Output())

    def subgraph(self, graph: SubGraph) -> int:
        b = self.builder
        tensors = self.table_vector([self.tensor(t) for t in graph.tensors])
        operators = self.table_vector([self.operator(o) for o in graph.operators or []])
        inputs, outputs = self.ints(graph.inputs), self.ints(graph.outputs)
        name = self.string(graph.name) if graph.name else None
        schema.SubGraphStart(b)
        schema.SubGraphAddTensors(b, tensors)
        schema.SubGraphAddInputs(b, inputs)
        schema.SubGraphAddOutputs(b, outputs)
        schema.SubGraphAddOperators(b, operators)
        if name is not None:
            schema.SubGraphAddName(b, name)
        return schema.SubGraphEnd(b)

    def buffer(self, data: np.ndarray | Sequence[int] | None) -> int:
        """A buffer that holds nothing is one shared table; data is aligned for the kernels that read it in place."""
        raw = np.asarray([] if data is None else data, dtype=np.uint8)
        key = ("buffer", raw.tobytes())
        if key not in self.offsets:
            b = self.builder
            content = self.vector(raw, alignment=DATA_ALIGNMENT) if raw.size else None
            schema.BufferStart(b)
            if content is not None:
                schema.BufferAddData(b, content)
            self.offsets[key] = schema.BufferEnd(b)
        return self.offsets[key]

    def tensor(self, tensor: Tensor) -> int:
        b = self.builder
        shape = self.ints(tensor.shape if tensor.shape is not None else [])
        free = None if tensor.shapeSignature is None else self.ints(tensor.shapeSignature)
        name = self.string(tensor.name) if tensor.name else None
        quantization = self.quantization(tensor.quantization)
        sparsity = tensor.sparsity.Pack(b) if tensor.sparsity is not None else None
        variants = self.table_vector([v.Pack(b) for v in tensor.variantTensors]) if tensor.variantTensors else None
        schema.TensorStart(b)
        schema.TensorAddShape(b, shape)
        schema.TensorAddBuffer(b, tensor.buffer)
        for add, offset in (
            (schema.TensorAddName, name),
            (schema.TensorAddQuantization, quantization),
            (schema.TensorAddSparsity, sparsity),
            (schema.TensorAddShapeSignature, free),
            (schema.TensorAddVariantTensors, variants),
        ):
            if offset is not None:
                add(b, offset)
        schema.TensorAddType(b, tensor.type)
        schema.TensorAddIsVariable(b, tensor.isVariable)
        schema.TensorAddHasRank(b, tensor.hasRank)
        return schema.TensorEnd(b)

    def quantization(self, quantization: Quantization | None) -> int | None:
        if quantization is None:
            return None
        b, q = self.builder, quantization
        floats = [None if v is None else self.vector(np.asarray(v, np.float32)) for v in (q.min, q.max, q.scale)]
        zero = None if q.zeroPoint is None else self.vector(np.asarray(q.zeroPoint, np.int64))
        details = q.details.Pack(b) if q.details is not None else None
        key = ("quantization", *floats, zero, q.detailsType, details, q.quantizedDimension)
        if key not in self.offsets:
            schema.QuantizationParametersStart(b)
            for add, offset in (
                (schema.QuantizationParametersAddMin, floats[0]),
                (schema.QuantizationParametersAddMax, floats[1]),
                (schema.QuantizationParametersAddScale, floats[2]),
                (schema.QuantizationParametersAddZeroPoint, zero),
                (schema.QuantizationParametersAddDetails, details),
            ):
                if offset is not None:
                    add(b, offset)
            schema.QuantizationParametersAddQuantizedDimension(b, q.quantizedDimension)
            schema.QuantizationParametersAddDetailsType(b, q.detailsType)
            self.offsets[key] = schema.QuantizationParametersEnd(b)
        return self.offsets[key]

    def operator(self, operator: Operator) -> int:
        b, o = self.builder, operator
        inputs = self.ints(o.inputs if o.inputs is not None else [])
        outputs = self.ints(o.outputs if o.outputs is not None else [])
        options, options2 = self.options(o.builtinOptions), self.options(o.builtinOptions2)
        custom = None if o.customOptions is None else self.vector(np.asarray(o.customOptions, np.uint8))
        mutating = None
        if o.mutatingVariableInputs is not None and len(o.mutatingVariableInputs):
            mutating = self.vector(np.asarray(o.mutatingVariableInputs, np.uint8))
        inner = self.ints(o.intermediates) if o.intermediates is not None and len(o.intermediates) else None
        schema.OperatorStart(b)
        schema.OperatorAddOpcodeIndex(b, o.opcodeIndex)
        schema.OperatorAddInputs(b, inputs)
        schema.OperatorAddOutputs(b, outputs)
        for add, offset in (
            (schema.OperatorAddBuiltinOptions, options),
            (schema.OperatorAddBuiltinOptions2, options2),
            (schema.OperatorAddCustomOptions, custom),
            (schema.OperatorAddMutatingVariableInputs, mutating),
            (schema.OperatorAddIntermediates, inner),
        ):
            if offset is not None:
                add(b, offset)
        schema.OperatorAddBuiltinOptionsType(b, o.builtinOptionsType)
        schema.OperatorAddBuiltinOptions2Type(b, o.builtinOptions2Type)
        schema.OperatorAddCustomOptionsFormat(b, o.customOptionsFormat)
        return schema.OperatorEnd(b)

    def options(self, options: Packed | None) -> int | None:
        """Operator options are small tables; those with equal fields are one."""
        if options is None:
            return None
        key = ("options", type(options).__name__, tuple((k, _frozen(v)) for k, v in sorted(vars(options).items())))
        if key not in self.offsets:
            self.offsets[key] = options.Pack(self.builder)
        return self.offsets[key]

    def operator_code(self, code: OperatorCode) -> int:
        b = self.builder
        custom = self.string(code.customCode) if code.customCode else None
        schema.OperatorCodeStart(b)
        if custom is not None:
            schema.OperatorCodeAddCustomCode(b, custom)
        schema.OperatorCodeAddVersion(b, code.version)
        schema.OperatorCodeAddBuiltinCode(b, code.builtinCode)
        schema.OperatorCodeAddDeprecatedBuiltinCode(b, code.deprecatedBuiltinCode)
        return schema.OperatorCodeEnd(b)

    def signature(self, signature: SignatureDef) -> int:
        b = self.builder
        inputs = self.table_vector([self.tensor_map(m) for m in signature.inputs or []])
        outputs = self.table_vector([self.tensor_map(m) for m in signature.outputs or []])
        key = self.string(signature.signatureKey or "")
        schema.SignatureDefStart(b)
        schema.SignatureDefAddInputs(b, inputs)
        schema.SignatureDefAddOutputs(b, outputs)
        schema.SignatureDefAddSignatureKey(b, key)
        schema.SignatureDefAddSubgraphIndex(b, signature.subgraphIndex)
        return schema.SignatureDefEnd(b)

    def tensor_map(self, entry: TensorMap) -> int:
        b = self.builder
        name = self.string(entry.name or "")
        schema.TensorMapStart(b)
        schema.TensorMapAddName(b, name)
        schema.TensorMapAddTensorIndex(b, entry.tensorIndex)
        return schema.TensorMapEnd(b)

    def metadata(self, entry: Metadata) -> int:
        b = self.builder
        name = self.string(entry.name or "")
        schema.MetadataStart(b)
        schema.MetadataAddName(b, name)
        schema.MetadataAddBuffer(b, entry.buffer)
        return schema.MetadataEnd(b)

    def ints(self, values: Iterable[int]) -> int:
        return self.vector(np.asarray(list(values), np.int32))

    def vector(self, array: np.ndarray, alignment: int = 0) -> int:
        """Numbers, stored once for equal bytes, element size and alignment."""
        raw = array.tobytes()
        key = ("vector", array.itemsize, raw, alignment)
        if key not in self.offsets:
            b = self.builder
            b.StartVector(array.itemsize, array.size, max(alignment, array.itemsize))
            b.head = b.head - len(raw)
            b.Bytes[b.head : b.head + len(raw)] = raw
            self.offsets[key] = b.EndVector()
        return self.offsets[key]

    def string(self, text: str | bytes) -> int:
        raw = text.encode() if isinstance(text, str) else bytes(text)
        key = ("string", raw)
        if key not in self.offsets:
            self.offsets[key] = self.builder.CreateString(raw)
        return self.offsets[key]

    def table_vector(self, tables: Sequence[int]) -> int:
        b = self.builder
        b.StartVector(4, len(tables), 4)
        for offset in reversed(tables):
            b.PrependUOffsetTRelative(offset)
        return b.EndVector()


def _frozen(value: object) -> Hashable:
    return ("array", tuple(np.asarray(value).ravel().tolist())) if isinstance(value, np.ndarray | list) else value
