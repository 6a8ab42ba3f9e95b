"""TensorBoard's event files, written without TensorBoard or a framework.

Format: a TFRecord file of `Event` messages as TensorBoard's compat/proto/event.proto declares them.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from mlopt.data.readers.crc32c import crc32c, masked

# Keys of protocol buffers: field number * 8 + wire type (0 varint, 1 eight bytes, 2 with its length, 5 four bytes).
_WALL_TIME, _STEP, _VERSION, _SUMMARY = 1 << 3 | 1, 2 << 3, 3 << 3 | 2, 5 << 3 | 2      # of Event
_VALUE = 1 << 3 | 2                                                                     # of Summary
_TAG, _TENSOR, _METADATA = 1 << 3 | 2, 8 << 3 | 2, 9 << 3 | 2                           # of Summary.Value
_DTYPE, _SHAPE, _FLOATS = 1 << 3 | 0, 2 << 3 | 2, 5 << 3 | 2                            # of TensorProto
_PLUGIN_DATA = 1 << 3 | 2                                                               # of SummaryMetadata
_PLUGIN_NAME = 1 << 3 | 2                                                               # of its PluginData
_FLOAT = 1              # of DataType


class Board:
    """Event files in a folder; without a folder nothing is written."""

    def __init__(self, folder: Path | None) -> None:
        self._file: IO[bytes] | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
            self._file = (folder / f"{name}.{time.monotonic_ns()}").open("wb")
            self._write(_bytes(_VERSION, b"brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by tag at this step."""
        with np.errstate(over="ignore"):        # what a float32 cannot hold is infinite there
            numbers = np.array(list(values.values()), np.float64).astype("<f4")
        summary = b"".join(
            _bytes(_VALUE, _bytes(_TAG, tag.encode()) + _number(number) + _CURVE)
            for tag, number in zip(values, numbers, strict=True)
        )
        self._write(bytes([_STEP]) + _varint(step) + _bytes(_SUMMARY, summary))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, rest: bytes) -> None:
        if self._file is None:
            return
        event = bytes([_WALL_TIME]) + struct.pack("<d", time.time()) + rest
        length = struct.pack("<Q", len(event))
        self._file.write(
            length + struct.pack("<I", masked(crc32c(length))) + event + struct.pack("<I", masked(crc32c(event)))
        )
        self._file.flush()


def _number(value: np.float32) -> bytes:
    """A tensor without dimensions, as tensorboard.plugins.scalar.summary_v2 has it."""
    return _bytes(_TENSOR, bytes([_DTYPE, _FLOAT]) + _bytes(_SHAPE, b"") + _bytes(_FLOATS, value.tobytes()))


def _bytes(key: int, content: bytes) -> bytes:
    return bytes([key]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first.

    >>> _varint(300).hex()
    'ac02'
    """
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


# What TensorBoard's own `scalar` writes beside a number, so that it draws a curve.
_CURVE = _bytes(_METADATA, _bytes(_PLUGIN_DATA, _bytes(_PLUGIN_NAME, b"scalars")))
