"""The order of a measurement: what needs an untouched process first, then the phases, the memory, the steady state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from . import RUNNER, SCHEMA, device, timing, turns
from .answers import Footprint, OperatorTimes, Request, Result
from .apart import in_child
from .energy import Meter
from .footprint import footprint
from .litert import LiteRT, tensor_arena
from .onnx import Onnx
from .session import Session

_Value = TypeVar("_Value")

_SESSIONS: dict[str, Callable[[str, int], Session]] = {"tflite": LiteRT, "onnx": Onnx}
_PROFILE_SECONDS = 2.0
_MEMORY_PROCESSES = 3
_ADDS_UP = 0.15             # a larger gap between the operators' sum and the whole is said
_PLACES_SHOWN = 2000        # places of disturbed samples that travel back


def measure(request: Request) -> Result:
    """One request in this process, which did nothing before."""
    kind = _SESSIONS.get(request["format"])
    if kind is None:
        return failed(request, f"this runner measures {' and '.join(_SESSIONS)}, not {request['format']!r}")
    beside = request.get("beside", "")
    for file in filter(None, (request["file"], beside)):
        if not Path(file).is_file():
            return failed(request, f"there is no file {file}")
    if beside and request.get("arrival", "back-to-back") != "back-to-back":
        return failed(request, "two files take turns back to back alone: at a fixed rate one would wait for the other")
    notes: list[str] = []
    if request.get("cpus"):
        notes.append(device.pin(list(request["cpus"])))
    if request.get("threads", 1) > len(device.allowed()):
        notes.append(f"{request['threads']} threads share {len(device.allowed())} processors")
    result = failed(request, "")
    _apart(request, result, notes)                      # forked while this process is still empty
    threads = int(request.get("threads", 1))
    sessions = [kind(file, threads) for file in (request["file"], beside) if file]
    before_us = device.arithmetic_us()
    if beside:
        session_runtime = _in_turns(sessions[0], sessions[1], request, result, notes)
    else:
        session_runtime = _phases(sessions[0], request, result)
        _steady(sessions[0], request, result, notes)
    after_us = device.arithmetic_us()
    result["facts"] = {
        **device.facts(), "runtime": session_runtime, "runner": RUNNER,
        "throttled": after_us > device.SLOWED * before_us,
    }
    result["extra"].update(
        arithmetic_before_us=f"{before_us:.1f}", arithmetic_after_us=f"{after_us:.1f}",
        processors=",".join(map(str, device.allowed())),
    )
    told = (*notes, *(note for session in sessions for note in session.notes))
    result["notes"] = list(dict.fromkeys(note for note in told if note))
    return result


def failed(request: Request, error: str) -> Result:
    """A result with nothing in it but the reason."""
    return {
        "nonce": request["nonce"], "schema": SCHEMA, "error": error, "phases": {}, "warmup_runs": 0, "samples_us": [],
        "notes": [], "extra": {}, "facts": {**device.facts(), "runner": RUNNER},
    }


def _apart(request: Request, result: Result, notes: list[str]) -> None:
    """What would leave traces in the timed process: counting memory, other kernels, profiling."""
    file, threads, seed = request["file"], int(request.get("threads", 1)), int(request.get("seed", 0))
    kind = request["format"]
    if request.get("memory", True):
        result["memory"], told = _memory(lambda: footprint(_SESSIONS[kind](file, threads), seed))
        notes.extend(told)
        if kind == "tflite":
            arena, why = in_child("tensor arena", lambda: tensor_arena(file))
            notes.append(why)
            result["memory"]["arena"] = -1 if arena is None else arena
        else:
            notes.append("arena: ONNX Runtime does not tell where its tensors lie; they are in the heap figure")
    if request.get("operators"):
        profile = _profiler(kind)
        answer, why = in_child("operators", lambda: profile(file, threads, seed, _PROFILE_SECONDS))
        notes.append(why)
        if answer is not None:
            result["operators"] = answer["operators"]
            result["operators_invoke_us"] = answer["invoke_us"]
            result["extra"]["operators_plain_us"] = f"{answer['plain_us']:.3f}"
            notes.extend((*answer["notes"], _agreement(answer)))


def _memory(count: Callable[[], Footprint]) -> tuple[dict[str, int], list[str]]:
    """(fields of `MemoryBytes`, notes): counted in one process after another until two agree to the byte, or in three.

    Where they do not, the middle heap and the lowest peak stand: the system's placing of blocks only adds to a peak.
    """
    seen: list[Footprint] = []
    for _ in range(_MEMORY_PROCESSES):
        taken, why = in_child("memory", count)
        if taken is None:
            return {}, [why]
        seen.append(taken)
        if len(seen) > 1 and seen[-1]["bytes"] == seen[-2]["bytes"]:
            break
    counts = [one["bytes"] for one in seen]
    heaps = sorted(one["heap_delta"] for one in counts)
    return {
        **counts[-1], "heap_delta": heaps[len(heaps) // 2], "peak_delta": min(one["peak_delta"] for one in counts),
    }, seen[-1]["notes"]


def _agreement(answer: OperatorTimes) -> str:
    """"" where the operators' times add up to an inference without profiling."""
    total = sum(operator["mean_us"] for operator in answer["operators"])
    share = total / answer["plain_us"]
    if abs(share - 1) <= _ADDS_UP:
        return ""
    why = "some of it passes between them" if share < 1 else "profiling has a price for each"
    return f"operators: times add up to {share:.0%} of an inference without profiling: {why}, so read them as shares"


