"""What both protections of the kernel ask for first: a process that can gain no privilege by starting a program."""

import ctypes
import functools
import os
from typing import Any

_SET_NO_NEW_PRIVILEGES = 38


@functools.cache
def libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def no_new_privileges() -> None:
    if libc().prctl(_SET_NO_NEW_PRIVILEGES, *(ctypes.c_ulong(value) for value in (1, 0, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), f"no_new_privs: {os.strerror(ctypes.get_errno())}")
