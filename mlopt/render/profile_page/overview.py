"""Several files beside each other, and what changed from one to the next."""

import math
from collections.abc import Sequence

from mlopt.profiling.session import FileProfile, compare
from mlopt.render.html.markup import esc
from mlopt.render.profile_page.axis import time_text, times_text
from mlopt.render.profile_page.bars import head
from mlopt.words import UNKNOWN_TEXT, size_text

_CHANGES = 40                   # rows; the rest is one row with its sum


def side_by_side(profiles: Sequence[FileProfile], names: Sequence[str]) -> str:
    """One row a file, with its range of times on one common scale; nothing for a single file."""
    if len(profiles) < 2:
        return ""
    far = max((_end(p) for p in profiles), default=0.0) * 1.04 or 1.0
    rows = "".join(
        f'<tr><th scope="row">{esc(name)}</th>'
        f'<td class="n" data-v="{p.distribution.p50.us:.3f}">{time_text(p.distribution.p50.us)} '
        f'<span class="range">{times_text(p.distribution.p50.low_us, p.distribution.p50.high_us)}</span></td>'
        f'<td class="n">{time_text(p.distribution.p90.us)}</td><td class="n">{time_text(p.distribution.p99.us)}</td>'
        f'<td class="n">{time_text(1e3 * p.phases.first_ms)}</td><td class="n">{_size(p.memory.file)}</td>'
        f'<td class="n">{_size(p.memory.peak_delta)}</td><td class="wide">{_span(p, far)}</td></tr>'
        for p, name in zip(profiles, names, strict=True)
    )
    top = head(("File", False), ("p50", True), ("p90", True), ("p99", True), ("First", True), ("Size", True),
               ("Peak", True), (f"0 to {time_text(far)}", False))
    return f'<div class="scroll"><table>{top}<tbody>{rows}</tbody></table></div>'


def _end(one: FileProfile) -> float:
    """How far a file's range is drawn: to p99, unless that would squeeze the rest flat; 0 where nothing is known."""
    of = one.distribution
    known = [us for us in (of.p50.us, of.p90.us) if math.isfinite(us)]
    if not known:
        return 0.0
    limit = max(2.5 * of.p50.us, 1.1 * max(known))
    return min(of.p99.us, limit) if math.isfinite(of.p99.us) else max(known)


def _span(one: FileProfile, far: float) -> str:
    """From the fastest run to p90, the median and p99 as marks."""
    of = one.distribution
    if math.isnan(of.p50.us):
        return ""
    last = of.p90.us if math.isfinite(of.p90.us) else of.p50.us

    def at(us: float) -> str:
        return f"{min(100 * us / far, 99.0):.2f}%"         # a p99 beyond the scale stands at its end

    tail = f'<i class="far" style="left:{at(of.p99.us)}"></i>' if math.isfinite(of.p99.us) else ""
    about = f"fastest {time_text(of.least_us)}, p50 {time_text(of.p50.us)}, p90 {time_text(of.p90.us)}, " \
            f"p99 {time_text(of.p99.us)}"
    return (
        f'<span class="span" role="img" aria-label="{esc(about)}" title="{esc(about)}">'
        f'<i class="range" style="left:{at(of.least_us)};width:{at(max(last - of.least_us, 0.0))}"></i>'
        f'{tail}<i class="mid" style="left:{at(of.p50.us)}"></i></span>'
    )


def changes(before: FileProfile, after: FileProfile, names: tuple[str, str]) -> str:
    """Operation by operation, the largest difference first."""
    found = compare(before, after)
    if not found:
        return ""
    largest = max(abs(change.difference_us) for change in found) or 1.0
    rows = "".join(
        f'<tr><td class="text">{esc(c.operation)}</td><td class="n">{_us(c.before_us)}</td>'
        f'<td class="n">{_us(c.after_us)}</td><td class="n" data-v="{c.difference_us:.4f}">'
        f'{_signed(c.difference_us)}</td><td class="wide">{_diverging(c.difference_us / largest)}</td></tr>'
        for c in found[:_CHANGES]
    )
    rest = found[_CHANGES:]
    if rest:
        rows += (
            f'<tr><td>{len(rest)} others</td><td></td><td></td>'
            f'<td class="n">{_signed(sum(c.difference_us for c in rest))}</td><td></td></tr>'
        )
    total = sum(c.difference_us for c in found)
    rows += (
        f'<tr><th scope="row">all</th><td class="n">{_us(before.operators_sum_us)}</td>'
        f'<td class="n">{_us(after.operators_sum_us)}</td><td class="n">{_signed(total)}</td><td></td></tr>'
    )
    top = head(("Operation", False), ("Before, µs", True), ("After, µs", True), ("Difference, µs", True),
               ("faster | slower", False))
    return (
        f"<p>From <b>{esc(names[0])}</b> to <b>{esc(names[1])}</b>.</p>"
        f'<div class="scroll"><table>{top}<tbody>{rows}</tbody></table></div>'
    )


def _diverging(share: float) -> str:
    side = "up" if share > 0 else "down"
    return f'<span class="diff"><i class="{side}" style="width:{50 * abs(share):.2f}%"></i></span>'


def _signed(us: float) -> str:
    return f"{us:+.2f}".replace("-", "−") if abs(us) >= 0.005 else "0.00"


def _us(us: float) -> str:
    return f"{us:.2f}" if math.isfinite(us) else UNKNOWN_TEXT


def _size(count: int) -> str:
    return size_text(count) if count >= 0 else UNKNOWN_TEXT
