"""TFRecord files and tf.train.Example written by hand, so that what TensorFlow would not write can be written too."""

import struct
from collections.abc import Mapping, Sequence

from mlopt.data.readers.crc32c import crc32c, masked


def framed(record: bytes) -> bytes:
    """A record with its length and both checksums, as the format has it."""
    length = struct.pack("<Q", len(record))
    sums = [struct.pack("<I", masked(crc32c(part))) for part in (length, record)]
    return length + sums[0] + record + sums[1]


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    packed = bytearray()
    while value >= 0x80:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*packed, value])


def field(number: int, kind: int, content: bytes) -> bytes:
    """A protobuf field; of type 2 (bytes), with its length."""
    return bytes([number << 3 | kind]) + (varint(len(content)) if kind == 2 else b"") + content


def example_with(feature: bytes, name: bytes = b"x") -> bytes:
    """An Example of one feature, whose bytes are given."""
    return field(1, 2, field(1, 2, field(1, 2, name) + field(2, 2, feature)))


def example(features: Mapping[str, Sequence[bytes] | Sequence[float] | Sequence[int]]) -> bytes:
    """An Example of these features."""
    entries = b"".join(
        field(1, 2, field(1, 2, name.encode()) + field(2, 2, _feature(values))) for name, values in features.items()
    )
    return field(1, 2, entries)


def _feature(values: Sequence[bytes] | Sequence[float] | Sequence[int]) -> bytes:
    first = values[0]
    if isinstance(first, bytes):
        return field(1, 2, b"".join(field(1, 2, value) for value in values))
    if isinstance(first, float):
        return field(2, 2, field(1, 2, struct.pack(f"<{len(values)}f", *values)))
    return field(3, 2, field(1, 2, b"".join(varint(value) for value in values)))
