"""The multiple-choice knapsack, solved exactly: one option for each item, least loss within a budget."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to store an item."""

    bytes: int
    loss: float                 # losses of different items add up; finite


def smallest(items: Sequence[Sequence[Option]]) -> int:
    """The fewest bytes that any choice takes."""
    return sum(min(option.bytes for option in options) for options in items)


def choose(items: Sequence[Sequence[Option]], budget: int) -> tuple[int, ...]:
    """The place of the chosen option for each item: the least sum of losses whose bytes sum to at most `budget`.

    Of equal losses the fewest bytes, of equal bytes too the earliest options. Raises `ValueError` where nothing fits.
    Item by item, every choice is kept that no other beats in both bytes and loss (Nemhauser and Ullmann 1969); what is
    beaten after some items stays beaten whatever follows, so that nothing is lost.

    >>> small, large = Option(bytes=50, loss=1.0), Option(bytes=100, loss=0.0)
    >>> choose([(small, large), (Option(bytes=10, loss=0.3), Option(bytes=60, loss=0.0))], 110)
    (1, 0)
    """
    if smallest(items) > budget:
        raise ValueError(f"the smallest choice takes {smallest(items)} bytes, the budget is {budget}")
    least_of_rest = np.cumsum([0, *(min(o.bytes for o in options) for options in reversed(items))])[::-1]
    sizes, losses = np.zeros(1, np.int64), np.zeros(1)
    trail: list[tuple[np.ndarray, np.ndarray]] = []         # for each item: the frontier's parents and options
    for place, options in enumerate(items):
        more = np.concatenate([sizes + option.bytes for option in options])
        worse = np.concatenate([losses + option.loss for option in options])
        parents = np.tile(np.arange(len(sizes)), len(options))
        taken = np.repeat(np.arange(len(options)), len(sizes))
        fits = np.flatnonzero(more + least_of_rest[place + 1] <= budget)
        order = fits[np.lexsort((taken[fits], worse[fits], more[fits]))]
        best_before = np.minimum.accumulate(np.concatenate([[np.inf], worse[order][:-1]]))
        order = order[worse[order] < best_before]
        sizes, losses = more[order], worse[order]
        trail.append((parents[order], taken[order]))
    at, found = len(sizes) - 1, []                          # the frontier's losses fall as its bytes rise
    for parents, taken in reversed(trail):
        found.append(int(taken[at]))
        at = int(parents[at])
    return tuple(reversed(found))