def _profiler(kind: str) -> Callable[[str, int, int, float], OperatorTimes]:
    if kind == "tflite":
        from .litert_operators import profile
    else:
        from .onnx_operators import profile
    return profile


def _phases(session: Session, request: Request, result: Result) -> str:
    """Import, load, compile and the first inference, each timed once; returns the runtime's name and version."""
    phases: dict[str, float] = {}
    runtime = _timed("import_ms", phases, session.import_runtime)
    _timed("load_ms", phases, session.load)
    _timed("compile_ms", phases, session.compile)
    session.feed(int(request.get("seed", 0)))
    _timed("first_ms", phases, session.invoke)
    result["phases"] = {name: value for name, value in phases.items() if name not in session.not_told}
    return runtime


def _steady(session: Session, request: Request, result: Result, notes: list[str]) -> None:
    most = float(request.get("most_seconds", 20.0))
    runs = int(request.get("runs", 200))
    warm = _warm_up(session, request, notes)
    energy = Meter()
    if request.get("arrival", "back-to-back") == "fixed-rate":
        timed = timing.fixed_rate(session.invoke, runs=runs, most_seconds=most, rate_hz=float(request["rate_hz"]))
        if not math.isnan(timed.wake_us):
            result["extra"]["wake_up_us"] = f"{timed.wake_us:.1f}"
            notes.append(f"every time holds the system's wake-up delay, {timed.wake_us:.0f} us in the median")
    else:
        batch = timing.batch_for(warm.median_us)
        timed = timing.back_to_back(session.invoke, runs=runs, most_seconds=most, batch=batch)
    result["extra"].update(energy.stop(len(timed.samples_us) * timed.batch))
    result.update({
        "warmup_runs": warm.runs, "samples_us": timed.samples_us, "batch_per_sample": timed.batch,
        "missed_deadlines": timed.missed, "context_switches": timed.switches,
    })
    notes.extend(_fewer(timed, runs, most))
    for name, places in (("preempted", timed.preempted), ("woken_late", timed.woken_late)):
        if places:
            result["extra"][name] = ",".join(map(str, places[:_PLACES_SHOWN]))


def _in_turns(one: Session, other: Session, request: Request, result: Result, notes: list[str]) -> str:
    """Two files in this process, loaded in an order that is drawn; returns the runtime's name and version.

    Phases are not told: they belong to a process that loads one file.
    """
    draw = turns.order(int(request.get("order_seed", 0)))
    for session in (one, other) if draw.random() < 0.5 else (other, one):
        runtime = session.import_runtime()
        session.load()
        session.compile()
        session.feed(int(request.get("seed", 0)))
        session.invoke()
    most = float(request.get("most_seconds", 20.0))
    runs = int(request.get("runs", 200))
    warm, warm_other = _warm_up(one, request, notes), _warm_up(other, request, notes)
    planned = turns.turns_for(warm.median_us, warm_other.median_us)
    timed, timed_other = turns.in_turns(
        one.invoke, other.invoke, runs=runs, most_seconds=most, planned=planned, draw=draw
    )
    result.update({
        "warmup_runs": warm.runs, "samples_us": timed.samples_us, "beside_samples_us": timed_other.samples_us,
        "burst": planned.samples, "batch_per_sample": timed.batch,
        "context_switches": timed.switches + timed_other.switches,
    })
    notes.extend(_fewer(timed, runs, most))
    for name, places in (("preempted", timed.preempted), ("beside_preempted", timed_other.preempted)):
        if places:
            result["extra"][name] = ",".join(map(str, places[:_PLACES_SHOWN]))
    return runtime


def _warm_up(session: Session, request: Request, notes: list[str]) -> timing.WarmUp:
    most = min(2.0, float(request.get("most_seconds", 20.0)))
    warm = timing.warm_up(session.invoke, least=int(request.get("least_warmup_runs", 5)), most_seconds=most)
    if not warm.steady:
        notes.append(f"the warm-up of {warm.runs} runs ended by its time limit, not because times held still")
    return warm


def _fewer(timed: timing.Timed, runs: int, most: float) -> list[str]:
    """What one has to know of the number of samples."""
    said = []
    if timed.batch > 1:
        said.append(f"one sample is the mean of {timed.batch} inferences: alone they are too short for the clock")
    if len(timed.samples_us) < runs:
        said.append(f"{len(timed.samples_us)} of {runs} runs were made in {most:g} s")
    return said


def _timed(name: str, phases: dict[str, float], work: Callable[[], _Value]) -> _Value:
    start = time.perf_counter_ns()
    value = work()
    phases[name] = (time.perf_counter_ns() - start) / 1e6
    return value
