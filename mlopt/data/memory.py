"""A ceiling on the memory that reading a file may take: for what native libraries allocate on a file's word."""

import contextlib
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlopt.data.readers.python import is_entry
from mlopt.errors import DataUnreadable

BUDGET = 4 << 30        # bytes above what the process holds: reading takes some hundred MB, a tenth of this


def bounded_for(sources: Sequence[str | None]) -> contextlib.AbstractContextManager[None]:
    """As `bounded`, unless a Python entry is among the sources: how much the user's own code takes is theirs to say."""
    named = [source for source in sources if source is not None]
    entry = any(is_entry(source) and not Path(source).expanduser().exists() for source in named)
    return contextlib.nullcontext() if entry else bounded(named)


@contextlib.contextmanager
def bounded(sources: Sequence[str], budget: int = BUDGET) -> Iterator[None]:
    """Within it this process may take `budget` bytes more than it has; `DataUnreadable` where that is not enough.

    Linux counts a process's private memory and holds it to RLIMIT_DATA; elsewhere nothing is bounded.
    """
    held = _private_bytes()
    if held is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = min([held + budget, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, hard))
    try:
        yield
    except MemoryError as err:
        raise DataUnreadable(
            " and ".join(sources), f"reading it takes more than {budget:,} bytes of memory",
            "It is damaged, or made to exhaust memory. Samples that large need a Python entry: module:function.",
        ) from err
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _private_bytes() -> int | None:
    """What RLIMIT_DATA counts of this process; None where the system does not say."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return None
    return int(status.read_text().split()[5]) * resource.getpagesize()
