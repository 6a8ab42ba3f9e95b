"""Building MIL operations as protobuf messages, in the form that coremltools writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlopt_coreml.compact import set_name
from mlopt_coreml.mil.blob import BITS, pack_bits
from mlopt_coreml.mil.program import TensorType
from mlopt_coreml.private.coremltools import MIL_pb2


@dataclass(frozen=True)
class Numbers:
    """An array and the MIL type to store it in, e.g. values 0..63 as "uint6"."""

    dtype: str
    array: np.ndarray

    @property
    def packed(self) -> bytes:
        if BITS[self.dtype] < 8:
            return pack_bits(self.array, BITS[self.dtype])
        return np.ascontiguousarray(self.array, np.dtype(self.dtype).newbyteorder("<")).tobytes()


def operation(
    kind: str, outputs: Sequence[tuple[str, TensorType]], arguments: Mapping[str, Numbers | str]
) -> MIL_pb2.Operation:
    """An argument is either stored in it or the name of an earlier output."""
    message = MIL_pb2.Operation(type=kind)
    for name, tensor in outputs:
        port = message.outputs.add(name=name)
        _set_type(port.type, tensor)
    for parameter, held in arguments.items():
        binding = message.inputs[parameter].arguments.add()
        if isinstance(held, str):
            binding.name = held
        else:
            _set_type(binding.value.type, TensorType(held.dtype, held.array.shape))
            binding.value.immediateValue.tensor.bytes.values = held.packed
    set_name(message, outputs[-1][0])
    return message


def _set_type(message: MIL_pb2.ValueType, tensor: TensorType) -> None:
    message.tensorType.dataType = MIL_pb2.DataType.Value(tensor.dtype.upper())
    message.tensorType.rank = len(tensor.shape)
    for size in tensor.shape:
        message.tensorType.dimensions.add().constant.size = size
