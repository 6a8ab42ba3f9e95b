"""The key figures, the memory, the energy, the instructions, and what all of it belongs to."""

import math
from collections.abc import Iterable

from mlopt.profiling.session import FileProfile, Settings
from mlopt.render.html.markup import esc
from mlopt.render.profile_page.axis import time_text, times_text
from mlopt.render.profile_page.bars import head
from mlopt.words import UNKNOWN_TEXT, grouped, size_text


def figures(one: FileProfile) -> str:
    """The numbers that are looked for first."""
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
    return '<dl class="figures">' + "".join(
        f'<div><dt>{esc(name)}</dt><dd><span class="v">{esc(value)}</span><br><span class="r">{esc(more)}</span></dd>'
        "</div>" for name, value, more in cells
    ) + "</dl>"


def memory(one: FileProfile) -> str:
    of = one.memory
    rows = (
        ("file", of.file, "on disk"),
        ("weights", of.weights, "constant tensors in the file"),
        ("arena", of.arena, "activation tensors, as the runtime lays them out for its own kernels"),
        ("heap", of.heap_delta, "the allocator's bytes in use, after load, compile and a run, minus before"),
        ("peak", of.peak_delta, "highest resident memory of load, compile and run, above the empty process"),
        ("PSS", of.pss, "the whole process at the end, its share of shared pages included"),
    )
    body = "".join(
        f'<tr><th scope="row">{name}</th><td class="n">{grouped(count) if count >= 0 else UNKNOWN_TEXT}</td>'
        f'<td class="n">{_size(count)}</td><td class="text">{about}</td></tr>' for name, count, about in rows
    )
    top = head(("", False), ("Bytes", True), ("", True), ("What it is", False))
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def energy(one: FileProfile) -> str:
    """The device's counters, or the reason why there are none."""
    of = one.energy
    if not of.parts:
        return f'<p class="note">Energy: unavailable ({esc(of.reason)}).</p>'
    rows = "".join(
        f'<tr><th scope="row">{esc(part.name)}</th><td class="n">{_energy(part.per_inference_uj)}</td></tr>'
        for part in of.parts
    )
    return (
        '<p class="note">By the device’s own counters while inferences were timed. Everything else that ran, '
        "and what an idle part takes, is in it.</p>"
        f'<div class="scroll"><table>{head(("Part", False), ("An inference", True))}<tbody>{rows}</tbody></table></div>'
    )


def instructions(one: FileProfile) -> str:
    if not one.instructions:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{esc(i.processor)}</th><td class="n">{grouped(i.per_inference)}</td>'
        f'<td class="n">{grouped(min(i.each))} to {grouped(max(i.each))}</td><td class="text">'
        f"{esc(i.tool)}; {esc(i.runtime)}; {esc(i.runner)}</td></tr>" for i in one.instructions
    )
    top = head(("Processor", False), ("An inference", True), ("Counted", True), ("With", False))
    return (
        '<p class="note">Work, not time: caches, stalls and clocks are not in it. Compare with counts of the same '
        f'processor and tools alone.</p><div class="scroll"><table>{top}<tbody>{rows}</tbody></table></div>'
    )


def notes(one: FileProfile) -> str:
    told = (*one.distribution.notes, *one.notes)
    return "<ul>" + "".join(f"<li>{esc(note)}</li>" for note in told) + "</ul>" if told else ""


def device(one: FileProfile, settings: Settings) -> str:
    """What the figures belong to and to nothing else."""
    of = one.facts
    rows: list[tuple[str, str]] = [
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
    return _list(rows)


def _list(rows: Iterable[tuple[str, str]]) -> str:
    return '<dl class="facts">' + "".join(f"<dt>{esc(k)}</dt><dd>{esc(v)}</dd>" for k, v in rows) + "</dl>"


def _size(count: int) -> str:
    return size_text(count) if count >= 0 else UNKNOWN_TEXT


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
