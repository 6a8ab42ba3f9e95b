"""k-means of numbers: the few values that a kernel's weights are best replaced by."""

import numpy as np

MOST_ROUNDS = 300        # of Lloyd's algorithm; on sorted numbers a round costs microseconds, and most need under 100


def shared_values(numbers: np.ndarray, count: int) -> np.ndarray:
    """At most `count` increasing values [k] with a small mean squared distance to `numbers` [n].

    Lloyd's algorithm from two starts, evenly spaced (best for trained kernels: Han et al. 2016, "Deep Compression") and
    quantiles; the better result is taken. A local minimum, the same for the same numbers.

    >>> shared_values(np.array([0.0, 0.1, 1.0, 1.2, 5.0]), 3).round(3).tolist()
    [0.05, 1.1, 5.0]
    """
    ordered = np.sort(np.asarray(numbers, np.float64).ravel())
    different = np.unique(ordered)
    if len(different) <= count:
        return different
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(np.square(ordered))])
    starts = (
        np.linspace(ordered[0], ordered[-1], count),
        np.quantile(ordered, (np.arange(count) + 0.5) / count),
    )
    found = [_lloyd(np.unique(start), ordered, sums, squares) for start in starts]
    return min(found, key=lambda pair: pair[0])[1]


def nearest(numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
    """int32, the shape of `numbers`: the index of the nearest of increasing `values`.

    >>> nearest(np.array([0.4, 0.6, 9.0]), np.array([0.0, 1.0])).tolist()
    [0, 1, 1]
    """
    return np.searchsorted((values[1:] + values[:-1]) / 2, numbers).astype(np.int32)


def _lloyd(values: np.ndarray, ordered: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> tuple[float, np.ndarray]:
    """(sum of squared distances, values) where nothing moves any more; values nearest to nothing are dropped."""
    places = np.array([], dtype=np.int64)
    for _ in range(MOST_ROUNDS):
        inner = np.searchsorted(ordered, (values[1:] + values[:-1]) / 2)
        edges = np.unique(np.concatenate([[0], inner, [len(ordered)]]))
        if np.array_equal(edges, places):
            break
        places = edges
        values = np.diff(sums[places]) / np.diff(places)
    error = np.diff(squares[places]) - np.square(np.diff(sums[places])) / np.diff(places)
    return float(error.sum()), values
