"""Quantities of a budget file as numbers, and numbers as a reader sees them: "64 KiB", "5%", "25 ms", "0.5 pt"."""

import math
import re
from enum import StrEnum
from fractions import Fraction

from mlopt.words import UNKNOWN_TEXT, grouped


class Unit(StrEnum):
    BYTES = "bytes"
    COUNT = "count"
    MILLISECONDS = "ms"
    SHARE = "share"        # a fraction: 0.05, "5%"; scores and growth
    POINTS = "points"      # a difference of two shares: 0.005, "0.5 pt", "0.5%"
    NAMES = "names"        # a set of operation names


# as many digits as a float can need: of "1e999999999" the exact fraction would take all memory
_NUMBER = re.compile(
    r"\s*([+-]?(?:[0-9][0-9_]{0,39}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:e[+-]?[0-9]{1,3})?)\s*([A-Za-zµ%]*)\s*",
    re.IGNORECASE,
)
_HUNDREDTH = Fraction(1, 100)
_LARGEST = 2**53       # whole numbers up to here are exact as floats
_SCALES: dict[Unit, dict[str, int | Fraction]] = {
    Unit.BYTES: {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20,
                 "GiB": 2**30},
    Unit.COUNT: {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9},
    Unit.MILLISECONDS: {"ns": Fraction(1, 10**6), "us": Fraction(1, 1000), "µs": Fraction(1, 1000), "ms": 1, "s": 1000},
    Unit.SHARE: {"": 1, "%": _HUNDREDTH},
    Unit.POINTS: {"": 1, "%": _HUNDREDTH, "pt": _HUNDREDTH, "pts": _HUNDREDTH, "points": _HUNDREDTH},
}
_EXAMPLES = {
    Unit.BYTES: '65536, "64 KiB" or "1.5 MB"', Unit.COUNT: '1500000 or "1.5 M"',
    Unit.MILLISECONDS: '"25 ms" or "800 us" (the unit is needed)', Unit.SHARE: '0.05 or "5%"',
    Unit.POINTS: '0.005 or "0.5 pt" (one point is 0.01)',
}


def parse(value: object, unit: Unit) -> float:
    """The number in `unit`; bytes and counts are whole. Raises `ValueError` with a sentence.

    >>> parse("64 KiB", Unit.BYTES), parse("5%", Unit.SHARE), parse("800 us", Unit.MILLISECONDS)
    (65536.0, 0.05, 0.8)
    >>> parse("0.5 pt", Unit.POINTS), parse(12, Unit.COUNT)
    (0.005, 12.0)
    """
    example = _EXAMPLES[unit]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"takes {example}; got {value!r}")
    match = _NUMBER.fullmatch(str(value))
    scales = _SCALES[unit]
    if match is None or match[2] not in scales:
        raise ValueError(f"takes {example}; got {value!r}")
    scaled = Fraction(match[1].replace("_", "")) * scales[match[2]]      # 0.57 * 0.01 is not 0.0057 in floats
    if not 0 <= scaled <= _LARGEST:
        raise ValueError(f"takes {example}, from 0 to 2^53; got {value!r}")
    if unit in (Unit.BYTES, Unit.COUNT) and scaled != int(scaled):
        raise ValueError(f"is no whole number of {unit}: {value!r} is {float(scaled):g}")
    return float(scaled)


def show(value: float, unit: Unit) -> str:
    """A number for a reader.

    >>> show(65536, Unit.BYTES), show(0.05, Unit.SHARE), show(0.8, Unit.MILLISECONDS), show(float("nan"), Unit.COUNT)
    ('65,536 B', '5%', '0.800 ms', '–')
    >>> show(0.005, Unit.POINTS), show(730409, Unit.COUNT)
    ('0.5 pt', '730,409')
    """
    if not math.isfinite(value):
        return UNKNOWN_TEXT
    if unit is Unit.BYTES:
        return f"{grouped(int(value))} B"
    if unit is Unit.COUNT:
        return grouped(int(value))
    if unit is Unit.MILLISECONDS:
        return f"{value:.3f} ms" if value < 10 else f"{value:.1f} ms"
    return f"{value * 100:.4g}{'%' if unit is Unit.SHARE else ' pt'}"


def percent_change(ratio: float) -> str:
    """A ratio as a change.

    >>> percent_change(1.082), percent_change(0.97)
    ('+8.2%', '-3.0%')
    """
    return f"{(ratio - 1) * 100:+.1f}%" if math.isfinite(ratio) else UNKNOWN_TEXT
