"""Which weights of a kernel go: the smallest, one by one or in the patterns that sparse kernels take."""

from collections.abc import Mapping, Sequence

import numpy as np

BLOCK = 4


def unit_scores(kernel: np.ndarray, pattern: str, axes: tuple[int, int]) -> np.ndarray:
    """Squared norm of each unit that goes or stays as one, float64: the kernel's shape, or 4 times fewer along `axes`.

    `axes` are (out, in). Units are single weights, or four neighbouring output channels of `block-1x4`. `2:4` is by
    single weights, too: which two of four go is `mask_of`'s.
    """
    squares = np.square(kernel, dtype=np.float64)
    if pattern != "block-1x4":
        return squares
    moved = np.moveaxis(squares, axes[0], -1)
    return np.asarray(moved.reshape(*moved.shape[:-1], -1, BLOCK).sum(axis=-1))


def mask_of(kernel: np.ndarray, sparsity: float, pattern: str, axes: tuple[int, int]) -> np.ndarray:
    """bool, the kernel's shape: False where the smallest weights are, `sparsity` of all; ties go in memory's order.

    `2:4` sets at most two of every four neighbours along the input axis to zero: at a sparsity below 0.5 in the groups
    that lose least by it, all of them at 0.5 (Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks").

    >>> mask_of(np.array([[0.1, -0.9], [0.4, -0.2]]), 0.5, "unstructured", (1, 0)).tolist()
    [[False, True], [True, False]]
    >>> mask_of(np.array([[3.0], [1.0], [2.0], [0.0]]), 0.5, "2:4", (1, 0)).ravel().tolist()
    [True, False, True, False]
    """
    if pattern == "2:4":
        return _two_of_four(kernel, sparsity, axes[1])
    scores = unit_scores(kernel, pattern, axes)
    return spread(keep_largest(scores, sparsity), kernel.shape, pattern, axes)


def keep_largest(scores: np.ndarray, sparsity: float) -> np.ndarray:
    """bool, False for the share `sparsity` with the smallest scores."""
    mask = np.ones(scores.size, dtype=bool)
    mask[np.argsort(scores, axis=None, kind="stable")[: round(scores.size * sparsity)]] = False
    return mask.reshape(scores.shape)


def spread(units: np.ndarray, shape: Sequence[int], pattern: str, axes: tuple[int, int]) -> np.ndarray:
    """What `unit_scores` joined, taken apart again."""
    if pattern != "block-1x4":
        return units
    return np.moveaxis(np.repeat(units, BLOCK, axis=-1), -1, axes[0]).reshape(shape)


def across(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Squared magnitudes made comparable across kernels: each by the sum of those of its kernel that are not smaller.

    Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning" (LAMP). The largest of a kernel has 1, so
    that no kernel is emptied.

    >>> across({"k": np.array([1.0, 3.0, 0.0])})["k"].tolist()
    [0.25, 1.0, 0.0]
    """
    found = {}
    for name, array in scores.items():
        flat = array.ravel()
        order = np.argsort(flat, kind="stable")
        beyond = np.cumsum(flat[order][::-1])[::-1]
        shares = np.empty_like(flat)
        shares[order] = np.divide(flat[order], beyond, out=np.zeros_like(flat), where=beyond > 0)
        found[name] = shares.reshape(array.shape)
    return found


def fits(shape: Sequence[int], pattern: str, axes: tuple[int, int]) -> str:
    """Why a kernel of this shape cannot have the pattern; empty where it can."""
    if pattern == "2:4" and shape[axes[1]] % BLOCK:
        return f"2:4 groups input channels by four, and it has {shape[axes[1]]}"
    if pattern == "block-1x4" and shape[axes[0]] % BLOCK:
        return f"blocks take four output channels, and it has {shape[axes[0]]}"
    return ""


def ramp(step: int, *, begin: int, end: int, first: float, last: float) -> float:
    """Sparsity at a step: from `first` at `begin` to `last` at `end`, fast at first (Zhu and Gupta 2017, equation 1).

    >>> [round(ramp(s, begin=10, end=20, first=0.0, last=0.8), 3) for s in (0, 10, 15, 20, 30)]
    [0.0, 0.0, 0.7, 0.8, 0.8]
    """
    if step >= end:
        return last
    if step <= begin:
        return first
    return last + (first - last) * (1 - (step - begin) / (end - begin)) ** 3


def _two_of_four(kernel: np.ndarray, sparsity: float, in_axis: int) -> np.ndarray:
    moved = np.moveaxis(np.square(kernel, dtype=np.float64), in_axis, -1)
    fours = moved.reshape(-1, BLOCK)
    order = np.argsort(fours, axis=1, kind="stable")
    losers = np.zeros(fours.shape, dtype=bool)
    np.put_along_axis(losers, order[:, :2], True, axis=1)
    lost = (fours * losers).sum(axis=1)
    kept = ~losers | keep_largest(lost, min(1.0, 2 * sparsity))[:, None]
    return np.ascontiguousarray(np.moveaxis(kept.reshape(moved.shape), -1, in_axis))
