"""Tables of a few values that stand for all weights of a layer: k-means in one dimension, solved exactly.

coremltools' own palettes come from scikit-learn's k-means, which starts at random and stops at a local optimum. On a
line the optimal clusters are intervals, so dynamic programming finds them (Wang and Song, "Ckmeans.1d.dp", 2011); the
best split moves monotonically, which divide and conquer uses. Same weights, same table.
"""

from collections.abc import Callable

import numpy as np

_CELLS_PER_ENTRY = 16     # more distinct values than that are first gathered on a grid
_FEWEST_CELLS = 512
_MOST_ROUNDS = 200        # of polishing, should it converge that slowly


def best_table(values: np.ndarray, entries: int) -> np.ndarray:
    """The `entries` numbers, ascending, with the least squared distance from `values` to the nearest of them.

    Exact up to 512 distinct values, or 16 for each entry. Beyond, values are gathered on a uniform grid for the exact
    search, and Lloyd's iteration then polishes the result on the values themselves: each round lowers the squared
    distance or stops.
    Returns float64 [entries]; where there are fewer distinct values, the last is repeated.

    >>> best_table(np.array([0.0, 0.1, 1.0, 1.1, 5.0]), 3).round(3).tolist()
    [0.05, 1.05, 5.0]
    """
    points, counts = np.unique(np.asarray(values, np.float64).reshape(-1), return_counts=True)
    if len(points) <= entries:
        return np.concatenate([points, np.full(entries - len(points), points[-1])])
    size = max(_FEWEST_CELLS, min(_CELLS_PER_ENTRY * entries, 2048))
    if len(points) <= size:
        return _exact(points, counts.astype(np.float64), entries)
    cells = np.linspace(points[0], points[-1], size + 1)[1:-1]
    cell = np.searchsorted(cells, points)
    weight = np.bincount(cell, counts, minlength=size)
    total = np.bincount(cell, counts * points, minlength=size)
    held = weight > 0
    return _polished(points, counts, _exact(total[held] / weight[held], weight[held], entries))


def nearest(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """For each value the index of the nearest number of the ascending `table`, as uint8.

    >>> nearest(np.array([0.2, 4.0]), np.array([0.05, 1.05, 5.0])).tolist()
    [0, 2]
    """
    return np.searchsorted((table[1:] + table[:-1]) / 2, values).astype(np.uint8)


def _exact(points: np.ndarray, weights: np.ndarray, entries: int) -> np.ndarray:
    """The optimal table for ascending distinct `points` with `weights`; there are more points than entries."""
    if len(points) <= entries:
        return np.concatenate([points, np.full(entries - len(points), points[-1])])
    centred = points - np.average(points, weights=weights)      # the sums below cancel less
    w = np.concatenate([[0.0], np.cumsum(weights)])
    s = np.concatenate([[0.0], np.cumsum(weights * centred)])
    q = np.concatenate([[0.0], np.cumsum(weights * centred**2)])

    def cost(first: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Squared distance of points[first:end] from their mean."""
        return np.maximum(q[end] - q[first] - (s[end] - s[first]) ** 2 / (w[end] - w[first]), 0.0)

    count = len(points)
    ends = np.arange(count + 1)
    best = np.zeros(count + 1)
    best[1:] = cost(np.zeros(count, np.int64), ends[1:])
    splits = []
    for clusters in range(2, entries + 1):
        best, split = _next_layer(best, cost, clusters, count)
        splits.append(split)
    table = np.empty(entries)
    end = count
    for cluster in range(entries - 1, -1, -1):
        first = int(splits[cluster - 1][end]) if cluster else 0
        table[cluster] = np.average(points[first:end], weights=weights[first:end])
        end = first
    return table


def _next_layer(
    best: np.ndarray, cost: Callable[[np.ndarray, np.ndarray], np.ndarray], clusters: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Best cost of points[:end] in `clusters` clusters for every end, and where the last cluster begins.

    All ends of one level of the divide and conquer are handled at once: their candidate splits, which lie between the
    splits of their neighbours of earlier levels, stand one after another in one array.
    """
    layer = np.full(count + 1, np.inf)
    split = np.zeros(count + 1, np.int64)
    low, high = np.array([clusters]), np.array([count])          # ends still to do, as ranges
    from_, to = np.array([clusters - 1]), np.array([count - 1])  # where their splits may lie
    while len(low):
        middle = (low + high) // 2
        last = np.minimum(to, middle - 1)
        sizes = last - from_ + 1
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        which = np.repeat(np.arange(len(low)), sizes)
        candidates = np.arange(sizes.sum()) - starts[which] + from_[which]
        totals = best[candidates] + cost(candidates, middle[which])
        least = np.minimum.reduceat(totals, starts)
        hits = np.flatnonzero(totals == least[which])
        first_hit = hits[np.searchsorted(which[hits], np.arange(len(low)))]
        layer[middle], split[middle] = least, candidates[first_hit]
        found = split[middle]
        left, right = low < middle, middle < high
        low, high, from_, to = (
            np.concatenate([low[left], middle[right] + 1]),
            np.concatenate([middle[left] - 1, high[right]]),
            np.concatenate([from_[left], found[right]]),
            np.concatenate([found[left], to[right]]),
        )
    return layer, split


def _polished(points: np.ndarray, counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Lloyd's iteration from `table` until no point changes its cluster."""
    entries = len(table)
    previous = None
    for _ in range(_MOST_ROUNDS):
        index = nearest(points, table)
        if previous is not None and np.array_equal(index, previous):
            break
        previous = index
        weight = np.bincount(index, counts, minlength=entries)
        total = np.bincount(index, counts * points, minlength=entries)
        table = np.where(weight > 0, total / np.maximum(weight, 1), table)
    return np.sort(table)
