"""Landlock: which files this process, and all that it starts, may still write and read. Linux 5.19 and later.

The numbers are those of linux/landlock.h and stay what they are for ever: each version of the interface adds to them.
https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlopt.sandbox.privileges import libc, no_new_privileges

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446       # the same on every processor
_VERSION_FLAG, _PATH_BENEATH = 1, 1

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1

_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV     # what a rule for something that is no folder may hold
_READING = _READ_FILE | _READ_DIR
_DEVICE_NODES = _MAKE_CHAR | _MAKE_BLOCK                          # never granted
_WRITING = (
    _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
    | _DEVICE_NODES | _REFER
)
TRUNCATES_SINCE, TCP_SINCE = 3, 4
_SINCE = {_TRUNCATE: TRUNCATES_SINCE, _IOCTL_DEV: 5}      # version of the interface -> what it added to writing
LEAST_VERSION = 2                           # before, no file could be moved from one folder to another


def version() -> int:
    """Of the interface that this kernel has; 0 where there is none."""
    return max(0, libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def restrict(
    *, writes: Sequence[Path] | None, reads: Iterable[Path] | None, devices: Iterable[Path], network: bool
) -> bool:
    """Allow this thread only this from now on; False where the kernel cannot hold it to that.

    `writes` are folders, with everything in them, that can be read as well. `reads` are files and folders. None leaves
    writing, or reading, free. `devices` can be opened, read, written and controlled. Without `network` there is no TCP
    connection, and no abstract socket of another process. What is not there now is not allowed later either. Signals
    reach only processes that are held in like this one.
    """
    found = version()
    if found < LEAST_VERSION:
        return False
    handled = 0
    if writes is not None:
        handled |= _WRITING | sum(access for access, since in _SINCE.items() if found >= since)
    if reads is not None:
        handled |= _READING
    if not handled:
        return False
    parts = [handled]
    if found >= TCP_SINCE:
        parts.append(0 if network else _BIND_TCP | _CONNECT_TCP)
    if found >= 6:
        parts.append(_SIGNALS | (0 if network else _ABSTRACT_SOCKETS))
    attributes = struct.pack(f"={len(parts)}Q", *parts)
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    try:
        for path in writes or ():
            _allow(ruleset, path, handled & ~_DEVICE_NODES & ~_IOCTL_DEV)
        for path in devices:
            _allow(ruleset, path, handled & (_OF_FILES | _READ_DIR | _MAKE_REG | _REMOVE_FILE))
        for path in reads or ():
            _allow(ruleset, path, _READING)
        no_new_privileges()
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return                  # what is not there, or not for us, cannot be reached anyway
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= _OF_FILES
        rule = struct.pack("=Qi", access, place)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result = int(libc().syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
