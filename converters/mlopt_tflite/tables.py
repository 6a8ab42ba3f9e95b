"""The tables of a TFLite file, as far as mlopt reads and writes them.

`schema_py_generated` builds these objects and carries no types. The protocols name the fields as the schema does:
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs.

A vector that a file leaves out is None, and one of numbers comes as a numpy array. `flatfile.parse` refuses files that
lack graphs, tensors or buffers, `flatfile.ops` and `graph.Editor` give operands as tuples and lists: the fields below
say what stands there afterwards.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import flatbuffers

Numbers = np.ndarray | Sequence[float]


class Packed(Protocol):
    """A table that is only handed on, in the form in which it was read."""

    def Pack(self, builder: "flatbuffers.Builder") -> int: ...


class ConvOptions(Packed, Protocol):
    """Of CONV_2D and DEPTHWISE_CONV_2D."""

    strideH: int
    strideW: int
    dilationHFactor: int
    dilationWFactor: int
    padding: int


class Quantization(Protocol):
    """`scale` and `zeroPoint` have one entry, or one for each index of `quantizedDimension`."""

    min: Numbers | None
    max: Numbers | None
    scale: np.ndarray | None
    zeroPoint: np.ndarray | None
    details: Packed | None
    detailsType: int
    quantizedDimension: int


class Tensor(Protocol):
    """`buffer` is a place in the model's `buffers`."""

    shape: np.ndarray | None
    shapeSignature: np.ndarray | None
    type: int
    buffer: int
    name: str | bytes | None
    quantization: Quantization | None
    isVariable: bool
    hasRank: bool
    sparsity: Packed | None
    variantTensors: Sequence[Packed] | None


class Buffer(Protocol):
    """`data` is bytes, one number each; `offset` and `size` point outside of the flatbuffer."""

    data: np.ndarray | Sequence[int] | None
    offset: int
    size: int


class Operator(Protocol):
    """`opcodeIndex` is a place in the model's `operatorCodes`, `inputs` and `outputs` are places in `tensors`."""

    opcodeIndex: int
    inputs: list[int]
    outputs: list[int]
    intermediates: list[int] | None
    mutatingVariableInputs: Sequence[bool] | None
    builtinOptions: Packed | None
    builtinOptionsType: int
    builtinOptions2: Packed | None
    builtinOptions2Type: int
    customOptions: np.ndarray | None
    customOptionsFormat: int


class OperatorCode(Protocol):
    builtinCode: int
    deprecatedBuiltinCode: int
    customCode: str | bytes | None
    version: int


class SubGraph(Protocol):
    tensors: list[Tensor]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]
    name: str | bytes | None


class TensorMap(Protocol):
    """A name of a signature's input or output, and the tensor that it stands for."""

    name: str | bytes | None
    tensorIndex: int


class SignatureDef(Protocol):
    inputs: list[TensorMap] | None
    outputs: list[TensorMap] | None
    signatureKey: str | bytes | None
    subgraphIndex: int


class Metadata(Protocol):
    name: str | bytes | None
    buffer: int


class Model(Protocol):
    version: int
    operatorCodes: list[OperatorCode]
    subgraphs: list[SubGraph]
    description: str | bytes | None
    buffers: list[Buffer]
    metadata: list[Metadata] | None
    metadataBuffer: Sequence[int] | None
    signatureDefs: list[SignatureDef] | None
    externalBuffers: Sequence[Packed] | None
