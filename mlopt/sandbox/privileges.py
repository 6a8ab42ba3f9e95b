"""What a process gives up before all else: gaining privileges by starting a program, and most of what root may do."""

import ctypes
import functools
import os
import struct
from typing import Any

_SET_NO_NEW_PRIVILEGES = 38
_VERSION = 0x20080522
# Over files, so that root in a container works on other users' volumes; and over priorities and locked memory, which
# computing asks for. All others reach into other processes, the network or the kernel.
_KEPT = sum(1 << number for number in (0, 1, 2, 3, 4, 14, 23))    # chown, dac_*, fowner, fsetid, ipc_lock, sys_nice


@functools.cache
def libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def no_new_privileges() -> None:
    if libc().prctl(_SET_NO_NEW_PRIVILEGES, *(ctypes.c_ulong(value) for value in (1, 0, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), f"no_new_privs: {os.strerror(ctypes.get_errno())}")


def drop_capabilities() -> None:
    """For this thread and, with `no_new_privileges`, all that it starts. Does nothing for those who have none."""
    header, sets = struct.pack("=Ii", _VERSION, 0), ctypes.create_string_buffer(24)
    if libc().capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), f"capabilities: {os.strerror(ctypes.get_errno())}")
    low, high = _KEPT & 0xFFFFFFFF, _KEPT >> 32
    kept = [value & mask for value, mask in zip(struct.unpack("=6I", sets.raw), [low] * 3 + [high] * 3, strict=True)]
    if libc().capset(header, struct.pack("=6I", *kept)) != 0:
        raise OSError(ctypes.get_errno(), f"capabilities: {os.strerror(ctypes.get_errno())}")
