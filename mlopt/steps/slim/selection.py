"""Which widths to choose so that a cost meets its target and the least importance is lost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlopt.channels.coupling import Groups
from mlopt.channels.widths import SLACK, allowed_widths

Priced = Callable[[np.ndarray], np.ndarray]        # widths [..., groups] -> cost [...]

STEPS_DOWN = 8                 # allowed widths that a single cut may cross: a kernel's jump in time lies within these
EXCHANGES = 200                # at most, of a step up here for a step down there; each loses less than the one before


@dataclass(frozen=True, kw_only=True)
class Room:
    """Which widths the free groups may have, and what is lost at each."""

    names: tuple[str, ...]
    widths: tuple[np.ndarray, ...]      # of each group: increasing int64, the last is its width now
    lost: tuple[np.ndarray, ...]        # of each group and width: importance of all units that go
    order: tuple[np.ndarray, ...]       # of each group: units by importance, the least important first

    @property
    def whole(self) -> np.ndarray:
        return np.array([widths[-1] for widths in self.widths], dtype=np.int64)

    @property
    def smallest(self) -> np.ndarray:
        return np.array([widths[0] for widths in self.widths], dtype=np.int64)

    def dropped(self, widths: np.ndarray) -> dict[str, np.ndarray]:
        """The units that go, by group, where any do."""
        cut = zip(self.names, self.order, (self.whole - widths).tolist(), strict=True)
        return {name: np.sort(order[:count]) for name, order, count in cut if count}

    def total_lost(self, widths: np.ndarray) -> float:
        at = [int(np.searchsorted(w, width)) for w, width in zip(self.widths, widths, strict=True)]
        return float(sum(lost[i] for lost, i in zip(self.lost, at, strict=True)))


def room(
    groups: Groups, importance: Mapping[str, np.ndarray], first: Mapping[str, int], *, multiple: int, least: float
) -> Room:
    """`first`: how many units each group had before any cut. A group without importance stays as it is."""
    widths, lost, orders = [], [], []
    for group in groups.free:
        worth = importance.get(group.name)
        fixed = worth is None
        allowed = [] if fixed else allowed_widths(group.units, first[group.name], multiple=multiple, least=least)
        values = np.zeros(group.units) if worth is None else worth
        order = np.argsort(values, kind="stable")
        sums = np.concatenate([[0.0], np.cumsum(values[order])])
        own = np.array(allowed or [group.units], dtype=np.int64)
        widths.append(own)
        lost.append(sums[group.units - own])
        orders.append(order)
    return Room(
        names=tuple(group.name for group in groups.free), widths=tuple(widths), lost=tuple(lost), order=tuple(orders)
    )


def choose(options: Room, cost: Priced, target: float) -> np.ndarray | None:
    """Widths whose cost is at most `target`, or None where even the smallest cost more.

    Greedy: the cut with the least importance for what it saves, until the target is met; then room that is left is
    given back, and steps are exchanged as long as less is lost. In the end no group can be wider within the target.
    """
    limit = target * (1 + SLACK)
    if float(cost(options.smallest)) > limit:
        return None
    at = [len(widths) - 1 for widths in options.widths]
    price = float(cost(_widths(options, at)))
    while price > limit:
        moves = [
            (g, to) for g, now in enumerate(at) for to in range(max(now - STEPS_DOWN, 0), now)
        ]
        costs = _costs(options, cost, at, [[move] for move in moves])
        gains = np.array([options.lost[g][to] - options.lost[g][at[g]] for g, to in moves])
        saved = price - costs
        rates = np.where(saved > 0, gains / np.where(saved > 0, saved, 1), np.inf)
        if not np.isfinite(rates).any():                # nothing saves by itself: go down where the least is lost
            rates = gains
        group, to = moves[int(np.argmin(rates))]
        at[group] = to
        price = float(cost(_widths(options, at)))
    _refill(options, cost, at, limit)
    for _ in range(EXCHANGES):
        if not _exchange(options, cost, at, limit):
            break
        _refill(options, cost, at, limit)
    return _widths(options, at)


def widened(options: Room, cost: Priced, widths: np.ndarray, target: float) -> np.ndarray:
    """`widths` with what `target` leaves room for given back, first where the most importance comes back."""
    at = [int(np.searchsorted(allowed, width)) for allowed, width in zip(options.widths, widths, strict=True)]
    _refill(options, cost, at, target * (1 + SLACK))
    return _widths(options, at)


def _refill(options: Room, cost: Priced, at: list[int], limit: float) -> None:
    """Widen groups while the cost stays within the limit, first where the most importance comes back for its cost."""
    while True:
        price = float(cost(_widths(options, at)))
        moves = [(g, to) for g, now in enumerate(at) for to in range(now + 1, len(options.widths[g]))]
        costs = _costs(options, cost, at, [[move] for move in moves])
        fitting = np.flatnonzero(costs <= limit)
        if not len(fitting):
            return
        back = np.array([options.lost[g][at[g]] - options.lost[g][to] for g, to in moves])
        rates = (back / np.maximum(costs - price, limit * SLACK))[fitting]
        group, to = moves[int(fitting[np.argmax(rates)])]
        at[group] = to


def _exchange(options: Room, cost: Priced, at: list[int], limit: float) -> bool:
    """One step up in a group for one step down in another, the pair that wins most; False where none wins."""
    ups = [g for g, now in enumerate(at) if now + 1 < len(options.widths[g])]
    downs = [g for g, now in enumerate(at) if now > 0]
    pairs = [((g, at[g] + 1), (h, at[h] - 1)) for g in ups for h in downs if g != h]
    won = np.array([
        (options.lost[g][at[g]] - options.lost[g][up]) - (options.lost[h][down] - options.lost[h][at[h]])
        for (g, up), (h, down) in pairs
    ])
    promising = np.flatnonzero(won > SLACK * max(float(np.abs(won).max(initial=0)), 1e-300))
    costs = _costs(options, cost, at, [list(pairs[i]) for i in promising])
    fitting = promising[costs <= limit]
    if not len(fitting):
        return False
    for group, to in pairs[int(fitting[np.argmax(won[fitting])])]:
        at[group] = to
    return True


def _widths(options: Room, at: Sequence[int]) -> np.ndarray:
    return np.array([widths[i] for widths, i in zip(options.widths, at, strict=True)], dtype=np.int64)


def _costs(options: Room, cost: Priced, at: Sequence[int], moves: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
    """The cost after each of these, a few changes of (group, place in its widths) each."""
    rows = np.tile(_widths(options, at), (len(moves), 1))
    for row, changes in zip(rows, moves, strict=True):
        for group, to in changes:
            row[group] = options.widths[group][to]
    return cost(rows) if len(rows) else np.zeros(0)
