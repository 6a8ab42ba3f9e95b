"""Size against loss: one marker a file, its interval as a whisker, the limit as a line, the Pareto front as steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlopt.choice import loss, loss_interval
from mlopt.render.html.markup import esc, marker, slots, swatch
from mlopt.report import Candidate, Report
from mlopt.words import grouped, known, points, points_interval, size_text

WIDTH, HEIGHT = 1000, 430
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 16, 46
_MOST_TICKS = 9


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Bytes on a logarithmic x, loss in points on a y that is linear near zero and logarithmic beyond."""

    smallest: float
    largest: float
    low: float
    high: float
    bend: float            # points up to which the y axis is about linear

    def x(self, count: float) -> float:
        share = (math.log(count) - math.log(self.smallest)) / (math.log(self.largest) - math.log(self.smallest))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self._bent(self.low), self._bent(self.high)
        share = (self._bent(min(max(value, self.low), self.high)) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def _bent(self, value: float) -> float:
        return math.asinh(value / self.bend)


def pareto_plot(report: Report) -> str:
    """The figure with its legend; empty where no file has both a size and a loss."""
    measure = report.limit.measure
    shown = [c for c in report.candidates if c.path and math.isfinite(loss(c, measure))]
    if not shown:
        return ""
    slot_of = slots([c.format for c in report.candidates])
    bound = report.limit.bound if measure == "drop" else 1 - report.limit.bound
    axes = _axes(shown, measure, bound * 100)
    what = "drop in points" if measure == "drop" else "samples that disagree with the source, in percent"
    title = f"File size against {what}, {len(shown)} files"
    parts = [_grid(axes, what), _limit_line(axes, bound * 100)]
    parts += [_front([c for c in shown if c.format == name], measure, axes, slot) for name, slot in slot_of.items()]
    ordered = sorted(shown, key=lambda c: c.recommended)          # recommended ones are drawn last, on top
    parts += [_mark(c, measure, axes, slot_of[c.format]) for c in ordered]
    parts.append(_labels([c for c in shown if c.recommended], shown, measure, axes))
    legend = "".join(f"<li>{swatch(slot)}{esc(name)}</li>" for name, slot in slot_of.items())
    return (
        f'<figure class="plot"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{esc(title)}">'
        f'{"".join(parts)}</svg><figcaption><ul class="legend">{legend}'
        '<li><i class="key ring"></i>recommended</li><li><i class="key whisker"></i>95 % interval</li>'
        '<li><i class="key step"></i>Pareto front</li></ul></figcaption></figure>'
    )


def _axes(shown: Sequence[Candidate], measure: str, bound: float) -> Axes:
    sizes = [c.bytes for c in shown]
    lows, highs = [0.0], [bound]
    for c in shown:
        interval = loss_interval(c, measure)
        lows.append((interval.low if known(interval) else loss(c, measure)) * 100)
        highs.append((interval.high if known(interval) else loss(c, measure)) * 100)
    low, high = min(lows), max(highs)
    room = max(high - low, 0.1) * 0.06
    return Axes(
        smallest=min(sizes) / 1.15, largest=max(sizes) * 1.15, low=low - room * (measure == "drop"), high=high + room,
        bend=max(bound, 0.2),
    )


def _grid(axes: Axes, what: str) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    lines = []
    for size in size_ticks(axes.smallest, axes.largest):
        x = axes.x(size)
        text = size_text(size).replace(".00 ", " ").replace(".0 ", " ")
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        lines.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
    last = math.inf
    for value in loss_ticks(axes.low, axes.high):
        y = axes.y(value)
        if last - y < 14:
            continue
        last = y
        kind = "axis" if value == 0 else "grid"
        text = f"{value:g}".replace("-", "−")
        lines.append(f'<line class="{kind}" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    lines.append(f'<text class="label" x="{right}" y="{HEIGHT - 8}" text-anchor="end">file size (logarithmic)</text>')
    middle = (TOP + bottom) / 2
    turned = f"translate(14 {middle}) rotate(-90)"
    lines.append(f'<text class="label" transform="{turned}" text-anchor="middle">{what}</text>')
    return "".join(lines)


def size_ticks(smallest: float, largest: float) -> list[int]:
    """Round sizes of the form 1, 2, 5 times a power of ten.

    >>> size_ticks(40_000, 400_000)
    [50000, 100000, 200000]
    """
    decades = range(math.floor(math.log10(max(smallest, 1))), math.ceil(math.log10(largest)) + 1)
    ticks = [factor * 10**d for d in decades for factor in (1, 2, 5)]
    ticks = [t for t in ticks if smallest <= t <= largest]
    return ticks if len(ticks) <= _MOST_TICKS else [t for t in ticks if str(t)[0] == "1"]


def loss_ticks(low: float, high: float) -> list[float]:
    """Round losses in points within low..high, both signs, ascending.

    >>> loss_ticks(-0.6, 6)
    [-0.5, -0.2, 0.0, 0.2, 0.5, 1.0, 2.0, 5.0]
    """
    steps = [factor * 10.0**d for d in range(-1, 3) for factor in (1, 2, 5) if factor * 10.0**d > 0.1]
    ticks = [-s for s in reversed(steps)] + [0.0] + steps
    return [t for t in ticks if low <= t <= high]


def _limit_line(axes: Axes, bound: float) -> str:
    y, right = axes.y(bound), WIDTH - RIGHT
    return (
        f'<line class="limit" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="limit-text" x="{right}" y="{y - 5:.1f}" text-anchor="end">limit {bound:.2f}</text>'
    )


def _front(peers: Sequence[Candidate], measure: str, axes: Axes, slot: int) -> str:
    front = sorted((c for c in peers if c.on_pareto_front), key=lambda c: c.bytes)
    if len(front) < 2:
        return ""
    path = [f"M{axes.x(front[0].bytes):.1f} {axes.y(loss(front[0], measure) * 100):.1f}"]
    for c in front[1:]:
        path.append(f"H{axes.x(c.bytes):.1f}V{axes.y(loss(c, measure) * 100):.1f}")
    return f'<path class="front f{slot}" d="{"".join(path)}"/>'


def _mark(c: Candidate, measure: str, axes: Axes, slot: int) -> str:
    lost, interval = loss(c, measure) * 100, loss_interval(c, measure)
    x, y = axes.x(c.bytes), axes.y(lost)
    whisker = ""
    if known(interval):
        top, bottom = axes.y(interval.high * 100), axes.y(interval.low * 100)
        whisker = f'<line class="whisker f{slot}" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="9.5"/>' if c.recommended else ""
    about = f"{c.format} {c.precision}: {grouped(c.bytes)} bytes, {'drop' if measure == 'drop' else 'disagrees'} "
    about += f"{points(lost / 100)} {points_interval(interval)}"
    hollow = not c.meets_limit
    return f"<g>{whisker}{ring}{marker(slot, x, y, hollow=hollow)}<title>{esc(about)}</title></g>"


def _labels(recommended: Sequence[Candidate], shown: Sequence[Candidate], measure: str, axes: Axes) -> str:
    """Names of the recommended files, each where it covers no marker and no other name."""
    taken = [Box.around(axes.x(c.bytes), axes.y(loss(c, measure) * 100), 11, 9) for c in shown]
    texts = []
    for c in sorted(recommended, key=lambda c: c.bytes):
        name = f"{c.format} {c.precision}"
        x, y = axes.x(c.bytes), axes.y(loss(c, measure) * 100)
        box = _free_place(x, y, 6.9 * len(name), taken)
        taken.append(box)
        texts.append(f'<path class="leader" d="M{x:.1f} {y:.1f}L{box.near(x):.1f} {(box.top + box.bottom) / 2:.1f}"/>')
        texts.append(f'<text class="name" x="{box.left:.1f}" y="{box.bottom - 4:.1f}">{esc(name)}</text>')
    return "".join(texts)


@dataclass(frozen=True, kw_only=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, x: float, y: float, wide: float, high: float) -> "Box":
        return cls(left=x - wide, top=y - high, right=x + wide, bottom=y + high)

    def meets(self, other: "Box") -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)

    def near(self, x: float) -> float:
        """The end of the box that a line from x reaches first."""
        return min(max(x, self.left), self.right)


def _free_place(x: float, y: float, width: float, taken: Sequence[Box]) -> Box:
    """A place for a name near (x, y), tried outwards; the first one where none is free."""
    tried = []
    for away in range(0, 160, 12):
        for dy in (-away, away):
            for left in (x + 15, x - 15 - width, x - width / 2):
                if left == x - width / 2 and away < 20:
                    continue
                box = Box(left=left, top=y + dy - 9, right=left + width, bottom=y + dy + 7)
                inside = box.left >= LEFT and box.right <= WIDTH - RIGHT
                if inside and box.top >= TOP and box.bottom <= HEIGHT - BOTTOM:
                    tried.append(box)
                    if not any(box.meets(t) for t in taken):
                        return box
    return tried[0] if tried else Box(left=x + 15, top=y - 9, right=x + 15 + width, bottom=y + 7)
