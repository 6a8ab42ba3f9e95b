"""Masks and ties that stay through a training: what earlier steps made sparse or shared, and what a schedule adds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlopt.frameworks.fitting import Hold, Holder
from mlopt.network import Kept, Weights


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """A `Holder` that keeps `earlier` all the way, together with what a schedule holds beside it."""

    earlier: Mapping[str, Hold]
    schedule: Holder | None = None

    @property
    def every(self) -> int:
        return self.schedule.every if self.schedule is not None else 1 << 30

    def holds(self, step: int, steps: int, weights: Weights) -> Mapping[str, Hold] | None:
        if self.schedule is None:
            return self.earlier if step == 0 else None
        added = self.schedule.holds(step, steps, weights)
        if added is None:
            return self.earlier if step == 0 else None
        return combined(self.earlier, added)


def combined(earlier: Mapping[str, Hold], later: Mapping[str, Hold]) -> dict[str, Hold]:
    """Both at once: a weight is kept where both masks keep it; the later ties stand where both have some.

    >>> a, b = Hold(mask=np.array([True, False])), Hold(ties=np.array([0, 1], np.int32))
    >>> both = combined({"k": a}, {"k": b})["k"]
    >>> both.mask.tolist(), both.ties.tolist()
    ([True, False], [0, 1])
    """
    found = dict(earlier)
    for name, hold in later.items():
        before = found.get(name, Hold())
        masks = [mask for mask in (before.mask, hold.mask) if mask is not None]
        found[name] = replace(
            hold, mask=np.logical_and.reduce(masks) if masks else None,
            ties=hold.ties if hold.ties is not None else before.ties,
        )
    return found


def by_channel(hold: Hold, axis: int) -> Hold:
    """Ties within each index of `axis` alone: what is left of them when each channel is scaled on its own.

    >>> by_channel(Hold(ties=np.array([[0, 1], [0, 0]], np.int32)), 1).ties.tolist()
    [[0, 2], [0, 1]]
    """
    if hold.ties is None:
        return hold
    along = np.arange(hold.ties.shape[axis]).reshape([-1 if i == axis % hold.ties.ndim else 1
                                                       for i in range(hold.ties.ndim)])
    pairs = along.astype(np.int64) * (int(hold.ties.max()) + 1) + hold.ties
    _, numbered = np.unique(pairs, return_inverse=True)
    return replace(hold, ties=numbered.reshape(hold.ties.shape).astype(np.int32))


def held(array: np.ndarray, hold: Hold) -> np.ndarray:
    """The array as a hold makes it: each tie's mean over what its mask keeps, and zeros where it does not.

    >>> hold = Hold(mask=np.array([True, True, False, True]), ties=np.array([0, 0, 0, 1], np.int32))
    >>> held(np.array([1.0, 3.0, 9.0, 5.0]), hold).tolist()
    [2.0, 2.0, 0.0, 5.0]
    """
    mask = np.ones(array.shape, dtype=bool) if hold.mask is None else hold.mask
    kept = np.where(mask, array, 0)
    if hold.ties is None:
        return kept
    ties = hold.ties.ravel()
    counts = np.bincount(ties, mask.ravel())
    sums = np.bincount(ties, kept.ravel().astype(np.float64))
    means = (sums / np.maximum(counts, 1)).astype(array.dtype)
    return np.asarray(np.where(mask, means[ties].reshape(array.shape), 0))


def cut_holds(holds: Mapping[str, Hold], kept: Kept) -> dict[str, Hold]:
    """Masks and ties of the weights that stay."""
    def cut(array: np.ndarray | None, axes: Mapping[int, np.ndarray]) -> np.ndarray | None:
        for axis, indices in axes.items():
            array = None if array is None else np.take(array, indices, axis)
        return array

    return {
        name: Hold(mask=cut(hold.mask, kept.get(name, {})), ties=cut(hold.ties, kept.get(name, {})))
        for name, hold in holds.items()
    }
