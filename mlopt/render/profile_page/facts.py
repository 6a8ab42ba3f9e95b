"""The key figures, the memory, the energy, the instructions, and what all of it belongs to."""

import math

from mlopt.profiling.session import FileProfile, Settings
from mlopt.render.profile_page.axis import time_text, times_text
from mlopt.words import UNKNOWN_TEXT, grouped, size_text


def figures(one: FileProfile) -> list[tuple[str, str, str]]:
    """The numbers that are looked for first: name, value, and what goes with it."""
    spread, memory = one.distribution, one.memory
    cells = [
        (f"p{100 * p.fraction:g}", time_text(p.us), p.reason or f"{times_text(p.low_us, p.high_us)}")
        for p in (spread.p50, spread.p90, spread.p99)
    ]
    cells.append(("first inference", time_text(1e3 * one.phases.first_ms), "in a fresh process"))
    cells.append(("peak memory", _size(memory.peak_delta), "load, compile and run"))
    cells.append(("file", _size(memory.file), f"weights {_size(memory.weights)}"))
    for count in one.instructions:
        cells.append((f"instructions, {count.processor}", _short_count(count.per_inference), "an inference"))
    if one.energy.parts:
        cells.append(("energy", _energy(one.energy.per_inference_uj), f"an inference, {one.energy.watts:.1f} W"))
    return cells


def memory(one: FileProfile) -> list[tuple[str, str, str, str]]:
    """Name, bytes, the same for a quick look, and what it is."""
    of = one.memory
    rows = (
        ("file", of.file, "on disk"),
        ("weights", of.weights, "constant tensors in the file"),
        ("arena", of.arena, "activation tensors, as the runtime lays them out for its own kernels"),
        ("heap", of.heap_delta, "the allocator's bytes in use, after load, compile and a run, minus before"),
        ("peak", of.peak_delta, "highest resident memory of load, compile and run, above the empty process"),
        ("PSS", of.pss, "the whole process at the end, its share of shared pages included"),
    )
    return [(name, grouped(count) if count >= 0 else UNKNOWN_TEXT, _size(count), about) for name, count, about in rows]


def device(one: FileProfile, settings: Settings) -> list[tuple[str, str]]:
    """What the figures belong to and to nothing else."""
    of = one.facts
    rows = [
        ("Device", f"{of.name}, reached as {one.target}"), ("System", of.system), ("Processor", of.processor),
        ("Features", ", ".join(of.features) or "none known"), ("Cores", str(of.cores)),
    ]
    if of.governor:
        rows.append(("Governor", of.governor))
    if of.frequency_khz:
        rows.append(("Clocks at the end", ", ".join(f"{khz / 1e6:.2f} GHz" for khz in of.frequency_khz)))
    if math.isfinite(of.temperature_c):
        rows.append(("Hottest zone", f"{of.temperature_c:.0f} °C"))
    rows += [
        ("Clock while timing", "slower after than before: throttled" if of.throttled else "as fast after as before"),
        ("Runtime", of.runtime or "unknown"), ("Runner", of.runner or "unknown"),
        ("Threads", str(settings.threads)),
        ("Processors used", ", ".join(map(str, settings.cpus)) or "not pinned"),
        ("Inferences", f"{settings.rate_hz:g} a second" if settings.rate_hz else "back to back"),
        ("Seed of the inputs", str(settings.seed)), ("File", one.file), ("sha256", one.sha256),
    ]
    return rows


def _size(count: int) -> str:
    return size_text(count) if count >= 0 else UNKNOWN_TEXT


def energy(one: FileProfile) -> list[tuple[str, str]]:
    """What each part of the device took in an inference, by its own counters; empty where it has none."""
    return [(part.name, _energy(part.per_inference_uj)) for part in one.energy.parts]


def _energy(uj: float) -> str:
    if not math.isfinite(uj):
        return UNKNOWN_TEXT
    return f"{uj / 1e3:.2f} mJ" if uj >= 1e3 else f"{uj:.1f} µJ"


def _short_count(count: int) -> str:
    """A large count for a headline.

    >>> _short_count(1_234_567), _short_count(950)
    ('1.23 M', '950')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
