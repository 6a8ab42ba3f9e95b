"""What a model takes, measured in a process that has nothing else in it.

The allocator's own count of bytes in use is exact and repeats; resident memory moves in pages and holds freed blocks
until `malloc_trim`. `ru_maxrss` is never read: a child inherits its parent's. The highest resident memory of a stretch
is VmHWM after writing 5 to /proc/self/clear_refs, which sets it back to what is resident now.
"""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

_PROC = Path("/proc/self")


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later: ten size_t."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]


def trim() -> None:
    """Give freed blocks back to the system, where the C library can."""
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def heap_in_use() -> int:
    """Bytes that the C allocator has given out, small blocks and mapped ones; -1 where it does not tell."""
    try:
        count = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return -1
    count.restype = _Mallinfo2
    info = count()
    return int(info.uordblks + info.hblkhd)


def reset_peak() -> bool:
    """Set the high-water mark of resident memory back to now; False where the kernel does not offer it."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak() -> int:
    """VmHWM in bytes, -1 where unknown."""
    return _field(_PROC / "status", "VmHWM")


def resident() -> int:
    """VmRSS in bytes, -1 where unknown."""
    return _field(_PROC / "status", "VmRSS")


def _field(file: Path, name: str) -> int:
    """A "Name:   123 kB" line of a proc file, in bytes."""
    try:
        text = file.read_text()
    except OSError:
        return -1
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return -1
