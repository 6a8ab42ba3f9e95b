"""Time of each operation in LiteRT, those inside the XNNPACK delegate too, by the C profiler of the wheel's library.

The C functions are called by ctypes on `libLiteRt.so`, which the Python modules beside it do not use. Its event
records are not a documented interface: the size of a record is measured on the first events, and anything that does
not look as expected is refused with a sentence. Run it in a process of its own (`apart.in_child`).
"""

from __future__ import annotations

import ctypes
import importlib.util
import time
from collections import Counter
from pathlib import Path

from . import litert_mapping
from .answers import OperatorTimes
from .litert import LiteRT
from .litert_library import Compiled, Library
from .timing import Rounds

_LEAST_RUNS, _MOST_RUNS = 50, 1000      # records hold whole microseconds: short operations need the mean of many
_WARM_UP_RUNS = 20
_TURN = 10                              # runs in a row, so that each finds the caches as its own kind left them
_CUT_US = 0.5                           # XNNPACK cuts each time to whole microseconds: half of one is lost on average

BUILTIN, DELEGATED, SHOWN_DELEGATED = 2, 4, 8       # event types: an operation, one inside a delegate (two ways)
_KNOWN = frozenset({1, BUILTIN, DELEGATED, SHOWN_DELEGATED, 16, 32, 64, 128, 256})


def profile(file: str, threads: int, seed: int, most_seconds: float) -> OperatorTimes:
    """Runs with and without profiling take turns, so that both see the same machine."""
    model = Compiled(library(), file, threads, seed)
    plain = LiteRT(file, threads)
    plain.import_runtime()
    plain.load()
    plain.compile()
    plain.feed(seed)
    for _ in range(_WARM_UP_RUNS):
        model.run()
        plain.invoke()
    rounds, without = Rounds(), Rounds()
    seen: list[list[tuple[int, str, int, int]]] = []
    until = time.perf_counter() + most_seconds
    while rounds.count < _MOST_RUNS and (rounds.count < _LEAST_RUNS or time.perf_counter() < until):
        for _ in range(_TURN):
            model.start_events()
            rounds.run(model.run)
            seen.append(_operations(model.stop_events()))
        plain.invoke()                  # finds the caches as the profiler left them
        for _ in range(_TURN):
            without.run(plain.invoke)
    quiet = rounds.quiet()
    shapes = [tuple(event[:3] for event in run) for run in seen]
    common = Counter(shapes[i] for i in quiet).most_common(1)[0][0]
    alike = [i for i in quiet if shapes[i] == common]
    notes = rounds.notes(quiet)
    if len(alike) < len(quiet):
        notes.append(f"operators: {len(quiet) - len(alike)} of {len(quiet)} profiled runs executed other operations")
    if any(kind != BUILTIN for kind, *_ in common):
        notes.append("operators: XNNPACK cuts each time to whole microseconds; half of one is given back to each")
    if not common:
        raise RuntimeError("LiteRT's profiler recorded no operation")
    means = [
        sum(seen[i][place][3] for i in alike) / len(alike) + (0.0 if kind == BUILTIN else _CUT_US)
        for place, (kind, *_) in enumerate(common)
    ]
    return {
        "operators": litert_mapping.operators(common, means, len(alike), file),
        "invoke_us": rounds.mean_us(alike), "plain_us": without.mean_us(without.quiet()), "notes": notes,
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
