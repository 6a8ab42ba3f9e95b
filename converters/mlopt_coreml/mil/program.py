"""A Core ML program as plain values: operations in order, constants decoded from the package's own bytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlopt_coreml.mil.blob import BITS, DamagedWeights, WeightFile, packed_size, unpack_bits
from mlopt_coreml.private.coremltools import MIL_pb2, Model_pb2

# sub-byte integers live in bytes; bfloat16 and the 8-bit floats are not ours to read
_NUMPY = {
    "bool": np.bool_, "int4": np.int8, "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint1": np.uint8, "uint2": np.uint8, "uint3": np.uint8, "uint4": np.uint8, "uint6": np.uint8, "uint8": np.uint8,
    "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "float16": np.float16, "float32": np.float32, "float64": np.float64,
}


@dataclass(frozen=True)
class TensorType:
    """`dtype` is MIL's name in lower case ("float16", "uint6", "string"); `shape` is complete, batch included."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Constant:
    """A value written in the program or in the weight file."""

    type: TensorType
    message: MIL_pb2.Value
    weights: WeightFile

    @property
    def in_file(self) -> bool:
        return bool(self.message.WhichOneof("value") == "blobFileValue")

    @property
    def stored_bytes(self) -> int:
        """Bytes of the numbers alone, packed."""
        return 0 if self.type.dtype == "string" else packed_size(self.type.size, BITS[self.type.dtype])

    @cached_property
    def raw(self) -> bytes:
        """The packed little-endian bytes."""
        if self.in_file:
            return bytes(self.weights.tensor(self.message.blobFileValue.offset, self.type.dtype, self.type.size))
        tensor = self.message.immediateValue.tensor
        if tensor.WhichOneof("value") == "bytes":
            if len(tensor.bytes.values) != self.stored_bytes:
                raise DamagedWeights(f"a constant holds {len(tensor.bytes.values)} bytes, not {self.stored_bytes}")
            return bytes(tensor.bytes.values)
        return self.array.tobytes()

    @cached_property
    def array(self) -> np.ndarray:
        """The numbers, in the stored type (sub-byte integers in bytes), or a text array for strings."""
        dtype, shape, size = self.type.dtype, self.type.shape, self.type.size
        if not self.in_file:
            tensor = self.message.immediateValue.tensor
            kind = tensor.WhichOneof("value")
            if kind is not None and kind != "bytes":
                values = getattr(tensor, kind).values
                if len(values) != size:
                    raise DamagedWeights(f"a constant holds {len(values)} numbers, its type says {size}")
                wanted = np.str_ if dtype == "string" else _NUMPY[dtype]
                return np.array(list(values), dtype=wanted).reshape(shape)
            if size == 0:
                return np.zeros(shape, _NUMPY[dtype])
        if BITS[dtype] < 8:
            return unpack_bits(self.raw, BITS[dtype], size, signed=dtype == "int4").reshape(shape)
        return np.frombuffer(self.raw, np.dtype(_NUMPY[dtype]).newbyteorder("<")).reshape(shape)


@dataclass(frozen=True)
class Port:
    """A named value that flows between operations."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Operation:
    """One operation. An argument is the name of a value or a constant; most hold one, `concat` holds several."""

    kind: str
    name: str
    arguments: Mapping[str, tuple["str | Constant", ...]]
    outputs: tuple[Port, ...]

    def names(self) -> Iterator[str]:
        """The values that it reads."""
        return (a for held in self.arguments.values() for a in held if isinstance(a, str))


@dataclass(frozen=True)
class Program:
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]

    @cached_property
    def types(self) -> dict[str, TensorType]:
        ports = [*self.inputs, *(p for op in self.operations for p in op.outputs)]
        return {port.name: port.type for port in ports}


class UnreadableProgram(ValueError):
    """The program uses something that no plain network does; the caller knows which file it is."""


def main_block(model: Model_pb2.Model) -> MIL_pb2.Block:
    """The block that a device runs."""
    if model.WhichOneof("Type") != "mlProgram":
        raise UnreadableProgram(f"it is no ML program but a {model.WhichOneof('Type')}")
    functions = model.mlProgram.functions
    if "main" not in functions:
        raise UnreadableProgram("its program has no function called main")
    main = functions["main"]
    if main.opset not in main.block_specializations:
        raise UnreadableProgram(f"its program has no code for {main.opset or 'any opset'}")
    return main.block_specializations[main.opset]


def read_program(model: Model_pb2.Model, weights: WeightFile) -> Program:
    """Raises `UnreadableProgram` or `DamagedWeights`."""
    block = main_block(model)
    inputs = [Port(i.name, _type(i.type)) for i in model.mlProgram.functions["main"].inputs]
    return Program(
        inputs=tuple(inputs),
        outputs=tuple(block.outputs),
        operations=tuple(_operation(op, weights) for op in block.operations),
    )


def dtype_name(code: int) -> str:
    return str(MIL_pb2.DataType.Name(code)).lower()


def _type(message: MIL_pb2.ValueType) -> TensorType:
    if message.WhichOneof("type") != "tensorType":
        raise UnreadableProgram(f"it holds a value of kind {message.WhichOneof('type')}, where only tensors are read")
    tensor = message.tensorType
    sizes = []
    for dimension in tensor.dimensions:
        if dimension.WhichOneof("dimension") != "constant":
            raise UnreadableProgram("it holds a tensor of unknown size; every size must be fixed, the batch at 1")
        sizes.append(int(dimension.constant.size))
    return TensorType(dtype_name(tensor.dataType), tuple(sizes))


def _constant(value: MIL_pb2.Value, weights: WeightFile) -> Constant:
    constant_type = _type(value.type)
    if constant_type.dtype != "string" and constant_type.dtype not in _NUMPY:
        raise UnreadableProgram(f"it holds a constant of type {constant_type.dtype}, which cannot be read here")
    return Constant(constant_type, value, weights)


def _operation(message: MIL_pb2.Operation, weights: WeightFile) -> Operation:
    if message.blocks:
        raise UnreadableProgram(f"its operation {message.type} branches or loops, which cannot be run here")
    arguments: dict[str, tuple[str | Constant, ...]] = {
        key: (_constant(value, weights),) for key, value in message.attributes.items() if key != "name"
    }
    for key, argument in message.inputs.items():
        arguments[key] = tuple(
            binding.name if binding.WhichOneof("binding") == "name" else _constant(binding.value, weights)
            for binding in argument.arguments
        )
    outputs = tuple(Port(o.name, _type(o.type)) for o in message.outputs)
    name = outputs[0].name if outputs else ""
    if "name" in message.attributes:
        name = "".join(message.attributes["name"].immediateValue.tensor.strings.values) or name
    return Operation(message.type, name, arguments, outputs)
