"""What an ONNX file says of itself, read from its protocol buffer without a library.

Every field is a number and a wire type, then its value; messages nest as bytes. Field numbers are those of the public
onnx.proto. A broken message raises `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GRAPH = 7                                      # of ModelProto
_NODE, _INITIALIZER = 1, 5                      # of GraphProto
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP = 1, 2, 3, 4     # of NodeProto
_PAYLOADS = frozenset({4, 5, 6, 7, 9, 10, 11})  # of TensorProto: typed values, and raw_data
_EXTERNAL = 13                                  # of TensorProto: key and value pairs
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def weight_bytes(file: str) -> int:
    """Bytes of all initializers of the main graph, those in a file beside it included."""
    total = 0
    for number, value in _fields(_graph(file)):
        if number == _INITIALIZER:
            for inner, payload in _fields(value):
                if inner in _PAYLOADS:
                    total += len(payload)
                elif inner == _EXTERNAL:
                    pair = dict(_fields(payload))
                    if bytes(pair.get(1, b"")) == b"length":
                        total += int(bytes(pair.get(2, b"0")))
    return total


@dataclass(frozen=True)
class Node:
    """One node of the graph, in the file's order."""

    name: str               # "" where the file has none
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def nodes(file: str) -> list[Node]:
    """The nodes of the main graph."""
    found = []
    for number, value in _fields(_graph(file)):
        if number == _NODE:
            texts: dict[int, list[str]] = {}
            for inner, payload in _fields(value):
                if inner in (_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP):
                    texts.setdefault(inner, []).append(bytes(payload).decode(errors="replace"))
            found.append(Node(
                "".join(texts.get(_NODE_NAME, [])), "".join(texts.get(_NODE_OP, [])),
                tuple(texts.get(_NODE_INPUT, [])), tuple(texts.get(_NODE_OUTPUT, [])),
            ))
    return found


def _graph(file: str) -> memoryview:
    for number, value in _fields(memoryview(Path(file).read_bytes())):
        if number == _GRAPH:
            return value
    raise ValueError("the ONNX file holds no graph")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, its bytes) of every field with a length; numbers alone are passed over."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
        elif kind == _FIXED64:
            place += 8
        elif kind == _FIXED32:
            place += 4
        elif kind == _BYTES:
            length, place = _varint(message, place)
            if place + length > len(message):
                raise ValueError("the ONNX file ends in the middle of a message")
            yield key >> 3, message[place : place + length]
            place += length
        else:
            raise ValueError(f"the ONNX file has a field of the unknown wire type {kind}")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """(value, place after it) of a number in groups of seven bits, lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("the ONNX file ends in the middle of a number")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("the ONNX file holds a number of more than ten bytes")
