"""A TFLite file as Python objects: read safely, looked into, written.

`schema.ModelT` is the object tree of the flatbuffer. One file holds lists: tensors, buffers, operators; everything
points at everything else by its place in a list, so what is read here is checked before anyone follows it.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mlopt.errors import ModelUnreadable
from mlopt_tflite.packing import FILE_IDENTIFIER, pack
from mlopt_tflite.private.ai_edge_litert import schema
from mlopt_tflite.tables import Model, Operator, Tensor, TensorMap

OP_NAMES: dict[int, str] = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
OP_CODES: dict[str, int] = {v: k for k, v in OP_NAMES.items()}
TYPE_NAMES: dict[int, str] = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
TYPE_CODES: dict[str, int] = {v: k for k, v in TYPE_NAMES.items()}
_NUMPY = ("float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "bool")
NUMPY_TYPES: dict[str, np.dtype] = {name: np.dtype(name) for name in _NUMPY}
LARGEST_FILE = 2**31 - 1   # bytes; offsets in a flatbuffer have 32 bits with a sign
REMEDY = "Export the model again, or check that the file was copied whole."


def read(path: Path) -> Model:
    """The file's `schema.ModelT`; raises `ModelUnreadable` for anything that is not a whole, sound TFLite file."""
    try:
        content = path.read_bytes()
    except OSError as err:
        raise ModelUnreadable(path, f"cannot be read ({err.strerror or err})") from err
    return parse(content, path)


def parse(content: bytes, path: Path | str) -> Model:
    """As `read`, from bytes; `path` only serves the message."""
    if not content:
        raise ModelUnreadable(path, "the file is empty", REMEDY)
    if len(content) < 8 or content[4:8] != FILE_IDENTIFIER:
        raise ModelUnreadable(path, "this is not a TFLite file (it lacks the mark TFL3)", REMEDY)
    if len(content) > LARGEST_FILE:
        raise ModelUnreadable(path, f"{len(content)} bytes are more than a TFLite file can address")
    try:   # the runtime's own verifier walks every offset, so that the parsing below stays inside the file
        Interpreter(
            model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
    except (ValueError, RuntimeError) as err:
        if "unresolved custom op" not in str(err).lower() and "didn't find op" not in str(err).lower():
            raise ModelUnreadable(path, f"the runtime refuses it: {first_line(err)}", REMEDY) from err
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        _check(model, path)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, UnicodeDecodeError) as err:
        raise ModelUnreadable(path, f"the file is damaged ({first_line(err)})", REMEDY) from err
    return model


def write(model: Model, dest: Path) -> None:
    dest.write_bytes(pack(model))


def first_line(err: Exception) -> str:
    return (str(err).strip() or type(err).__name__).splitlines()[0]


def _check(model: Model, path: Path | str) -> None:
    """Every index that code here follows lies inside its list."""
    if not model.subgraphs or not model.buffers:
        raise ModelUnreadable(path, "the file holds no graph", REMEDY)
    if any(b.offset > 1 or b.size > 1 for b in model.buffers) or model.externalBuffers:
        raise ModelUnreadable(path, "it keeps weights outside of the flatbuffer, which mlopt does not read")
    for graph in model.subgraphs:
        _check_names(graph.tensors or [])
        count = len(graph.tensors or [])
        used = [graph.inputs, graph.outputs]
        for op in graph.operators or []:
            used += [op.inputs, op.outputs]
            if not 0 <= op.opcodeIndex < len(model.operatorCodes or []):
                raise ModelUnreadable(path, f"an operation has the unknown code index {op.opcodeIndex}", REMEDY)
        for indices in used:
            if indices is not None and any(not -1 <= i < count for i in indices):
                raise ModelUnreadable(path, "an operation names a tensor that does not exist", REMEDY)
        for tensor in graph.tensors or []:
            if not 0 <= tensor.buffer < len(model.buffers):
                raise ModelUnreadable(path, "a tensor names a buffer that does not exist", REMEDY)
    for signature in model.signatureDefs or []:
        if not 0 <= signature.subgraphIndex < len(model.subgraphs):
            raise ModelUnreadable(path, "a signature names a graph that does not exist", REMEDY)
        _check_names([*(signature.inputs or []), *(signature.outputs or [])])
        count = len(model.subgraphs[signature.subgraphIndex].tensors or [])
        if any(not 0 <= m.tensorIndex < count for m in [*(signature.inputs or []), *(signature.outputs or [])]):
            raise ModelUnreadable(path, "a signature names a tensor that does not exist", REMEDY)


