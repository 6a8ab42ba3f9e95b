"""How often which values came: exact counts over bins that any two places share, so that their states add up.

A bin is a power of two wide and begins at a whole multiple of its width. Two bins of one width make one of the next, so
that the same values give the same state in any order, in any pieces and on any machine, to the bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SCHEMA = 1
FINEST = 1 << 40                # bins over the reach, of which a value a million times smaller still has a million
LEAST_REACH = -99               # as a power of two: what is smaller is counted in the bins of 2**-99
_LARGEST_POWER = 1024           # of a float64
_LEAST_FLOAT32 = -120           # the exponent below which 2**-exponent is no float32


@dataclass(frozen=True, kw_only=True)
class DistributionState:
    """A distribution as plain values, to be stored, sent and read on any device.

    Bin `places[i]` holds `counts[i]` values in [places[i], places[i] + 1) * 2**exponent. To merge two states, double
    the narrower bins (place // 2, counts added) until both have one exponent, and add counts; then double all as long
    as more than `occupied` of them hold something, or the largest magnitude lies beyond `across` / 2 bins.
    """

    exponent: int
    places: tuple[int, ...]         # ascending; those that hold something
    counts: tuple[int, ...]
    low: float | None               # the exact least and largest value; None where there is none
    high: float | None
    nonfinite: int                  # values that were NaN or infinite; they stand in no bin
    across: int
    occupied: int | None
    schema: int = SCHEMA


class Distribution:
    """Counts of values in bins as narrow as the law allows; the law alone decides, never the order of what came.

    The reach is the least power of two that no magnitude exceeds. There are at most `across` bins from -reach to reach,
    a power of two, and at most `occupied` bins hold something; whichever bound is crossed, all bins double. Without
    `occupied` every bin over the reach has a place in memory, which is fast for values that come in many small pieces;
    with it an outlier costs one bin, and not the resolution of all others.

    >>> d = Distribution(across=8)
    >>> d.add(np.array([0.0, 1.0])); d.add(np.array([4.0]))
    >>> d.count, d.low, d.high, d.width
    (3, 0.0, 4.0, 1.0)
    """

    def __init__(self, *, across: int = FINEST, occupied: int | None = None) -> None:
        if across < 4 or across & (across - 1) or across > FINEST:
            raise ValueError(f"across is a power of two from 4 to {FINEST}, got {across}")
        if occupied is None and across > 1 << 16:
            raise ValueError(f"{across} bins are too many to keep all of them: say how many may be occupied")
        if occupied is not None and occupied < 4:
            raise ValueError(f"occupied is a number of bins, at least 4, got {occupied}")
        self.across, self.occupied = across, occupied
        self.low, self.high, self.nonfinite = math.inf, -math.inf, 0
        self._half = across // 2
        self._exponent = self._least_exponent(0.0)
        reached = self._half if occupied is None else -1        # a value at the reach itself has a bin too
        self._places = np.arange(-reached, reached + 1, dtype=np.int64)
        self._counts = np.zeros(len(self._places), dtype=np.int64)

    @property
    def count(self) -> int:
        """Finite values."""
        return int(self._counts.sum())

    @property
    def width(self) -> float:
        """Of a bin; a power of two."""
        return 2.0**self._exponent

    @property
    def span(self) -> tuple[float, float]:
        """The exact least and largest value; (0, 0) where nothing came."""
        return (self.low, self.high) if self.low <= self.high else (0.0, 0.0)

    def add(self, values: np.ndarray) -> None:
        """Count `values`, of any shape and any real dtype. Those that are not finite are counted apart."""
        flat = _floats(values)
        if flat.size == 0:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = flat[np.isfinite(flat)]
            self.nonfinite += flat.size - finite.size
            self.add(finite)
            return
        self._see(low, high)
        places = self._places_of(flat, below_zero=low < 0)
        if self.occupied is None:
            places += self._half
            self._counts += np.bincount(places.astype(np.intp), minlength=len(self._counts))
            return
        first, last = int(places.min()), int(places.max())
        if last - first < 4 * flat.size:
            counts = np.bincount((places - first).astype(np.intp))
            found = np.flatnonzero(counts)
            self._join(found + first, counts[found])
        else:
            self._join(*np.unique(places, return_counts=True))

    def add_counted(self, values: np.ndarray, counts: np.ndarray) -> None:
        """As `add` with each of the finite `values` [n] repeated as often as `counts` [n] says."""
        there = counts > 0
        flat = _floats(values)[there]
        if flat.size:
            self._see(float(flat.min()), float(flat.max()))
            self._join(self._places_of(flat, below_zero=True), counts[there])

    def merge(self, other: "Distribution") -> "Distribution":
        """What one distribution would be that had been given the values of both, under the narrower law of the two."""
        bounds = [d.occupied for d in (self, other) if d.occupied is not None]
        found = Distribution(across=min(self.across, other.across), occupied=min(bounds, default=None))
        found.nonfinite = self.nonfinite + other.nonfinite
        for each in (self, other):
            found._take(each._exponent, *each._held(), each.low, each.high)
        return found

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Middles float64 [n] and counts int64 [n] of the bins that hold something, ascending.

        A value at the reach itself is counted in the bin below, which ends there.
        """
        places, counts = self._held()
        if len(places) and places[-1] == 1 << max(_power(self._most) - self._exponent, 0):
            places = np.minimum(places, places[-1] - 1)
            if len(places) > 1 and places[-1] == places[-2]:
                places, counts = places[:-1], np.append(counts[:-2], counts[-2] + counts[-1])
        return (places + 0.5) * self.width, counts

    def within(self, share: float) -> tuple[float, float]:
        """The range that leaves out at most 1 - `share` of the values at each end, to a bin; never wider than they are.

        >>> d = Distribution(across=4096); d.add(np.arange(1000)); low, high = d.within(0.99)
        >>> abs(low - 10) < 1 and abs(high - 990) < 1
        True
        """
        places, counts = self._held()
        if not self._most:
            return self.span
        rising = np.cumsum(counts)
        outside, last = (1 - share) * rising[-1], len(places) - 1
        low = places[min(int(np.searchsorted(rising, outside, side="right")), last)] * self.width
        high = (places[min(int(np.searchsorted(rising, rising[-1] - outside)), last)] + 1) * self.width
        return max(self.low, float(low)), min(self.high, float(high))

    def quantiles(self, fractions: Sequence[float]) -> tuple[float, ...]:
        """The value of rank ceil(n * fraction) for each, to half a bin's width; nan where nothing came.

        numpy calls these order statistics `method="inverted_cdf"`.
        """
        places, counts = self._held()
        if not len(places):
            return (math.nan,) * len(fractions)
        rising = np.cumsum(counts)
        ranks = np.ceil(np.asarray(fractions, dtype=np.float64) * rising[-1])
        at = np.searchsorted(rising, np.clip(ranks, 1, rising[-1]))
        return tuple(np.clip((places[at] + 0.5) * self.width, self.low, self.high).tolist())

    @property
    def mean(self) -> float:
        """That of the bins' middles, to half a bin's width of the values' own; nan where nothing came."""
        return self._sum_of_halves(1) / self.count * self.width / 2 if self.count else math.nan

    @property
    def std(self) -> float:
        """Of the population, to half a bin's width; nan where nothing came."""
        n = self.count
        if not n:
            return math.nan
        return math.sqrt(self._sum_of_halves(2) * n - self._sum_of_halves(1) ** 2) / n * self.width / 2

    def state(self) -> DistributionState:
        places, counts = self._held()
        some = self.low <= self.high
        return DistributionState(
            exponent=self._exponent, places=tuple(places.tolist()), counts=tuple(counts.tolist()),
            low=self.low if some else None, high=self.high if some else None, nonfinite=self.nonfinite,
            across=self.across, occupied=self.occupied,
        )

    @classmethod
    def of(cls, state: DistributionState) -> "Distribution":
        """The distribution again; raises `ValueError` for a state that no values leave behind."""
        if state.schema != SCHEMA:
            raise ValueError(f"a distribution of schema {state.schema}, and this mlopt reads {SCHEMA}")
        found = cls(across=state.across, occupied=state.occupied)
        found.nonfinite = max(state.nonfinite, 0)
        try:
            places, counts = (np.array(each, dtype=np.int64) for each in (state.places, state.counts))
        except OverflowError as err:
            raise ValueError("a distribution counts in 64-bit integers") from err
        if state.low is not None and state.high is not None and len(places) == len(counts) > 0:
            if not -math.inf < state.low <= state.high < math.inf:
                raise ValueError(f"a distribution's ends are finite and in order, got {state.low} and {state.high}")
            if abs(places).max() <= found._half and found._least_exponent(0.0) <= state.exponent <= _LARGEST_POWER:
                found._take(state.exponent, places, counts, state.low, state.high)
                ends = [math.floor(math.ldexp(end, -state.exponent)) for end in found.span]
                if ends != [places[0], places[-1]]:
                    raise ValueError(f"its bins do not hold the values from {state.low} to {state.high}")
        if found.state() != state:
            raise ValueError("no bins of a distribution: they ascend, hold values, and are as narrow as its law allows")
        return found

    @property
    def _most(self) -> float:
        """The largest magnitude; 0 where nothing came."""
        return max(map(abs, self.span))

    def _least_exponent(self, magnitude: float) -> int:
        """Of the width of bins that reach so far."""
        return max(_power(magnitude) if magnitude else LEAST_REACH, LEAST_REACH) - self._half.bit_length() + 1

    def _see(self, low: float, high: float) -> None:
        """Make room for values from `low` to `high`."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._coarsen_to(self._least_exponent(max(abs(low), abs(high))))

    def _take(self, exponent: int, places: np.ndarray, counts: np.ndarray, low: float, high: float) -> None:
        """Add what other bins hold."""
        if low <= high:
            self._see(low, high)
            self._coarsen_to(exponent)
            self._join(places >> (self._exponent - exponent), counts)

    def _coarsen_to(self, exponent: int) -> None:
        by = min(exponent - self._exponent, 62)
        if exponent > self._exponent:
            self._exponent = exponent
            places, counts = self._held()
            if self.occupied is None:
                self._counts = np.zeros_like(self._counts)
            else:
                self._places, self._counts = self._places[:0], self._counts[:0]
            self._put(places >> by, counts)

    def _places_of(self, values: np.ndarray, *, below_zero: bool) -> np.ndarray:
        """floor(value / width) in the values' own floats: exact, since the width is a power of two."""
        if self._exponent < _LEAST_FLOAT32:
            values = values.astype(np.float64)
        places = values * values.dtype.type(2.0**-self._exponent)
        np.floor(places, out=places)
        if below_zero and self._exponent > 0:       # a quotient too small for a float is 0: its bin is the one below
            places[(places == 0) & (values < 0)] = -1
        return places

    def _join(self, places: np.ndarray, counts: np.ndarray) -> None:
        self._put(places.astype(np.int64), counts.astype(np.int64))
        if self.occupied is not None and len(self._places) > self.occupied:
            apart = self._places[1:] ^ self._places[:-1]        # as many bits as doublings until neighbours are one
            doublings = np.where(apart < 0, 64, np.frexp(apart.astype(np.float64))[1])
            self._coarsen_to(self._exponent + int(np.sort(doublings)[-self.occupied]))

    def _put(self, places: np.ndarray, counts: np.ndarray) -> None:
        if self.occupied is None:
            np.add.at(self._counts, places + self._half, counts)
            return
        every = np.concatenate([self._places, places])
        self._places, into = np.unique(every, return_inverse=True)
        joined = np.zeros(len(self._places), dtype=np.int64)
        np.add.at(joined, into, np.concatenate([self._counts, counts]))
        self._counts = joined

    def _held(self) -> tuple[np.ndarray, np.ndarray]:
        """Places and counts of the bins that hold something."""
        there = self._counts > 0
        return self._places[there], self._counts[there]

    def _sum_of_halves(self, power: int) -> int:
        """The sum of (2 * place + 1)**power over all values: middles in halves of a width."""
        places, counts = self._held()
        return sum((2 * p + 1) ** power * n for p, n in zip(places.tolist(), counts.tolist(), strict=True))


def _power(magnitude: float) -> int:
    """The exponent of the least power of two that is not below `magnitude`.

    >>> _power(4.0), _power(4.1), _power(0.25)
    (2, 3, -2)
    """
    fraction, exponent = math.frexp(magnitude)
    return exponent - 1 if fraction == 0.5 else exponent


def _floats(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values).reshape(-1)
    if flat.dtype in (np.float32, np.float64):
        return flat
    return flat.astype(np.float32 if flat.dtype == np.float16 or flat.dtype.itemsize < 4 else np.float64)
