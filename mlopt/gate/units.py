"""Quantities of a budget file as numbers, and numbers as a reader sees them: "64 KiB", "5%", "25 ms", "0.5 pt"."""

import math
import re
from enum import StrEnum

from mlopt.words import UNKNOWN_TEXT, grouped


class Unit(StrEnum):
    BYTES = "bytes"
    COUNT = "count"
    MILLISECONDS = "ms"
    SHARE = "share"        # a fraction: 0.05, "5%"; scores and growth
    POINTS = "points"      # a difference of two shares: 0.005, "0.5 pt", "0.5%"
    NAMES = "names"        # a set of operation names


_NUMBER = re.compile(r"\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([A-Za-zµ%]*)\s*", re.IGNORECASE)
_SCALES: dict[Unit, dict[str, float]] = {
    Unit.BYTES: {"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    Unit.COUNT: {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9},
    Unit.MILLISECONDS: {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1e3},
    Unit.SHARE: {"": 1, "%": 0.01},
    Unit.POINTS: {"": 1, "%": 0.01, "pt": 0.01, "pts": 0.01, "points": 0.01},
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
    number, scale = float(match[1].replace("_", "")), scales[match[2]]
    # 0.57 * 0.01 is not 0.0057: dividing by the whole number is exact to the last digit
    scaled = number / round(1 / scale) if scale < 1 else number * scale
    if not math.isfinite(scaled) or scaled < 0:
        raise ValueError(f"takes {example}, not below 0; got {value!r}")
    if unit in (Unit.BYTES, Unit.COUNT) and scaled != int(scaled):
        raise ValueError(f"is no whole number of {unit}: {value!r} is {scaled:g}")
    return scaled


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
