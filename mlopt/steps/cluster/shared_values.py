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
    found = []
    for start in starts:
        error, values = _lloyd(np.unique(start), ordered, sums, squares)
        for _ in range(MOST_ROUNDS):
            if len(values) == count:
                break
            # some values were nearest to nothing: where most is lost two are better, unless sums cannot tell them
            error, values = _lloyd(_split(values, ordered, sums, squares), ordered, sums, squares)
        found.append((error, values))
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
    return float(_errors(places, sums, squares).sum()), values


def _split(values: np.ndarray, ordered: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """One value more: the one with the largest squared distances becomes the means of what lies on its two sides."""
    inner = np.searchsorted(ordered, (values[1:] + values[:-1]) / 2)
    places = np.concatenate([[0], inner, [len(ordered)]])
    # one number alone has no two sides, though rounding may give it the largest distance of stretches that have none
    worst = int(np.argmax(np.where(np.diff(places) > 1, _errors(places, sums, squares), -np.inf)))
    start, stop = places[worst], places[worst + 1]
    middle = int(np.clip(np.searchsorted(ordered, values[worst]), start + 1, stop - 1))
    halves = [(sums[b] - sums[a]) / (b - a) for a, b in ((start, middle), (middle, stop))]
    return np.concatenate([values[:worst], halves, values[worst + 1 :]])


def _errors(places: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Sum of squared distances to the mean in each stretch between neighbouring places."""
    return np.asarray(np.diff(squares[places]) - np.square(np.diff(sums[places])) / np.diff(places))
