"""What a measurement asks of a runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Session(Protocol):
    """One file in one runtime. `import_runtime`, `load`, `compile`, then `feed` and `invoke`, in that order."""

    file: str
    notes: list[str]
    not_told: frozenset[str]            # phases that the runtime does not tell apart
    invoke: Callable[[], object]        # there from `feed` on

    def import_runtime(self) -> str:
        """Load the runtime's code; returns its name and version."""
        ...

    def load(self) -> None: ...

    def compile(self) -> None: ...

    def feed(self, seed: int) -> None:
        """Fill the inputs with random values."""
        ...

    def release_inputs(self) -> None: ...

    def weights(self) -> int:
        """Bytes of all constant tensors."""
        ...
