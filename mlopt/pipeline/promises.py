"""What the parts of one run deliver to each other."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlopt.model import SourceModel
from mlopt.pipeline.product import Product

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What one part of a run delivers and others wait for."""

    source: "Future[SourceModel]" = field(default_factory=Future)
    calibration: "Future[Path]" = field(default_factory=Future)        # folders of samples
    proof: "Future[Path]" = field(default_factory=Future)
    reference: "Future[Path]" = field(default_factory=Future)
    product: "Future[Product]" = field(default_factory=Future)         # what files are exported from
    floats: dict[str, "Future[Path | None]"]                           # None: there is no file of that format
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, future: "Future[T]", value: T) -> None:
        """Deliver, unless it is delivered."""
        with self._lock:
            if not future.done():
                future.set_result(value)

    def break_all(self, err: BaseException) -> None:
        """Let nobody wait for what will not come."""
        futures: list[Future[SourceModel] | Future[Path] | Future[Product] | Future[Path | None]] = [
            self.source, self.calibration, self.proof, self.reference, self.product, *self.floats.values(),
        ]
        with self._lock:
            for future in futures:
                if not future.done():
                    future.set_exception(err)