def _check_names(named: Iterable[Tensor | TensorMap]) -> None:
    """Raises UnicodeDecodeError; LiteRT's Python side would, at a place where nobody expects it."""
    for entry in named:
        if isinstance(entry.name, bytes):
            entry.name.decode("utf-8")


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation of the main graph; -1 in `inputs` stands for an operand that is left out."""

    index: int
    name: str                   # "CONV_2D"
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def op_name(model: Model, operator: Operator) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return OP_NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), f"OP_{code.builtinCode}")


def ops(model: Model) -> Iterator[Op]:
    for index, operator in enumerate(model.subgraphs[0].operators or []):
        yield Op(
            index=index,
            name=op_name(model, operator),
            inputs=tuple(int(i) for i in (operator.inputs if operator.inputs is not None else ())),
            outputs=tuple(int(i) for i in (operator.outputs if operator.outputs is not None else ())),
        )


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    return tuple(int(d) for d in (tensor.shape if tensor.shape is not None else ()))


def type_name(tensor: Tensor) -> str:
    return TYPE_NAMES.get(tensor.type, f"type {tensor.type}")


def is_constant(model: Model, tensor: Tensor) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def constant(model: Model, tensor: Tensor) -> np.ndarray:
    """The values of a constant tensor as stored; int4 comes unpacked as int8. Raises ValueError when bytes lack."""
    raw = np.asarray(model.buffers[tensor.buffer].data, dtype=np.uint8)
    shape, kind = shape_of(tensor), type_name(tensor)
    if kind == "int4":
        return unpack_int4(raw, shape)
    if kind not in NUMPY_TYPES:
        raise ValueError(f"constants of {kind} are not read")
    return raw.view(NUMPY_TYPES[kind]).reshape(shape)


def set_constant(model: Model, tensor: Tensor, values: np.ndarray, kind: str) -> None:
    """Give `tensor` its own buffer with `values`, stored as `kind`."""
    if kind == "int4":
        raw = pack_int4(values)
    else:
        raw = np.ascontiguousarray(values, NUMPY_TYPES[kind]).reshape(-1).view(np.uint8)
    tensor.buffer = len(model.buffers)
    tensor.type = TYPE_CODES[kind]
    model.buffers.append(schema.BufferT(data=raw))


def pack_int4(values: np.ndarray) -> np.ndarray:
    """Two numbers of -8..7 a byte, the first in the low half; an odd count ends in a zero.

    >>> pack_int4(np.array([1, -2, 7])).tolist()
    [225, 7]
    """
    flat = np.asarray(values).reshape(-1).astype(np.int8).view(np.uint8) & 15
    flat = np.concatenate([flat, np.zeros(len(flat) % 2, np.uint8)])
    return flat[0::2] | (flat[1::2] << 4)


def unpack_int4(raw: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The reverse of `pack_int4`, as int8.

    >>> unpack_int4(np.array([225, 7], np.uint8), (3,)).tolist()
    [1, -2, 7]
    """
    halves = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)[: int(np.prod(shape, dtype=np.int64))]
    return ((halves.astype(np.int8) ^ 8) - 8).reshape(shape)


def input_names(model: Model) -> dict[str, int]:
    """The signature's input names -> tensor index; the tensors' own names where the file has no signature."""
    return _names(model, "inputs")


def output_names(model: Model) -> dict[str, int]:
    return _names(model, "outputs")


def _names(model: Model, side: str) -> dict[str, int]:
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex == 0:
            return {_text(m.name): int(m.tensorIndex) for m in getattr(signature, side) or []}
    graph = model.subgraphs[0]
    return {_text(graph.tensors[i].name) or f"{side}_{i}": int(i) for i in getattr(graph, side)}


def _text(name: str | bytes | None) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else (name or "")
