"""How each class and each slice of the data fares: a mean can hide one group that lost much."""

from collections.abc import Mapping, Sequence

import numpy as np

from mlopt.report import UNKNOWN, ClassDrop
from mlopt.verify.intervals import paired_drop_interval, ratio_interval
from mlopt.verify.scoring import Truth, measure
from mlopt.verify.task import Scoring, Task

ENOUGH = 20           # samples of a group before it may be called the worst: below, one sample is 5 points
LARGEST_LIST = 100    # groups listed
MOST_ROUNDS = 20      # times the bootstrap's replicates, for the widened interval of the worst slice


class ClassTally:
    """Right answers of source and file for each class, by sample: the share of its positions that is found."""

    def __init__(self, classes: int, names: Sequence[str] = ()) -> None:
        self.names = [names[c] if c < len(names) else str(c) for c in range(classes)]
        self._class: list[np.ndarray] = []       # parallel columns, one row for each sample and class that it holds
        self._held: list[np.ndarray] = []
        self._source: list[np.ndarray] = []
        self._file: list[np.ndarray] = []

    def add(self, labels: np.ndarray, source: np.ndarray, file: np.ndarray) -> None:
        """Class indices [n, ...] of the labels and of both predictions (-1: none) for the next n samples."""
        n, classes = len(labels), len(self.names)
        labels, source, file = (a.reshape(n, -1) for a in (labels, source, file))
        if labels.shape[1] == 1:
            self._append(labels[:, 0], np.ones(n), (source == labels)[:, 0], (file == labels)[:, 0])
            return
        cells = labels + np.arange(n)[:, None] * classes
        held = np.bincount(cells.ravel(), minlength=n * classes)
        present = np.flatnonzero(held)
        right = [
            np.bincount(cells[predicted == labels], minlength=n * classes)[present] for predicted in (source, file)
        ]
        self._append(present % classes, held[present], *right)

    def _append(self, classes: np.ndarray, held: np.ndarray, source: np.ndarray, file: np.ndarray) -> None:
        columns = (self._class, self._held, self._source, self._file)
        for column, values in zip(columns, (classes, held, source, file), strict=True):
            column.append(values)

    def drops(self) -> tuple[tuple[ClassDrop, ...], tuple[str, ...]]:
        """All classes that the labels hold, in order; above 100 those with the largest drops alone, and a note."""
        if not self._class:
            return (), ()
        order, starts, present = self._grouped()
        found = [self._drop(c, order[a:b], 0.95) for c, a, b in zip(present, starts[:-1], starts[1:], strict=True)]
        notes = []
        missing = len(self.names) - len(found)
        if missing:
            notes.append(f"{missing} of {len(self.names)} classes have no sample in the labels")
        if len(found) > LARGEST_LIST:
            notes.append(f"of {len(found)} classes the {LARGEST_LIST} with the largest drops are listed")
            found = _largest(found)
        return tuple(found), tuple(notes)

    def drop(self, name: str, level: float) -> ClassDrop:
        """One class again, at another level."""
        order, starts, present = self._grouped()
        at = next(i for i, c in enumerate(present) if self.names[c] == name)
        return self._drop(present[at], order[starts[at] : starts[at + 1]], level)

    def _grouped(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        classes = np.concatenate(self._class)
        order = np.argsort(classes, kind="stable")
        present, first = np.unique(classes[order], return_index=True)
        return order, np.append(first, len(order)), present

    def _drop(self, index: int, rows: np.ndarray, level: float) -> ClassDrop:
        columns = (self._held, self._source, self._file)
        held, source, file = (np.concatenate(column)[rows].astype(np.float64) for column in columns)
        lost, whole = source - file, held.sum()
        one_each = bool((held == 1).all())
        interval = paired_drop_interval(lost, level) if one_each else ratio_interval(lost, held, level)
        return ClassDrop(
            name=self.names[index], n=len(rows), source=float(source.sum() / whole), value=float(file.sum() / whole),
            drop=float(lost.sum() / whole), drop_interval=interval,
        )


def slice_drops(
    task: Task,
    truth: Truth,
    source: np.ndarray,
    file: np.ndarray,
    slices: Mapping[str, np.ndarray],
    *,
    seed: int,
    level: float = 0.95,
    only: str = "",
    rounds: int = 1,
) -> tuple[tuple[ClassDrop, ...], tuple[str, ...]]:
    """The metric on each value of each slice column, named "column=value"; the most frequent 100 values of a column.

    `source` and `file` are per-sample scores [N]. Without labels there is no metric to slice: a note says so. `only`
    names the one to compute again, at another level and with `rounds` times the bootstrap's replicates.
    """
    if not slices:
        return (), ()
    if task.scoring is Scoring.NONE:
        return (), (f"slices by {', '.join(slices)} are unused: without labels there is no metric to compare",)
    found, notes = [], []
    for column, values in slices.items():
        kinds, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
        kept = np.sort(np.argsort(-counts, kind="stable")[:LARGEST_LIST])
        if len(kept) < len(kinds):
            notes.append(f"slice {column} has {len(kinds)} values: the {LARGEST_LIST} most frequent are compared")
        for k in kept:
            name = f"{column}={kinds[k]}"
            if only and name != only:
                continue
            rows = np.flatnonzero(inverse == k)
            m = measure(task, truth.subset(rows), source[rows], file[rows], seed=seed, level=level, rounds=rounds)
            found.append(ClassDrop(name=name, n=len(rows), source=m.source, value=m.value, drop=m.drop,
                                   drop_interval=m.drop_interval))
    return tuple(found), tuple(notes)


def worst(groups: Sequence[ClassDrop]) -> tuple[ClassDrop | None, float]:
    """The group with the largest drop among those with at least 20 samples, and the level its interval needs.

    Whoever picks the worst of k groups has looked k times: its interval is made at 1 - 0.05 / k (Bonferroni), so that
    all k would hold together 95 % of the time. None where no group is large enough.
    """
    able = [g for g in groups if g.n >= ENOUGH and np.isfinite(g.drop)]
    if not able:
        return None, UNKNOWN
    return max(able, key=lambda g: g.drop), 1 - 0.05 / len(able)


def _largest(groups: Sequence[ClassDrop]) -> list[ClassDrop]:
    return sorted(groups, key=lambda g: -g.drop)[:LARGEST_LIST]


