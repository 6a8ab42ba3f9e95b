"""The groups of a network in words, before anything is cut."""

from dataclasses import dataclass

import numpy as np

from mlopt.channels.coupling import Group, Groups


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """One line of the table of groups."""

    group: str
    nodes: tuple[str, ...]              # that carry its channels
    channels: int                       # that can be cut one by one
    together: tuple[str, ...]           # convolutions whose channels go together
    parameters: int                     # weights that hang on it, those shared with other groups counted in full
    pinned: str                         # why none can be cut; empty where they can


def describe(groups: Groups) -> tuple[GroupRow, ...]:
    """A row for each group that can be cut, then one for each that cannot."""
    rows = [
        GroupRow(
            group=group.name, nodes=tuple(group.places), channels=group.units, together=group.producers,
            parameters=_parameters(groups, group), pinned=group.pinned or _alone(group),
        )
        for group in groups.all
    ]
    return tuple(sorted(rows, key=lambda row: bool(row.pinned)))


def table(rows: tuple[GroupRow, ...]) -> list[str]:
    """The rows as lines of text, for a terminal.

    >>> row = GroupRow(group="a", nodes=("a", "relu"), channels=8, together=("a", "b"), parameters=60, pinned="")
    >>> table((row,))
    ['a: 8 channels, 60 weights; together with b']
    """
    lines = []
    for row in rows:
        rest = [name for name in row.together if name != row.group]
        cut = f"together with {', '.join(rest)}" if rest else "on its own"
        stays = f"stays whole: {row.pinned}"
        count = f"{row.channels} channel{'' if row.channels == 1 else 's'}"
        lines.append(f"{row.group}: {count}, {row.parameters} weights; {stays if row.pinned else cut}")
    return lines


def _alone(group: Group) -> str:
    return "" if group.units > 1 else "its only channel"


def _parameters(groups: Groups, group: Group) -> int:
    """Elements of which at least one axis runs over the group's channels."""
    touched: dict[str, list[tuple[int, int]]] = {}
    for (name, axis), indices in group.cuts.items():
        touched.setdefault(name, []).append((axis, indices.size))
    shapes = {name: weight.shape for name, weight in groups.network.weights().items()}
    total = 0
    for name, axes in touched.items():
        size = int(np.prod(shapes[name]))
        spared = np.prod([1 - count / shapes[name][axis] for axis, count in axes])
        total += size - round(size * float(spared))
    return total
