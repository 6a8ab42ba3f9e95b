"""Size against loss: one marker a file, its interval as a whisker, the limit as a line, the Pareto front as steps."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlopt.choice import loss, loss_interval
from mlopt.render.html.frame import Frame
from mlopt.report import Candidate, Report
from mlopt.words import grouped, known, points, points_interval, size_text

WIDTH, HEIGHT = 1000, 430
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 16, 46
_FRAME = Frame(width=WIDTH, height=HEIGHT, left=LEFT, right=WIDTH - RIGHT, top=TOP, bottom=HEIGHT - BOTTOM)
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


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One file; `whisker` is its interval, upper end first."""

    slot: int
    x: float
    y: float
    whisker: tuple[float, float] | None
    recommended: bool
    hollow: bool
    about: str


@dataclass(frozen=True, kw_only=True)
class Name:
    """Of a recommended file, with the line that leads to it."""

    text: str
    x: float
    y: float
    leader: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Everything that is drawn, in the figure's own units; y grows downwards."""

    title: str
    what: str                                            # what the y axis says
    sizes: tuple[tuple[float, str], ...]                 # ticks: place, text
    losses: tuple[tuple[float, str, str], ...]           # and the class of the line
    limit: float
    bound: float                                         # in points
    fronts: tuple[tuple[int, str], ...]                  # slot, path
    marks: tuple[Mark, ...]
    names: tuple[Name, ...]
    legend: Mapping[str, int]
    frame: Frame = _FRAME


def pareto_plot(report: Report, slot_of: Mapping[str, int]) -> Plot | None:
    """Nothing where no file has both a size and a loss."""
    measure = report.limit.measure
    shown = [c for c in report.candidates if c.path and math.isfinite(loss(c, measure))]
    if not shown:
        return None
    bound = (report.limit.bound if measure == "drop" else 1 - report.limit.bound) * 100
    axes = _axes(shown, measure, bound)
    what = "drop in points" if measure == "drop" else "samples that disagree with the source, in percent"
    fronts = [(slot, _front([c for c in shown if c.format == name], measure, axes)) for name, slot in slot_of.items()]
    ordered = sorted(shown, key=lambda c: c.recommended)          # recommended ones are drawn last, on top
    return Plot(
        title=f"File size against {what}, {len(shown)} files", what=what, sizes=tuple(_size_ticks(axes)),
        losses=tuple(_loss_ticks(axes)), limit=axes.y(bound), bound=bound,
        fronts=tuple((slot, path) for slot, path in fronts if path),
        marks=tuple(_mark(c, measure, axes, slot_of[c.format]) for c in ordered),
        names=tuple(_names([c for c in shown if c.recommended], shown, measure, axes)), legend=slot_of,
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


def _size_ticks(axes: Axes) -> Iterator[tuple[float, str]]:
    for size in size_ticks(axes.smallest, axes.largest):
        yield axes.x(size), size_text(size).replace(".00 ", " ").replace(".0 ", " ")


def _loss_ticks(axes: Axes) -> Iterator[tuple[float, str, str]]:
    last = math.inf
    for value in loss_ticks(axes.low, axes.high):
        y = axes.y(value)
        if last - y >= 14:
            last = y
            yield y, f"{value:g}".replace("-", "−"), "axis" if value == 0 else "grid"


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


def _front(peers: Sequence[Candidate], measure: str, axes: Axes) -> str:
    """Steps through the files of one format that no other of it beats; empty below two."""
    front = sorted((c for c in peers if c.on_pareto_front), key=lambda c: c.bytes)
    if len(front) < 2:
        return ""
    path = [f"M{axes.x(front[0].bytes):.1f} {axes.y(loss(front[0], measure) * 100):.1f}"]
    for c in front[1:]:
        path.append(f"H{axes.x(c.bytes):.1f}V{axes.y(loss(c, measure) * 100):.1f}")
    return "".join(path)


def _mark(c: Candidate, measure: str, axes: Axes, slot: int) -> Mark:
    lost, interval = loss(c, measure) * 100, loss_interval(c, measure)
    about = f"{c.format} {c.precision}: {grouped(c.bytes)} bytes, {'drop' if measure == 'drop' else 'disagrees'} "
    about += f"{points(lost / 100)} {points_interval(interval)}"
    return Mark(
        slot=slot, x=axes.x(c.bytes), y=axes.y(lost), recommended=c.recommended, hollow=not c.meets_limit, about=about,
        whisker=(axes.y(interval.high * 100), axes.y(interval.low * 100)) if known(interval) else None,
    )


def _names(
    recommended: Sequence[Candidate], shown: Sequence[Candidate], measure: str, axes: Axes
) -> Iterator[Name]:
    """Names of the recommended files, each where it covers no marker and no other name."""
    taken = [Box.around(axes.x(c.bytes), axes.y(loss(c, measure) * 100), 11, 9) for c in shown]
    for c in sorted(recommended, key=lambda c: c.bytes):
        name = f"{c.format} {c.precision}"
        x, y = axes.x(c.bytes), axes.y(loss(c, measure) * 100)
        box = _free_place(x, y, 6.9 * len(name), taken)
        taken.append(box)
        leader = f"M{x:.1f} {y:.1f}L{box.near(x):.1f} {(box.top + box.bottom) / 2:.1f}"
        yield Name(text=name, x=box.left, y=box.bottom - 4, leader=leader)


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
