"""The weight file of a Core ML package: `weight.bin`.

A 64-byte header (count, version 2), then for each tensor a 64-byte record and its bytes, both on 64-byte boundaries.
The record: sentinel 0xDEADBEEF (uint32), data type (uint32), size in bytes, offset and unused bits at the end (uint64).
A value names its tensor by the record's offset. Types below 8 bits are packed, lowest bit first.
"""

import struct
from dataclasses import dataclass, field

import numpy as np

ALIGNMENT = 64
_SENTINEL = 0xDEADBEEF
_VERSION = 2
_RECORD = struct.Struct("<IIQQQ32x")
_HEADER = struct.Struct("<II56x")

# the type codes of the file, by MIL's name of the type
CODES = {
    "float16": 1, "float32": 2, "uint8": 3, "int8": 4, "bfloat16": 5, "int16": 6, "uint16": 7, "int4": 8,
    "uint1": 9, "uint2": 10, "uint4": 11, "uint3": 12, "uint6": 13, "int32": 14, "uint32": 15,
}
_NAMES = {code: name for name, code in CODES.items()}
BITS = {
    "bool": 8, "int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6, "int8": 8, "uint8": 8,
    "int16": 16, "uint16": 16, "float16": 16, "int32": 32, "uint32": 32, "float32": 32,
    "int64": 64, "uint64": 64, "float64": 64,
}


class DamagedWeights(ValueError):
    """The weight file does not hold what the program says; the caller knows which file it is."""


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` numbers of `bits` bits take.

    >>> packed_size(11, 6)
    9
    """
    return (count * bits + 7) // 8


def pack_bits(values: np.ndarray, bits: int) -> bytes:
    """Pack unsigned integers below 2**bits, lowest bit first.

    >>> pack_bits(np.array([0, 3, 2, 1, 1]), 2).hex()
    '6c01'
    """
    flat = np.ascontiguousarray(values, dtype=np.uint8).reshape(-1, 1)
    each = np.unpackbits(flat, axis=1, bitorder="little")[:, :bits]
    return np.packbits(each.reshape(-1), bitorder="little").tobytes()


def unpack_bits(raw: bytes | memoryview, bits: int, count: int, *, signed: bool = False) -> np.ndarray:
    """The `count` numbers of `bits` bits in `raw`, as uint8, or as int8 where they are signed.

    >>> unpack_bits(bytes.fromhex("6c01"), 2, 5).tolist()
    [0, 3, 2, 1, 1]
    """
    each = np.unpackbits(np.frombuffer(raw, np.uint8), count=count * bits, bitorder="little").reshape(count, bits)
    weights = 1 << np.arange(bits, dtype=np.uint8)
    values = (each * weights).sum(axis=1, dtype=np.uint8)
    if not signed:
        return values
    half = 1 << (bits - 1)
    return ((values ^ half).astype(np.int16) - half).astype(np.int8)


@dataclass(frozen=True)
class WeightFile:
    """The bytes of a weight file, read with every bound checked: files are hostile until proven."""

    raw: bytes

    def tensor(self, offset: int, dtype: str, count: int) -> memoryview:
        """The stored bytes of the tensor whose record stands at `offset`."""
        if offset % ALIGNMENT or offset + ALIGNMENT > len(self.raw):
            raise DamagedWeights(f"a tensor is said to stand at byte {offset} of {len(self.raw)}")
        sentinel, code, size, start, _ = _RECORD.unpack_from(self.raw, offset)
        if sentinel != _SENTINEL:
            raise DamagedWeights(f"there is no tensor at byte {offset}")
        if _NAMES.get(code) != dtype:
            raise DamagedWeights(f"the tensor at byte {offset} is {_NAMES.get(code, code)}, the program says {dtype}")
        if size != packed_size(count, BITS[dtype]) or start + size > len(self.raw):
            raise DamagedWeights(f"the tensor at byte {offset} holds {size} bytes, the program wants {count} x {dtype}")
        return memoryview(self.raw)[start : start + size]


@dataclass
class WeightFileWriter:
    """Collects tensors; equal ones are stored once."""

    _parts: list[bytes] = field(default_factory=list)
    _offsets: dict[tuple[str, bytes], int] = field(default_factory=dict)
    _end: int = ALIGNMENT

    def add(self, dtype: str, count: int, data: bytes) -> int:
        """Store `count` numbers of `dtype`, already packed; returns the offset by which a value names them."""
        assert len(data) == packed_size(count, BITS[dtype]), (dtype, count, len(data))
        key = (dtype, data)
        if key not in self._offsets:
            offset = self._end
            unused = len(data) * 8 - count * BITS[dtype]
            record = _RECORD.pack(_SENTINEL, CODES[dtype], len(data), offset + ALIGNMENT, unused)
            padding = -len(data) % ALIGNMENT
            self._parts += [record, data, bytes(padding)]
            self._end += ALIGNMENT + len(data) + padding
            self._offsets[key] = offset
        return self._offsets[key]

    def finish(self) -> bytes:
        header = _HEADER.pack(len(self._offsets), _VERSION)
        parts = self._parts[:-1] if self._parts else []      # nothing follows the last tensor
        return b"".join([header, *parts])
