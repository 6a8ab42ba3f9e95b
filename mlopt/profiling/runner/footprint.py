"""What one model adds to a process that has the runtime loaded and nothing else: run it in a child of its own."""

from __future__ import annotations

import ctypes
from pathlib import Path

from . import memory, values
from .answers import Footprint
from .session import Session

_PAGE = 4096


def footprint(session: Session, seed: int) -> Footprint:
    """Between load and the end of the first inference. Our input arrays are freed before the heap is counted. The
    runtime's code is read in before, so that the peak holds what the model needs and not how much code ran first.
    """
    notes: list[str] = []
    session.import_runtime()
    values.random("", (1,), "float32", seed)        # loads numpy's generators: their memory is the runner's
    _read_code_in()
    memory.trim()
    heap = memory.heap_in_use()
    told = memory.reset_peak()
    base = memory.resident()
    session.load()
    session.compile()
    session.feed(seed)
    session.invoke()
    highest = memory.peak()
    session.release_inputs()
    memory.trim()
    used = memory.heap_in_use()
    taken = {"file": Path(session.file).stat().st_size, "weights": -1, "heap_delta": -1, "peak_delta": -1}
    try:
        taken["weights"] = session.weights()
    except (OSError, ValueError) as err:
        notes.append(f"weights: {err}")
    if heap >= 0:
        taken["heap_delta"] = used - heap
    else:
        notes.append("heap: this C library does not count its bytes in use (mallinfo2)")
    if told and base > 0:
        taken["peak_delta"] = highest - base
    else:
        notes.append("peak: this system does not reset its high-water mark (/proc/self/clear_refs)")
    return {"bytes": taken, "notes": notes}


def _read_code_in() -> None:
    """Touch every readable page of the libraries that this process has mapped."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        span, rights, *_, name = line.split(maxsplit=5) if line.count("/") else (line, "", "")
        if rights.startswith("r") and ".so" in Path(name).name:
            first, _, end = span.partition("-")
            for address in range(int(first, 16), int(end, 16), _PAGE):
                ctypes.string_at(address, 1)
