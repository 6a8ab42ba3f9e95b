"""tf.train.Example and TensorProto, read from their protobuf wire format by this file alone.

Wire format: https://protobuf.dev/programming-guides/encoding. Example { features: 1 }, Features { feature: map 1 },
Feature { bytes_list: 1, float_list: 2, int64_list: 3 }, each list { value: repeated 1 }, packed or not.
"""

import array
import math
from collections.abc import Iterator

import numpy as np

Feature = list[bytes] | np.ndarray      # bytes_list; float32 [n]; int64 [n]

_MOST_FEATURES = 10_000         # of a record: a dict of them takes some twenty times their bytes
_MOST_AXES = 32                 # of a tensor, as numpy has it
_PIECE = 1 << 20                # bytes of packed numbers worked on at once

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_TENSOR_DTYPES = {                      # by TensorProto's DataType
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2", 22: "<u4",
    23: "<u8",
}


class NotProtobuf(ValueError):
    """The bytes do not follow the wire format, or are another message."""


def parse_example(record: bytes) -> dict[str, Feature]:
    """Features by name; a feature without a value is left out."""
    found: dict[str, Feature] = {}
    for number, kind, features in _fields(record):
        if number != 1 or kind != _LENGTH:
            raise NotProtobuf(f"field {number} of type {kind} is not part of tf.train.Example")
        for entry_number, entry_kind, entry in _fields(features):
            if entry_number != 1 or entry_kind != _LENGTH:
                raise NotProtobuf(f"field {entry_number} is not part of tf.train.Features")
            name, value = "", b""
            for key, key_kind, content in _fields(entry):
                if key_kind != _LENGTH:
                    raise NotProtobuf("an entry of the feature map is neither name nor value")
                if key == 1:
                    name = bytes(content).decode("utf-8", "replace")
                elif key == 2:
                    value = content
            feature = _feature(value)
            if feature is not None:
                found[name] = feature
            if len(found) > _MOST_FEATURES:
                raise NotProtobuf(f"a record of more than {_MOST_FEATURES:,} features")
    return found


def parse_tensor(data: bytes) -> np.ndarray | None:
    """The tensor that tf.io.serialize_tensor wrote; None where the bytes are something else."""
    dtype, shape, content = 0, None, None
    try:
        for number, kind, value in _fields(data):
            if (number, kind) == (1, _VARINT):
                dtype = int(value)
            elif (number, kind) == (2, _LENGTH):
                shape = _tensor_shape(value)
            elif (number, kind) == (4, _LENGTH):
                content = value
            else:
                return None
    except NotProtobuf:
        return None
    if dtype not in _TENSOR_DTYPES or shape is None or content is None:
        return None
    kind_of = np.dtype(_TENSOR_DTYPES[dtype])
    if len(content) != math.prod(shape) * kind_of.itemsize:
        return None
    return np.frombuffer(content, dtype=kind_of).reshape(shape)


def _feature(value: bytes) -> Feature | None:
    found: Feature | None = None
    for number, kind, content in _fields(value):
        if kind != _LENGTH or number not in (1, 2, 3):
            raise NotProtobuf(f"field {number} is not part of tf.train.Feature")
        if number == 1:
            found = [bytes(item) for item in _values(content, _LENGTH)]
        elif number == 2:
            found = _floats(content)
        else:
            found = _integers(content)
        if len(found) == 0:
            found = None
    return found


def _values(content: bytes, *kinds: int) -> Iterator[bytes]:
    """The values of a list { value: repeated 1 }, each of one of the wire types `kinds`."""
    for number, kind, item in _fields(content):
        if number != 1 or kind not in kinds:
            raise NotProtobuf(f"field {number} of type {kind} is not part of a list of values")
        yield item


def _floats(content: bytes) -> np.ndarray:
    packed = bytearray()
    for item in _values(content, _LENGTH, _FIXED32):
        if len(item) % 4:
            raise NotProtobuf("a list of floats ends inside one")
        packed += item
    return np.frombuffer(packed, dtype="<f4")


def _integers(content: bytes) -> np.ndarray:
    pieces: list[np.ndarray] = []
    single = array.array("Q")
    for item in _values(content, _LENGTH, _VARINT):
        if isinstance(item, int):
            single.append(item)
            continue
        pieces += [np.array(single, dtype=np.uint64).view(np.int64), *_varints_in_pieces(item)]
        single = array.array("Q")
    return np.concatenate([*pieces, np.array(single, dtype=np.uint64).view(np.int64)])


def _varints_in_pieces(packed: bytes) -> Iterator[np.ndarray]:
    """As `_varints`, a piece at a time: what is worked out on the way takes many times the bytes."""
    start = 0
    while start < len(packed):
        stop = min(start + _PIECE, len(packed))
        while stop < len(packed) and packed[stop - 1] >= 0x80:      # numbers have at most ten bytes: `_varints` checks
            stop += 1
            if stop - start > _PIECE + 10:
                raise NotProtobuf("a number of more than ten bytes")
        yield _varints(packed[start:stop])
        start = stop


def _varints(packed: bytes) -> np.ndarray:
    """All varints of a packed field as int64 [n].

    >>> _varints(bytes([1, 0xAC, 0x02])).tolist()
    [1, 300]
    """
    octets = np.frombuffer(packed, dtype=np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if len(octets) and (not len(ends) or ends[-1] != len(octets) - 1):
        raise NotProtobuf("a number runs past the end")
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    longest = int((ends - starts).max(initial=-1)) + 1
    if longest > 10:
        raise NotProtobuf("a number of more than ten bytes")
    values = np.zeros(len(ends), dtype=np.uint64)
    for place in range(longest):
        at = starts + place
        here = at <= ends
        values[here] |= (octets[at[here]].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * place)
    return values.astype(np.int64)


def _tensor_shape(data: bytes) -> tuple[int, ...]:
    sizes = []
    for number, kind, dimension in _fields(data):
        if (number, kind) != (2, _LENGTH):
            raise NotProtobuf("a tensor of unknown rank")
        sizes.append(next((int(v) for n, k, v in _fields(dimension) if (n, k) == (1, _VARINT)), 0))
    if any(not 0 < size < 1 << 40 for size in sizes) or len(sizes) > _MOST_AXES:
        raise NotProtobuf("a tensor without values, with a negative size, or with too many axes")
    return tuple(sizes)


def _fields(data: bytes | memoryview) -> Iterator[tuple[int, int, "bytes"]]:
    """Field number, wire type and value: an int for varints, the bytes for the rest (views: nothing is copied)."""
    view = memoryview(data)
    at, end = 0, len(view)
    while at < end:
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
            yield number, kind, value       # type: ignore[misc]
            continue
        if kind == _LENGTH:
            size, at = _varint(view, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise NotProtobuf(f"wire type {kind}")
        if number == 0 or at + size > end:
            raise NotProtobuf("a field runs past the end")
        yield number, kind, view[at : at + size]    # type: ignore[misc]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise NotProtobuf("a number runs past the end")
        octet = view[at]
        value |= (octet & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if octet < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
