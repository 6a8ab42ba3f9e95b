"""What a TFLite file says of itself, read from its tables without a runtime.

The layout is FlatBuffers': a table starts with the distance back to its list of field offsets. Field numbers are those
of the public schema.fbs. A file that points outside itself raises `ValueError`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

_SUBGRAPHS, _BUFFERS = 2, 4                     # of Model
_TENSORS = 0                                    # of SubGraph
_TENSOR_BUFFER = 2                              # of Tensor
_DATA, _OFFSET, _SIZE = 0, 1, 2                 # of Buffer; the last two for data behind the tables


def weight_bytes(file: str) -> int:
    """Bytes of all constant tensors, a buffer that several tensors share counted once."""
    sizes, graphs = _read(file)
    used = {buffer for tensors in graphs for buffer in tensors}
    return sum(sizes[buffer] for buffer in used)


def constant_tensors(file: str) -> set[int]:
    """Places of the first graph's tensors whose values stand in the file."""
    sizes, graphs = _read(file)
    return {place for place, buffer in enumerate(graphs[0]) if sizes[buffer]}


@lru_cache(maxsize=1)
def _read(file: str) -> tuple[list[int], list[list[int]]]:
    """(bytes of each buffer, each graph's tensors' buffers)."""
    with Path(file).open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            model = _at(content, 0)
            sizes = [_buffer_bytes(content, b) for b in _tables(content, model, _BUFFERS)]
            graphs = [
                [_number(content, t, _TENSOR_BUFFER, "<I") for t in _tables(content, graph, _TENSORS)]
                for graph in _tables(content, model, _SUBGRAPHS)
            ]
        except (struct.error, IndexError) as err:
            raise ValueError("the TFLite file's tables point outside the file") from err
    if not graphs or any(buffer >= len(sizes) for tensors in graphs for buffer in tensors):
        raise ValueError("the TFLite file names graphs or buffers that it does not hold")
    return sizes, graphs


def _buffer_bytes(content: mmap.mmap, buffer: int) -> int:
    place = _field(content, buffer, _DATA)
    inside = struct.unpack_from("<I", content, place + struct.unpack_from("<I", content, place)[0])[0] if place else 0
    outside = _number(content, buffer, _SIZE, "<Q") if _number(content, buffer, _OFFSET, "<Q") > 1 else 0
    return int(inside or outside)


def _at(content: mmap.mmap, place: int) -> int:
    """Follow the 32-bit offset that stands there."""
    return place + int(struct.unpack_from("<I", content, place)[0])


def _field(content: mmap.mmap, table: int, number: int) -> int:
    """Where a table's field stands, 0 when it is absent."""
    offsets = table - struct.unpack_from("<i", content, table)[0]
    if offsets < 0:
        raise IndexError(offsets)
    if 4 + 2 * number >= struct.unpack_from("<H", content, offsets)[0]:
        return 0
    relative = struct.unpack_from("<H", content, offsets + 4 + 2 * number)[0]
    return table + int(relative) if relative else 0


def _number(content: mmap.mmap, table: int, number: int, kind: str) -> int:
    place = _field(content, table, number)
    return int(struct.unpack_from(kind, content, place)[0]) if place else 0


def _tables(content: mmap.mmap, table: int, number: int) -> Iterator[int]:
    """The tables of a vector field."""
    place = _field(content, table, number)
    if not place:
        return
    vector = _at(content, place)
    count = struct.unpack_from("<I", content, vector)[0]
    if count * 4 > len(content):
        raise IndexError(count)
    for i in range(count):
        yield _at(content, vector + 4 + 4 * i)
