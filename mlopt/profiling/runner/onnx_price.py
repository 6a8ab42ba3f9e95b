"""What ONNX Runtime's tracing adds to the time that it records of a kernel.

The record's texts are made before its clock is read again, so each kernel looks longer by about 3 us, which is most of
a small one. It is measured on a chain of kernels that do almost nothing, as the difference between what the trace says
of them and what they take without it. It grows with a kernel's inputs, which the record lists.
"""

from __future__ import annotations

KERNELS = 16
_SHAPE = (1, 16, 16, 16)                # 16 kB: a kernel with two inputs and an output fills the nearest cache
_FLOAT = 1                              # of TensorProto.DataType
_IR_VERSION, _OPSET = 8, 13             # old enough for any ONNX Runtime that a board has


def chain(ports: int) -> bytes:
    """An ONNX file of sixteen additions in a row, with `ports` inputs each."""
    nodes = b"".join(
        _message(1, b"".join(_text(1, f"t{i}" if port == 0 else "x") for port in range(ports))
                 + _text(2, f"t{i + 1}") + _text(3, f"node{i}") + _text(4, "Sum"))
        for i in range(KERNELS)
    )
    graph = nodes + _text(2, "chain")
    graph += _message(11, _port("t0")) + _message(11, _port("x")) + _message(12, _port(f"t{KERNELS}"))
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, _text(1, "") + _number(2, _OPSET))


def _port(name: str) -> bytes:
    """ValueInfoProto of a float tensor."""
    shape = b"".join(_message(1, _number(1, size)) for size in _SHAPE)
    return _text(1, name) + _message(2, _message(1, _number(1, _FLOAT) + _message(2, shape)))


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _message(field, content.encode())


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    groups = []
    while True:
        value, low = value >> 7, value & 0x7F
        groups.append(low | (0x80 if value else 0))
        if not value:
            return bytes(groups)
