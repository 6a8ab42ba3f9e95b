"""Where to cut a tensor's values before they become 8-bit integers: percentiles, least error, and scales.

Everything here works on arrays and knows no file format. `scale` and `zero_point` follow
real = (stored - zero_point) * scale, and zero is always exact, since padding and ReLU make many of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlopt.distribution import Distribution

BINS = 4096  # over the reach to both sides: 8 bins to a step of an 8-bit grid that reaches as far to either side

SHRINKS = np.geomspace(1, 1 / 32, 48)  # shares of a range that least_squares tries, 7 percent apart
CUTS = np.linspace(1, 0.4, 16)  # shares of the largest weight that fitted_scales tries


@dataclass(frozen=True, kw_only=True)
class Range:
    """An interval of real numbers that contains zero."""

    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low <= 0 <= self.high):
            raise ValueError(f"a range is finite and holds zero, got [{self.low}, {self.high}]")


def observed() -> Distribution:
    """An empty distribution for values that a range is to be found for."""
    return Distribution(across=BINS)


def min_max(values: Distribution) -> Range:
    """The whole range, widened to hold zero."""
    return _with_zero(*values.span)


def percentile(values: Distribution, percent: float) -> Range:
    """The range without the outermost (100 - percent) / 2 percent of the values on either side.

    A side on which nothing lies beyond zero stays at zero.

    >>> values = observed(); values.add(np.linspace(0, 100, 10001))
    >>> round(percentile(values, 98.0).high)
    99
    """
    if not 0 < percent <= 100:
        raise ValueError(f"percent lies in (0, 100], got {percent}")
    return _with_zero(*values.within(1 - (100 - percent) / 200))


def least_squares(values: Distribution, levels: int = 256) -> Range:
    """The range whose `levels` steps give the least mean squared error, clipped values included.

    Either end is moved in turn, the other held, over `SHRINKS` of the whole range and twice over; an end at zero
    stays there. The error of one range is that of the bin middles, weighted by their counts.
    """
    whole = min_max(values)
    middles, weights = values.bins()

    def error(span: Range) -> float:
        scale, zero_point = unsigned_grid(span, levels)
        return float(weights @ (middles - rounded(middles, scale, zero_point, 0, levels - 1)) ** 2)

    best = whole
    for _ in range(2):
        best = min((Range(low=best.low, high=whole.high * s) for s in SHRINKS), key=error)
        best = min((Range(low=whole.low * s, high=best.high) for s in SHRINKS), key=error)
    return best


def unsigned_grid(span: Range, levels: int = 256) -> tuple[float, int]:
    """Scale and zero point of the `levels` integers 0 .. levels - 1 over `span`; zero is exact.

    Scale is a float32 value. An empty range gets scale 1.

    >>> unsigned_grid(Range(low=0.0, high=25.5))
    (0.10000000149011612, 0)
    """
    width = span.high - span.low
    if width <= 0:
        return 1.0, 0
    scale = float(np.maximum(np.float32(width / (levels - 1)), np.finfo(np.float32).tiny))
    return scale, int(np.clip(np.rint(-span.low / scale), 0, levels - 1))


def symmetric_scales(weights: np.ndarray, axis: int, most: int = 127) -> np.ndarray:
    """One float32 scale per channel along `axis`: the largest magnitude falls on `most`. A channel of zeros gets 1.

    >>> symmetric_scales(np.array([[1.27, 0.0], [0.0, 0.0]]), axis=0).round(4).tolist()
    [0.009999999776482582, 1.0]
    """
    others = tuple(a for a in range(weights.ndim) if a != axis % weights.ndim)
    peak = np.abs(weights).max(axis=others).astype(np.float32)
    scales = np.maximum(peak / np.float32(most), np.finfo(np.float32).tiny)
    return np.where(peak > 0, scales, np.float32(1)).astype(np.float32)


def fitted_scales(weights: np.ndarray, kept: Sequence[int], most: int) -> np.ndarray:
    """One float32 scale for each index of the axes `kept`, 1 long along the others: least squared error of `CUTS`.

    Integers reach from -most to most; the widest scale wins a tie, and channels of zeros get 1.

    >>> fitted_scales(np.array([[0.7, 0.1], [0.0, 0.0]]), [0], 7).round(4).tolist()
    [[0.10000000149011612], [1.0]]
    """
    others = tuple(axis for axis in range(weights.ndim) if axis not in kept)
    peak = np.abs(weights).max(axis=others, keepdims=True)
    widest = np.where(peak > 0, peak / most, 1.0).astype(np.float32)
    best, found = np.full(widest.shape, np.inf), widest
    for cut in CUTS.astype(np.float32):
        scales = widest * cut
        error = np.square(rounded(weights, scales, 0, -most, most) - weights).sum(axis=others, keepdims=True)
        found, best = np.where(error < best, scales, found), np.minimum(error, best)
    return found


def rounded(values: np.ndarray, scale: float | np.ndarray, zero_point: int, least: int, most: int) -> np.ndarray:
    """Values after a trip through integers least .. most: rounded to even, clipped, and back."""
    return (np.clip(np.rint(values / scale) + zero_point, least, most) - zero_point) * scale


def sqnr_db(reference: np.ndarray, found: np.ndarray) -> float:
    """Signal to quantization noise: 10 log10 of the mean square of `reference` over that of the difference, in dB.

    Infinite where there is no difference; `nan` where the reference is all zeros or empty and there is one.

    >>> round(sqnr_db(np.array([1.0, -1.0]), np.array([1.1, -0.9])), 6)
    20.0
    """
    signal = np.square(reference, dtype=np.float64).sum()
    noise = np.square(np.subtract(found, reference, dtype=np.float64)).sum()
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("nan")


def _with_zero(low: float, high: float) -> Range:
    return Range(low=min(0.0, low), high=max(0.0, high))
