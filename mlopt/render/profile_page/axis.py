"""Round numbers for an axis, and times as they are read."""

import math
from dataclasses import dataclass

from mlopt.words import UNKNOWN_TEXT


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A linear axis from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value is drawn; one outside is drawn at the nearest end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` + 1 round numbers within low..high, steps of 1, 2 or 5 times a power of ten.

    >>> ticks(0.0, 10.0, 5), ticks(77.8, 81.2, 4)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [78.0, 79.0, 80.0, 81.0])
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def time_text(us: float) -> str:
    """A time with three or four digits and the unit that suits it.

    >>> time_text(78.61), time_text(2.2), time_text(1534.2), time_text(2_310_000.0), time_text(float("nan"))
    ('78.6 µs', '2.20 µs', '1.53 ms', '2.31 s', '–')
    """
    if not math.isfinite(us):
        return UNKNOWN_TEXT
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if us >= size:
            return f"{_digits(us / size)} {unit}"
    return f"{_digits(us)} µs"


def times_text(low: float, high: float) -> str:
    """An interval in one unit; a side that is unknown stays open.

    >>> times_text(78.42, 79.0), times_text(900.0, float("nan"))
    ('[78.4, 79.0] µs', '[900, –] µs')
    """
    known = [us for us in (low, high) if math.isfinite(us)]
    if not known:
        return ""
    unit, size = next(((u, s) for u, s in (("s", 1e6), ("ms", 1e3)) if max(known) >= s), ("µs", 1.0))
    sides = [_digits(us / size) if math.isfinite(us) else UNKNOWN_TEXT for us in (low, high)]
    return f"[{sides[0]}, {sides[1]}] {unit}"


def _digits(value: float) -> str:
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"
