"""Which classes and which slices of the data lost, and what is taken for what."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlopt.report import Candidate, ClassDrop, Report
from mlopt.words import known

_LISTED = 12         # classes or slices listed for each file, the largest drop first
_LARGEST = 24        # classes in a matrix that is drawn; a larger one is told by its most frequent mistakes
_MISTAKES = 12

Counts = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """Both matrices with the share of each cell in its row; or the mistakes: label, taken for, before, after."""

    title: str
    names: tuple[str, ...]
    matrices: tuple[tuple[str, list[list[tuple[int, float]]]], ...] = ()
    mistakes: tuple[tuple[str, str, int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A drop as a dot and its interval as a whisker around zero, on 0 to 200."""

    at: float
    whisker: tuple[float, float] | None
    worse: bool                          # surely a loss, taken by itself


@dataclass(frozen=True, kw_only=True)
class Drops:
    title: str
    count: int
    worst: ClassDrop | None
    rows: tuple[tuple[ClassDrop, Mark | None], ...]


def confusions(report: Report) -> Confusions | None:
    """The source's matrix beside that of the recommended file with the largest drop."""
    file = _with_matrix(report)
    before = report.baseline.confusion
    if file is None or file.evidence is None or not before:
        return None
    after = file.evidence.confusion
    names = tuple(_name(report, i) for i in range(len(before)))
    title = f"{file.format} {file.precision}"
    if len(names) > _LARGEST:
        return Confusions(title=title, names=names, mistakes=_mistakes(before, after, names))
    return Confusions(title=title, names=names, matrices=(("Source", _shares(before)), (title, _shares(after))))


def _shares(counts: Counts) -> list[list[tuple[int, float]]]:
    return [[(count, count / max(sum(row), 1)) for count in row] for row in counts]


def _mistakes(before: Counts, after: Counts, names: Sequence[str]) -> tuple[tuple[str, str, int, int], ...]:
    cells = [
        (after[i][j], before[i][j], i, j)
        for i in range(len(names)) for j in range(len(names)) if i != j and after[i][j]
    ]
    frequent = sorted(cells, key=lambda c: (-c[0], c[2], c[3]))[:_MISTAKES]
    return tuple((names[i], names[j], b, a) for a, b, i, j in frequent)


def drops(report: Report) -> list[Drops]:
    """For each recommended file the classes and slices that lost most, on one scale for the whole page."""
    proven = [(c, c.evidence) for c in report.candidates if c.recommended and c.evidence]
    every = [abs(g.drop) for _, e in proven for g in (*e.classes, *e.slices) if not math.isnan(g.drop)]
    scale = 1.5 * max(every, default=0.0)
    return [
        _drops(f"{c.format} {c.precision}: {title}", groups, worst, scale)
        for c, e in proven
        for title, groups, worst in (("classes", e.classes, e.worst_class), ("slices", e.slices, e.worst_slice))
        if groups
    ]


def _drops(title: str, groups: Sequence[ClassDrop], worst: ClassDrop | None, scale: float) -> Drops:
    ordered = sorted(groups, key=lambda g: math.inf if math.isnan(g.drop) else -g.drop)[:_LISTED]
    return Drops(
        title=title, count=len(groups), worst=worst if len(groups) > 1 else None,
        rows=tuple((group, _mark(group, scale)) for group in ordered),
    )


def _mark(group: ClassDrop, scale: float) -> Mark | None:
    if math.isnan(group.drop) or scale == 0:
        return None

    def at(drop: float) -> float:
        return 100 + 96 * max(-1.0, min(drop / scale, 1.0))

    of = group.drop_interval
    whisker = (at(of.low), at(of.high)) if known(of) else None
    return Mark(at=at(group.drop), whisker=whisker, worse=known(of) and of.low > 0)


def _with_matrix(report: Report) -> Candidate | None:
    """The recommended file that drops most; where none is recommended, the file that drops least."""
    able = [(c.evidence.drop, i) for i, c in enumerate(report.candidates) if c.evidence and c.evidence.confusion]
    able = [(drop, i) for drop, i in able if not math.isnan(drop)]
    picked = [(drop, i) for drop, i in able if report.candidates[i].recommended]
    found = max(picked) if picked else min(able, default=None)
    return report.candidates[found[1]] if found else None


def _name(report: Report, index: int) -> str:
    return report.class_names[index] if index < len(report.class_names) else str(index)
