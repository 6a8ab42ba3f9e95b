"""Where the bytes are, and where the error comes from, layer by layer."""

import math
from collections.abc import Sequence

from mlopt.render.html.markup import esc, slots, swatch
from mlopt.report import Candidate, LayerError, Report
from mlopt.words import decibels, grouped, percent

_WORST = 24          # layers listed for each file
_BAR_DB = 60.0       # a full bar: differences above it are below float16's own rounding
_SEGMENTS = 60       # segments of a size bar; the smallest layers are drawn together


def size_map(report: Report) -> str:
    """A stacked bar for each file on one common scale: its layers in order, then what is not weights."""
    shown = [c for c in report.candidates if c.path and c.layers]
    if not shown:
        return ""
    largest = max(c.bytes for c in shown)
    slot_of = slots([c.format for c in report.candidates])
    rows = []
    for c in shown:
        slot = slot_of[c.format]
        rows.append(
            f'<tr class="{"rec" if c.recommended else ""}"><th scope="row">{swatch(slot)}{esc(c.format)} '
            f'{esc(c.precision)}</th><td class="w">{_bar(c, largest, slot)}</td>'
            f'<td class="n">{grouped(c.bytes)}</td>'
            f'<td class="n">{percent(c.overhead_bytes / max(c.bytes, 1))}</td></tr>'
        )
    head = (
        '<thead><tr><th scope="col">File</th><th scope="col">Layers in file order; grey is not weights</th>'
        '<th scope="col" class="n">Bytes</th><th scope="col" class="n">Not weights</th></tr></thead>'
    )
    bars = f'<div class="scroll"><table class="sizes">{head}<tbody>{"".join(rows)}</tbody></table></div>'
    return bars + "".join(_details(c) for c in shown if c.recommended)


def _bar(c: Candidate, largest: int, slot: int) -> str:
    parts = [(f"{layer.name}: {grouped(layer.bytes)} bytes, {layer.weight_dtype}", layer.bytes) for layer in c.layers]
    if len(parts) > _SEGMENTS:
        kept = sorted(size for _, size in parts)[-_SEGMENTS]
        rest = [size for _, size in parts if size < kept]
        parts = [p for p in parts if p[1] >= kept]
        parts.append((f"{len(rest)} small layers: {grouped(sum(rest))} bytes", sum(rest)))
    pieces = [
        f'<i style="width:{size / largest * 100:.3f}%;background:var(--f{slot})" title="{esc(text)}"></i>'
        for text, size in parts
    ]
    over = f"not weights: {grouped(c.overhead_bytes)} bytes"
    pieces.append(f'<i class="over" style="width:{c.overhead_bytes / largest * 100:.3f}%" title="{esc(over)}"></i>')
    label = f"{c.format} {c.precision}: {grouped(c.bytes)} bytes, {len(c.layers)} layers"
    return f'<div class="bar" role="img" aria-label="{esc(label)}">{"".join(pieces)}</div>'


def _details(c: Candidate) -> str:
    rows = "".join(
        f'<tr><th scope="row" class="mono">{esc(x.name)}</th><td>{esc(x.op)}</td><td>{esc(x.weight_dtype)}</td>'
        f'<td>{esc(x.activation_dtype)}</td><td class="n">{grouped(x.elements)}</td>'
        f'<td class="n">{grouped(x.bytes)}</td></tr>'
        for x in c.layers
    )
    heads = ("Layer", "Operation", "Weights", "Input", "Elements", "Bytes")
    head = "".join(f'<th scope="col"{" class=n" if h in ("Elements", "Bytes") else ""}>{h}</th>' for h in heads)
    return (
        f"<details><summary>Layers of {esc(c.format)} {esc(c.precision)}, read back from the file</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def layer_errors(report: Report) -> str:
    """Signal to noise at each tensor; recommended files come first, and the first of them is open."""
    shown = sorted((c for c in report.candidates if c.layer_errors), key=lambda c: not c.recommended)
    return "".join(
        f'<details{" open" if c is shown[0] else ""}><summary>{esc(c.format)} {esc(c.precision)}: '
        f"worst {decibels(_worst(c.layer_errors))}</summary>{_error_table(c.layer_errors)}</details>"
        for c in shown
    )


def _worst(errors: Sequence[LayerError]) -> float:
    return min((e.sqnr_db for e in errors if not math.isnan(e.sqnr_db)), default=math.nan)


def _error_table(errors: Sequence[LayerError]) -> str:
    note = ""
    if len(errors) > _WORST:
        errors = sorted(errors, key=lambda e: e.sqnr_db)[:_WORST]
        note = f'<p class="note">The {_WORST} layers with the most noise.</p>'
    rows = "".join(
        f'<tr><th scope="row" class="mono">{esc(e.name)}</th><td class="n">{decibels(e.sqnr_db)}</td>'
        f'<td class="w"><span class="b" style="width:{_share(e.sqnr_db):.1f}%"></span></td></tr>'
        for e in errors
    )
    heads = '<th scope="col">Tensor</th><th scope="col" class="n">SQNR</th><th scope="col">0 to 60 dB</th>'
    return f'{note}<table class="bars"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _share(sqnr_db: float) -> float:
    return 0.0 if math.isnan(sqnr_db) else max(0.0, min(sqnr_db / _BAR_DB, 1.0)) * 100
