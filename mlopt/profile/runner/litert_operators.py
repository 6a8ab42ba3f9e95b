"""Time of each operation in LiteRT, those inside the XNNPACK delegate too, by the C profiler of the wheel's library.

The C functions are called by ctypes on `libLiteRt.so`, which the Python modules beside it do not use. Its event
records are not a documented interface: the size of a record is measured on the first events, and anything that does
not look as expected is refused with a sentence. Run it in a process of its own (`apart.in_child`).
"""

from __future__ import annotations

import ctypes
import importlib.util
import time
from pathlib import Path
from typing import Any

from . import litert_mapping
from .litert_library import Compiled, Library

_LEAST_RUNS, _MOST_RUNS = 50, 1000      # records hold whole microseconds: short operations need the mean of many
_WARM_UP_RUNS = 20

BUILTIN, DELEGATED, SHOWN_DELEGATED = 2, 4, 8       # event types: an operation, one inside a delegate (two ways)
_KNOWN = frozenset({1, BUILTIN, DELEGATED, SHOWN_DELEGATED, 16, 32, 64, 128, 256})


def profile(file: str, threads: int, seed: int, most_seconds: float) -> dict[str, Any]:
    """{"operators": [OperatorTime ...], "invoke_us": mean with profiling, "notes": [...]}."""
    model = Compiled(library(), file, threads, seed)
    for _ in range(_WARM_UP_RUNS):
        model.run()
    sums: dict[tuple[tuple[int, str, int], ...], list[int]] = {}
    counts: dict[tuple[tuple[int, str, int], ...], int] = {}
    invoke_ns, runs = 0, 0
    until = time.perf_counter() + most_seconds
    while runs < _MOST_RUNS and (runs < _LEAST_RUNS or time.perf_counter() < until):
        model.start_events()
        start = time.perf_counter_ns()
        model.run()
        invoke_ns += time.perf_counter_ns() - start
        operations = _operations(model.stop_events())
        shape = tuple((kind, name, place) for kind, name, place, _ in operations)
        sums[shape] = [a + o[3] for a, o in zip(sums.get(shape, [0] * len(operations)), operations)]
        counts[shape] = counts.get(shape, 0) + 1
        runs += 1
    common = max(counts, key=lambda shape: counts[shape])
    notes = []
    if len(counts) > 1:
        notes.append(f"operators: {runs - counts[common]} of {runs} profiled runs executed other operations")
    if not common:
        raise RuntimeError("LiteRT's profiler recorded no operation")
    means = [total / counts[common] for total in sums[common]]
    return {
        "operators": litert_mapping.operators(common, means, counts[common], file),
        "invoke_us": invoke_ns / 1e3 / runs, "notes": notes,
    }


def library() -> Library:
    """The wheel's C library; refuses with a sentence where this version has none that fits."""
    spec = importlib.util.find_spec("ai_edge_litert")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package ai_edge_litert is not installed")
    file = Path(next(iter(spec.submodule_search_locations))) / "libLiteRt.so"
    if not file.exists():
        raise RuntimeError(f"this version of ai_edge_litert has no {file.name}")
    return Library(ctypes.CDLL(str(file)))


def _operations(events: list[tuple[int, str, int, int]]) -> list[tuple[int, str, int, int]]:
    """(type, name, place, microseconds) of the operations in one run, in order.

    A delegate's node that shows what is inside it is left out, since its time is theirs.
    """
    strange = sorted({kind for kind, *_ in events} - _KNOWN)
    if strange:
        raise RuntimeError(f"LiteRT's profiler records events of the unknown types {strange}")
    inside = any(kind in (DELEGATED, SHOWN_DELEGATED) for kind, *_ in events)
    return [
        event for event in events
        if event[0] in (DELEGATED, SHOWN_DELEGATED)
        or (event[0] == BUILTIN and not (inside and "delegate" in event[1].lower()))
    ]
