"""The C interface of LiteRT by ctypes: one model compiled for the processor, with the profiler attached.

Signatures are those of the public headers litert/c/*.h of LiteRT 2.x; tensor types and options are handed through as
opaque bytes, so that their inner layout does not matter here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

_CPU = 1                                # of LiteRtHwAccelerators
_AUTO_REGISTER = 24                     # environment option: which accelerators to look for
_INTEGER = 2                            # kind of an option's value
_WRITE = 1                              # kind of a buffer's lock
_RECORD = 104                           # bytes of an event record, checked against what the library writes
_ROOM = 4                               # times that, so that longer records would still find room
_UNWRITTEN = 0xA5
_NEEDED = (
    "LiteRtCreateEnvironment", "LiteRtCreateModelFromFile", "LiteRtCreateOptions",
    "LiteRtSetOptionsHardwareAccelerators", "LiteRtCreateOpaqueOptions", "LiteRtAddOpaqueOptions",
    "LiteRtCreateCompiledModel", "LiteRtGetModelSignature",
    "LiteRtGetRankedTensorType", "LiteRtCreateManagedTensorBufferFromRequirements", "LiteRtGetTensorBufferPackedSize",
    "LiteRtLockTensorBuffer", "LiteRtUnlockTensorBuffer", "LiteRtRunCompiledModel", "LiteRtCompiledModelGetProfiler",
    "LiteRtStartProfiler", "LiteRtStopProfiler", "LiteRtResetProfiler", "LiteRtGetNumProfilerEvents",
    "LiteRtGetProfilerEvents",
    *(f"LiteRtGetNumSignature{side}s" for side in ("Input", "Output")),
    *(f"LiteRtGetSignature{side}TensorByIndex" for side in ("Input", "Output")),
    *(f"LiteRtGetCompiledModel{side}BufferRequirements" for side in ("Input", "Output")),
)
_handle = ctypes.c_void_p
_Random = Callable[[int, int], bytes]   # (element type, bytes) -> that many bytes


class _Value(ctypes.Structure):
    """`LiteRtAny` with an integer in it."""

    _fields_ = [("kind", ctypes.c_int), ("integer", ctypes.c_int64)]


class _EnvironmentOption(ctypes.Structure):
    """`LiteRtEnvOption`."""

    _fields_ = [("tag", ctypes.c_int), ("value", _Value)]


class _Event(ctypes.Structure):
    """`ProfiledEventData` of LiteRT 2.3: name, type, times in us, memory before and after, two numbers, source."""

    _fields_ = [
        ("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64), ("before", ctypes.c_int64 * 3), ("after", ctypes.c_int64 * 3),
        ("place", ctypes.c_uint64), ("second", ctypes.c_uint64), ("source", ctypes.c_int),
    ]


class Library:
    """libLiteRt.so, whose functions return 0 or a status."""

    def __init__(self, library: ctypes.CDLL) -> None:
        missing = [name for name in _NEEDED if not hasattr(library, name)]
        if missing:
            raise RuntimeError(f"this version of LiteRT does not export {', '.join(missing)}")
        self._library = library

    def __call__(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} answered with status {status}")

    def made(self, name: str, *arguments: object) -> ctypes.c_void_p:
        """What a function hands back through its last argument."""
        handle = _handle()
        self(name, *arguments, ctypes.byref(handle))
        return handle


class Compiled:
    """A model that is ready to run, with random inputs; lives as long as the process."""

    def __init__(self, library: Library, file: str, threads: int, seed: int) -> None:
        self._call = library
        only_cpu = _EnvironmentOption(_AUTO_REGISTER, _Value(_INTEGER, _CPU))
        self._environment = library.made("LiteRtCreateEnvironment", 1, ctypes.byref(only_cpu))
        self._model = library.made("LiteRtCreateModelFromFile", self._environment, os.fsencode(file))
        self._options = library.made("LiteRtCreateOptions")
        library("LiteRtSetOptionsHardwareAccelerators", self._options, _CPU)
        self._texts: list[ctypes.Array[ctypes.c_char]] = []
        self._set("runtime_options_string", "enable_profiling = true\n")
        self._set("xnnpack", f'kernel_mode = "delegate"\nnum_threads = {threads}\n')
        self._compiled = library.made("LiteRtCreateCompiledModel", self._environment, self._model, self._options)
        signature = library.made("LiteRtGetModelSignature", self._model, ctypes.c_size_t(0))
        self._inputs = self._buffers(signature, "Input", _seeded(seed))
        self._outputs = self._buffers(signature, "Output", None)
        self._profiler = library.made("LiteRtCompiledModelGetProfiler", self._compiled)
        if not self._profiler:
            raise RuntimeError("this version of LiteRT does not take enable_profiling")

    def run(self) -> None:
        self._call(
            "LiteRtRunCompiledModel", self._compiled, ctypes.c_size_t(0),
            ctypes.c_size_t(len(self._inputs)), self._inputs, ctypes.c_size_t(len(self._outputs)), self._outputs,
        )

    def start_events(self) -> None:
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)

    def stop_events(self) -> list[tuple[int, str, int, int]]:
        """(type, name, place in its graph, elapsed us) of everything since the start, in order."""
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        room = (ctypes.c_ubyte * (_ROOM * _RECORD * max(count.value, 1)))()
        ctypes.memset(room, _UNWRITTEN, ctypes.sizeof(room))
        self._call("LiteRtGetProfilerEvents", self._profiler, count, room)
        _check_records(bytes(room), count.value)
        events = ctypes.cast(room, ctypes.POINTER(_Event))
        found = []
        for i in range(count.value):
            event = events[i]
            found.append((event.kind, (event.name or b"").decode(errors="replace"), event.place, event.elapsed_us))
        return found

    def _set(self, name: str, text: str) -> None:
        """Add options as text; the text must stay where it is, so we hold it and the library frees nothing."""
        held = ctypes.create_string_buffer(text.encode())
        self._texts.append(held)
        options = self._call.made("LiteRtCreateOpaqueOptions", name.encode(), held, _KEEP)
        self._call("LiteRtAddOpaqueOptions", self._options, options)

    def _buffers(self, signature: ctypes.c_void_p, side: str, random: _Random | None) -> ctypes.Array[ctypes.c_void_p]:
        call = self._call
        count = ctypes.c_size_t()
        call(f"LiteRtGetNumSignature{side}s", signature, ctypes.byref(count))
        buffers = (_handle * count.value)()
        for i in range(count.value):
            place = ctypes.c_size_t(i)
            first = ctypes.c_size_t(0)
            needs = call.made(f"LiteRtGetCompiledModel{side}BufferRequirements", self._compiled, first, place)
            tensor = call.made(f"LiteRtGetSignature{side}TensorByIndex", signature, place)
            tensor_type = ctypes.create_string_buffer(256)          # 72 bytes in LiteRT 2.3, handed on unread
            call("LiteRtGetRankedTensorType", tensor, tensor_type)
            buffer = call.made("LiteRtCreateManagedTensorBufferFromRequirements", self._environment, tensor_type, needs)
            buffers[i] = buffer.value
            if random is not None:
                self._fill(buffer, int.from_bytes(tensor_type.raw[:4], "little"), random)
        return buffers

    def _fill(self, buffer: ctypes.c_void_p, element: int, random: _Random) -> None:
        size = ctypes.c_size_t()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, ctypes.byref(size))
        address = _handle()
        self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(address), _WRITE)
        content = random(element, size.value)
        ctypes.memmove(address, content, size.value)
        self._call("LiteRtUnlockTensorBuffer", buffer)


_KEEP = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
_ELEMENTS = {1: "float32", 6: "bool", 7: "int16", 9: "int8", 3: "uint8", 10: "float16", 11: "float64"}


def _seeded(seed: int) -> _Random:
    """(element type, bytes) -> that many bytes of values as the timed runs have them; 0 for wide integers."""

    def values_of(element: int, size: int) -> bytes:
        import numpy as np

        from . import values

        if element not in _ELEMENTS:
            return bytes(size)
        kind = np.dtype(_ELEMENTS[element])
        return bytes(values.random("", (size // kind.itemsize,), kind, seed).tobytes()).ljust(size, b"\0")

    return values_of


def _check_records(raw: bytes, count: int) -> None:
    """The library wrote `count` records of the size that we read, but for padding at the end, and nothing behind."""
    written = len(raw.rstrip(bytes([_UNWRITTEN])))
    if not count * _RECORD - 8 <= written <= count * _RECORD:
        raise RuntimeError(f"this version of LiteRT writes event records of another size: {count} took {written} bytes")
