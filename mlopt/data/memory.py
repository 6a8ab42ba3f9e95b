"""How much memory reading samples may take."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlopt import memory
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
    """As `mlopt.memory.ceiling`; raises `DataUnreadable` where the budget is not enough."""
    try:
        with memory.ceiling(budget):
            yield
    except MemoryError as err:
        raise DataUnreadable(
            " and ".join(sources), f"reading it takes more than {budget:,} bytes of memory",
            "It is damaged, or made to exhaust memory. Samples that large need a Python entry: module:function.",
        ) from err
