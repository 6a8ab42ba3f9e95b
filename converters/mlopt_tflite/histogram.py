"""A histogram that widens as values come, and the ranges that can be read from it."""

import numpy as np

BINS = 4096   # over -reach..reach


class GrowingHistogram:
    """Counts in equal bins over -reach..reach; reach is a power of two, so that widening merges whole bins."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.reach = 0.0
        self.counts = np.zeros(BINS, np.int64)

    def add(self, values: np.ndarray) -> None:
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            values = values[np.isfinite(values)]
            return self.add(values)
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        if self.reach == 0.0:
            self.counts[BINS // 2] += values.size
            return
        scale = np.float32(BINS / 2 / self.reach)
        places = (values.reshape(-1) * scale + np.float32(BINS / 2)).astype(np.int32)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def _widen(self, reach: float) -> None:
        if reach <= self.reach:
            return
        if self.reach == 0.0:
            self.reach = float(2.0 ** np.ceil(np.log2(max(reach, 1e-30))))
            return
        while self.reach < reach:
            merged = np.zeros(BINS, np.int64)
            merged[BINS // 4 : 3 * BINS // 4] = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts, self.reach = merged, self.reach * 2

    def edges(self) -> np.ndarray:
        return np.linspace(-self.reach, self.reach, BINS + 1)

    def span(self) -> tuple[float, float]:
        """The least and the largest value; (0, 0) where nothing came."""
        return (self.low, self.high) if self.low <= self.high else (0.0, 0.0)

    def within(self, fraction: float) -> tuple[float, float]:
        """The range that leaves out at most 1 - `fraction` of the values at each end, never wider than the values.

        >>> h = GrowingHistogram(); h.add(np.arange(1000, dtype=np.float32)); low, high = h.within(0.99)
        >>> abs(low - 10) < 1 and abs(high - 990) < 1
        True
        """
        total = self.counts.sum()
        if total == 0 or self.reach == 0.0:
            return self.span()
        rising, edges = np.cumsum(self.counts), self.edges()
        outside = (1 - fraction) * total
        low = edges[np.searchsorted(rising, outside, side="right")]
        high = edges[np.searchsorted(rising, total - outside, side="left") + 1]
        return max(self.low, float(low)), min(self.high, float(high))

    def least_error(self, levels: int = 256, tries: int = 60) -> tuple[float, float]:
        """The range out of `tries` shrunk ones whose rounding and clipping have the least squared error together.

        Rounding in equal steps has step**2 / 12 (uniform error within a step).
        """
        low, high = self.span()
        if self.reach == 0.0 or high <= low:
            return low, high
        edges = self.edges()
        centre, counts = (edges[:-1] + edges[1:]) / 2, self.counts.astype(np.float64)
        best, chosen = np.inf, (low, high)
        for shrink in np.linspace(1.0, 0.2, tries):
            bottom, top = min(low * shrink, 0.0), max(high * shrink, 0.0)
            step = (top - bottom) / (levels - 1)
            beyond = np.maximum(centre - top, 0) + np.maximum(bottom - centre, 0)
            error = (counts * np.where(beyond > 0, beyond**2, step**2 / 12)).sum()
            if error < best:
                best, chosen = error, (bottom, top)
        return chosen
