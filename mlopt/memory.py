"""A ceiling on the memory that a piece of work may take: for what native libraries allocate on a file's word."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def ceiling(budget: int) -> Iterator[None]:
    """Within it this process may take `budget` bytes more than it has; `MemoryError` where that is not enough.

    A native library may end the process instead. Linux counts a process's private memory and holds it to RLIMIT_DATA;
    elsewhere nothing is bounded.
    """
    held = _private_bytes()
    if held is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    lowest = min([held + budget, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _private_bytes() -> int | None:
    """What RLIMIT_DATA counts of this process; None where the system does not say."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return None
    return int(status.read_text().split()[5]) * resource.getpagesize()
