"""What a run tells while it works: where it is, and what a reader of the report must know."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from mlopt.report import Finding, Severity


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a part of the run is doing now; `done` of `total` where that is known."""

    part: str             # "source", "data", "tflite", ..., "latency"
    doing: str
    detail: str = ""      # what changes all the time: losses, the time left; for a live display
    done: int = 0
    total: int = 0
    finished: bool = False
    stays: bool = False   # a line to read, which the next one must not take the place of


OnProgress = Callable[[Progress], None]


def unheard(progress: Progress) -> None:
    """For who does not want to know."""
    del progress


class Findings:
    """Findings as they come in, from several threads."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._lock = threading.Lock()

    def add(self, severity: Severity, code: str, about: str, message: str) -> None:
        with self._lock:
            self._found.append(Finding(severity=severity, code=code, about=about, message=message))

    def in_order(self, subjects: tuple[str, ...]) -> tuple[Finding, ...]:
        """All of them, those about `subjects` first and in that order: the order of threads does not show."""
        place = {about: number for number, about in enumerate(subjects)}
        return tuple(sorted(self._found, key=lambda f: (place.get(f.about, len(place)), f.about, f.code, f.message)))
