"""Several files beside each other, and what changed from one to the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlopt.profiling.session import Change, FileProfile, compare
from mlopt.render.profile_page.axis import time_text, times_text
from mlopt.words import UNKNOWN_TEXT, size_text

_CHANGES = 40                   # rows; the rest is one row with its sum


@dataclass(frozen=True, kw_only=True)
class Span:
    """From the fastest run to p90, the median and p99 as marks; places in percent of the common scale."""

    about: str
    least: float
    width: float
    p50: float
    p99: float | None


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One file's row."""

    name: str
    p50_us: float
    p50: str
    interval: str
    cells: tuple[str, ...]              # p90, p99, first inference, size, peak
    span: Span | None


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    rows: tuple[Beside, ...]
    far: str                            # the end of the scale


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One operation in both files; `width` is in percent of the column, of which slower has the right half."""

    operation: str
    before: str
    after: str
    difference_us: float
    difference: str
    side: str
    width: float


@dataclass(frozen=True, kw_only=True)
class Changes:
    names: tuple[str, str]
    rows: tuple[Difference, ...]
    others: int                         # operations that are not listed
    others_difference: str
    before: str
    after: str
    difference: str


def side_by_side(profiles: Sequence[FileProfile], names: Sequence[str]) -> SideBySide | None:
    """One row a file, with its range of times on one common scale; nothing for a single file."""
    if len(profiles) < 2:
        return None
    far = max((_end(p) for p in profiles), default=0.0) * 1.04 or 1.0
    rows = tuple(_beside(p, name, far) for p, name in zip(profiles, names, strict=True))
    return SideBySide(rows=rows, far=time_text(far))


def _beside(one: FileProfile, name: str, far: float) -> Beside:
    of = one.distribution
    return Beside(
        name=name, p50_us=of.p50.us, p50=time_text(of.p50.us), interval=times_text(of.p50.low_us, of.p50.high_us),
        cells=(
            time_text(of.p90.us), time_text(of.p99.us), time_text(1e3 * one.phases.first_ms), _size(one.memory.file),
            _size(one.memory.peak_delta),
        ),
        span=_span(one, far),
    )


def _end(one: FileProfile) -> float:
    """How far a file's range is drawn: to p99, unless that would squeeze the rest flat; 0 where nothing is known."""
    of = one.distribution
    known = [us for us in (of.p50.us, of.p90.us) if math.isfinite(us)]
    if not known:
        return 0.0
    limit = max(2.5 * of.p50.us, 1.1 * max(known))
    return min(of.p99.us, limit) if math.isfinite(of.p99.us) else max(known)


def _span(one: FileProfile, far: float) -> Span | None:
    of = one.distribution
    if math.isnan(of.p50.us):
        return None
    last = of.p90.us if math.isfinite(of.p90.us) else of.p50.us

    def at(us: float) -> float:
        return min(100 * us / far, 99.0)         # a p99 beyond the scale stands at its end

    about = f"fastest {time_text(of.least_us)}, p50 {time_text(of.p50.us)}, p90 {time_text(of.p90.us)}, " \
            f"p99 {time_text(of.p99.us)}"
    return Span(
        about=about, least=at(of.least_us), width=at(max(last - of.least_us, 0.0)), p50=at(of.p50.us),
        p99=at(of.p99.us) if math.isfinite(of.p99.us) else None,
    )


def changes(before: FileProfile, after: FileProfile, names: tuple[str, str]) -> Changes | None:
    """Operation by operation, the largest difference first."""
    found = compare(before, after)
    if not found:
        return None
    largest = max(abs(change.difference_us) for change in found) or 1.0
    rest = found[_CHANGES:]
    return Changes(
        names=names, rows=tuple(_difference(change, largest) for change in found[:_CHANGES]), others=len(rest),
        others_difference=_signed(sum(c.difference_us for c in rest)), before=_us(before.operators_sum_us),
        after=_us(after.operators_sum_us), difference=_signed(sum(c.difference_us for c in found)),
    )


def _difference(of: Change, largest: float) -> Difference:
    share = of.difference_us / largest
    return Difference(
        operation=of.operation, before=_us(of.before_us), after=_us(of.after_us), difference_us=of.difference_us,
        difference=_signed(of.difference_us), side="up" if share > 0 else "down", width=50 * abs(share),
    )


def _signed(us: float) -> str:
    return f"{us:+.2f}".replace("-", "−") if abs(us) >= 0.005 else "0.00"


def _us(us: float) -> str:
    return f"{us:.2f}" if math.isfinite(us) else UNKNOWN_TEXT


def _size(count: int) -> str:
    return size_text(count) if count >= 0 else UNKNOWN_TEXT
