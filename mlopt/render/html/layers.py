"""Where the bytes are, and where the error comes from, layer by layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlopt.report import Candidate, LayerError, Report
from mlopt.words import grouped

_WORST = 24          # layers listed for each file
_BAR_DB = 60.0       # a full bar: differences above it are below float16's own rounding
_SEGMENTS = 60       # segments of a size bar; the smallest layers are drawn together


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A file's layers in order, each with its width in percent of the largest file, then what is not weights."""

    file: Candidate
    slot: int
    pieces: tuple[tuple[float, str], ...]
    over: float


@dataclass(frozen=True, kw_only=True)
class Errors:
    title: str
    worst: float                          # dB
    rows: tuple[tuple[LayerError, float], ...]      # with the width of its bar in percent
    left_out: int


def sizes(report: Report, slot_of: dict[str, int]) -> list[Bar]:
    shown = [c for c in report.candidates if c.path and c.layers]
    largest = max((c.bytes for c in shown), default=0)
    return [_bar(c, largest, slot_of[c.format]) for c in shown]


def _bar(c: Candidate, largest: int, slot: int) -> Bar:
    parts = [(f"{layer.name}: {grouped(layer.bytes)} bytes, {layer.weight_dtype}", layer.bytes) for layer in c.layers]
    if len(parts) > _SEGMENTS:
        kept = sorted(size for _, size in parts)[-_SEGMENTS]
        rest = [size for _, size in parts if size < kept]
        parts = [p for p in parts if p[1] >= kept]
        parts.append((f"{len(rest)} small layers: {grouped(sum(rest))} bytes", sum(rest)))
    pieces = tuple((size / largest * 100, text) for text, size in parts)
    return Bar(file=c, slot=slot, pieces=pieces, over=c.overhead_bytes / largest * 100)


def errors(report: Report) -> list[Errors]:
    """Signal to noise at each tensor; recommended files come first."""
    shown = sorted((c for c in report.candidates if c.layer_errors), key=lambda c: not c.recommended)
    return [_errors(f"{c.format} {c.precision}", c.layer_errors) for c in shown]


def _errors(title: str, found: Sequence[LayerError]) -> Errors:
    listed = sorted(found, key=lambda e: e.sqnr_db)[:_WORST] if len(found) > _WORST else found
    worst = min((e.sqnr_db for e in found if not math.isnan(e.sqnr_db)), default=math.nan)
    rows = tuple((e, _share(e.sqnr_db)) for e in listed)
    return Errors(title=title, worst=worst, rows=rows, left_out=len(found) - len(rows))


def _share(sqnr_db: float) -> float:
    return 0.0 if math.isnan(sqnr_db) else max(0.0, min(sqnr_db / _BAR_DB, 1.0)) * 100
