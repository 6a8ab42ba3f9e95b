"""Which rows to take: chosen by number, from labels alone, before anything is decoded."""

import numpy as np


def choose_calibration(rows: np.ndarray, want: int, seed: int, classes: np.ndarray | None = None) -> np.ndarray:
    """`want` of `rows`, spread over them; with `classes` (one class a row) as many of each class as there are.

    `rows` ascend; so does the result. A class with fewer rows than its share gives all of them, and the others share
    what it leaves.

    >>> rows = np.arange(10)
    >>> classes = np.array([0] * 8 + [1] * 2)
    >>> np.bincount(classes[choose_calibration(rows, 4, 0, classes)]).tolist()
    [2, 2]
    """
    if want >= len(rows):
        return rows
    random = np.random.default_rng(seed)
    if classes is None:
        return rows[_spread(len(rows), want, random)]
    _, of_row, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    shares = _shares(sizes, want, random)
    by_class = np.split(np.argsort(of_row, kind="stable"), np.cumsum(sizes)[:-1])
    picked = [members[_spread(len(members), int(n), random)] for members, n in zip(by_class, shares, strict=True)]
    return rows[np.sort(np.concatenate(picked))]


def choose_test(rows: np.ndarray, want: int | None, seed: int) -> np.ndarray:
    """`want` of `rows`, spread evenly over them, so that the classes keep the frequencies that they have."""
    if want is None or want >= len(rows):
        return rows
    return rows[_spread(len(rows), want, np.random.default_rng([seed, 1]))]


def without(rows: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """`rows` that are not in `taken`; both ascend."""
    return np.setdiff1d(rows, taken, assume_unique=True)


def calibration_share(available: int, want: int) -> int:
    """How many rows calibration may take where the test samples come from the same rows: at most a quarter.

    >>> calibration_share(5000, 512), calibration_share(100, 512), calibration_share(3, 512)
    (512, 25, 1)
    """
    return max(1, min(want, available // 4))


def beside_training(available: int, want: int) -> int:
    """How many rows may be kept from training for a role that shares its rows: at most a tenth.

    >>> beside_training(50_000, 2000), beside_training(100, 512), beside_training(3, 512)
    (2000, 10, 1)
    """
    return max(1, min(want, available // 10))


def validation_share(available: int, want: int) -> int:
    """How many rows validation may take where the test samples come from the same rows: at most half.

    >>> validation_share(50_000, 5000), validation_share(100, 5000), validation_share(1, 5000)
    (5000, 50, 1)
    """
    return max(1, min(want, available // 2))


def _spread(count: int, want: int, random: np.random.Generator) -> np.ndarray:
    """`want` numbers below `count`: one at random in each of `want` equal stretches."""
    edges = np.arange(want + 1, dtype=np.int64) * count // max(want, 1)
    return random.integers(edges[:-1], edges[1:]) if want else edges[:0]


def _shares(sizes: np.ndarray, want: int, random: np.random.Generator) -> np.ndarray:
    """How many to take of each class: equal, except where a class has fewer; what cannot be shared goes to some."""
    shares = np.zeros(len(sizes), dtype=np.int64)
    order = random.permutation(len(sizes))
    while (left := want - int(shares.sum())) > 0:
        open_classes = order[shares[order] < sizes[order]]
        each = left // len(open_classes)
        if each == 0:
            shares[open_classes[:left]] += 1
        else:
            shares[open_classes] = np.minimum(sizes[open_classes], shares[open_classes] + each)
    return shares
