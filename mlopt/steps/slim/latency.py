"""Latency as a cost: what narrower groups were measured to save, put together, and corrected by measuring the whole."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression

from mlopt import plain
from mlopt.channels.costs import Cost, macs
from mlopt.channels.coupling import Groups
from mlopt.files import write_atomically
from mlopt.steps.protocol import Context, Latencies
from mlopt.steps.slim.selection import Room, choose, widened

VARIANTS = 36                   # networks measured for the table, the whole and the smallest one among them
WHOLES = 4                      # of those: the whole network, to which all others are compared, so often
CORRECTIONS = 8                 # networks measured at most to meet the target in the end
NEAR = 0.015                    # a share this far below the target is near enough to stop
GIVEN_BACK = (1.0, 0.75, 0.5, 0.25)     # parts of what a cut saved in excess, tried one after the other
BETWEEN = 17                    # shares that are tried between a cut that is too slow and one that is too fast
FARTHER = 0.1                   # below what is aimed at, where nothing was fast enough yet


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Microseconds of int8 inference, measured side by side; every width below is of one group, the others whole."""

    whole_us: float
    smallest_us: float                              # every group that was measured at its smallest width
    by_width_us: Mapping[str, Mapping[int, float]]  # group -> width -> latency; groups left out were not measured

    def write(self, path: Path) -> None:
        write_atomically(path, json.dumps(plain.to_plain(self)).encode())

    @classmethod
    def read(cls, path: Path) -> "LatencyTable":
        return plain.from_plain(json.loads(path.read_text()), cls)


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Latency as a share of the measured network's: 1 minus what each group saves at its width.

    Between two measured widths the saving is interpolated. A convolution between two groups cannot be saved twice:
    savings are added up and then taken in the share in which the savings of multiply-accumulates add up.
    """

    places: np.ndarray                  # int64 [free groups now], of each among those of the measured network
    base: np.ndarray                    # int64 [groups measured]: 1 for those that cannot be cut any more
    widths: tuple[np.ndarray, ...]      # of each group measured: its widths, increasing, the last is the whole one
    savings: tuple[np.ndarray, ...]     # of each group and width, as a share of the whole latency
    macs: Cost                          # of the measured network
    alone: tuple[np.ndarray, ...]       # of each group: [units + 1] multiply-accumulates that it saves alone, by width

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        w = np.array(np.broadcast_to(self.base, (*np.shape(widths)[:-1], len(self.base))))
        w[..., self.places] = widths
        none, groups = np.zeros(w.shape[:-1]), range(len(self.base))
        saved = sum((np.interp(w[..., g], self.widths[g], self.savings[g]) for g in groups), start=none)
        added = sum((self.alone[g][w[..., g]] for g in groups), start=none)
        whole = np.array([len(alone) - 1 for alone in self.alone])
        together = self.macs(whole) - self.macs(w)
        return np.asarray(1.0 - saved * np.where(added > 0, together / np.where(added > 0, added, 1.0), 1.0))


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A network that was measured, as shares of the whole network's latency."""

    predicted: float
    measured: float
    widths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Met:
    """The widths that were chosen by measurement, and all that were measured on the way."""

    widths: np.ndarray
    share: float                        # measured, of the whole network's latency
    tried: tuple[tuple[float, float], ...]          # (predicted, measured) share of each network


def measure(groups: Groups, options: Room, context: Context, latencies: Latencies) -> LatencyTable:
    """Time the whole network, the smallest, and each group alone at some of its widths."""
    picked = variants(options, _work(groups, options), VARIANTS - WHOLES - 1)
    smallest = options.whole
    timed_groups = sorted({group for group, _ in picked})
    smallest[timed_groups] = options.smallest[timed_groups]
    rows = [*(options.whole for _ in range(WHOLES)), smallest]
    for group, width in picked:
        row = options.whole
        row[group] = width
        rows.append(row)
    times = timed(groups, options, context, latencies, rows)
    by_width: dict[str, dict[int, float]] = {}
    for (group, width), time in zip(picked, times[WHOLES + 1 :], strict=True):
        by_width.setdefault(options.names[group], {})[int(width)] = time
    whole = float(np.median(times[:WHOLES]))
    return LatencyTable(whole_us=whole, smallest_us=times[WHOLES], by_width_us=by_width)


def variants(options: Room, work: Sequence[float], budget: int) -> list[tuple[int, int]]:
    """(group, width) to measure, at most `budget`: the smallest width of each group, then more of those that save most.

    Every next one halves the widest gap between widths of a group, weighed by the work that its smallest width saves.
    """
    cuttable = [g for g, widths in enumerate(options.widths) if len(widths) > 1]
    found = {g: {0, len(options.widths[g]) - 1} for g in sorted(cuttable, key=lambda g: -work[g])[:budget]}
    for _ in range(budget - len(found)):
        gaps = [
            (work[g] * (high - low) / len(options.widths[g]), -g, -(low + high) // 2)
            for g, places in found.items()
            for low, high in zip(sorted(places)[:-1], sorted(places)[1:], strict=True) if high - low > 1
        ]
        if not gaps:
            break
        _, group, middle = max(gaps)
        found[-group].add(-middle)
    return [(g, int(options.widths[g][i])) for g in sorted(found) for i in sorted(found[g])[:-1]]


def predicted(table: LatencyTable, first: Groups, now: Groups) -> Predicted:
    """The cost for the free groups of a network that is the `first`, which was measured, or narrower.

    Kernels work in blocks of channels, so that time is a staircase over width: it never falls where width grows. The
    staircase nearest to the measured times is taken (isotonic regression), so that no width is chosen for a lucky run.
    """
    names = [group.name for group in first.free]
    widths, savings = [], []
    for group in first.free:
        measured = sorted(table.by_width_us.get(group.name, {}).items())
        widths.append(np.array([*(width for width, _ in measured), group.units], dtype=np.float64))
        times = isotonic_regression(
            [*(time for _, time in measured), table.whole_us], weights=[*(1.0 for _ in measured), float(WHOLES)]
        ).x
        savings.append(np.asarray((times[-1] - times) / table.whole_us))
    return Predicted(
        places=np.array([names.index(group.name) for group in now.free], dtype=np.int64),
        base=np.ones(len(names), dtype=np.int64), widths=tuple(widths), savings=tuple(savings), macs=macs(first),
        alone=_alone(first),
    )


def meet(
    groups: Groups, options: Room, cost: Predicted, target: float,
    *, context: Context, latencies: Latencies, whole: Path, kept: Path,
) -> Met:
    """Choose by the prediction, measure the choice beside the `whole` network (a saved model), correct, choose again.

    The search goes on between the cut that is a little too slow and the one that is a little too fast. Of those
    measured within the target the one that loses least is taken; of none, the fastest. What was measured stands in the
    file `kept`, so that a search that was killed goes on.
    """
    found = [plain.from_plain(each, Tried) for each in json.loads(kept.read_text())] if kept.exists() else []
    aim = _next_aim(target - NEAR / 2, target, found) if found else target
    while len(found) < CORRECTIONS and not any(target - NEAR <= each.measured <= target for each in found):
        widths = _untried(options, cost, aim, target, found)
        if widths is None:
            break
        base, time = timed(groups, options, context, latencies, [widths], beside=whole)
        found.append(Tried(predicted=float(cost(widths)), measured=time / base, widths=tuple(widths.tolist())))
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, json.dumps(plain.to_plain(found)).encode())
        aim = _next_aim(target - NEAR / 2, target, found)
    within = [each for each in found if each.measured <= target]
    if within:
        chosen = min(within, key=lambda each: (options.total_lost(np.array(each.widths)), each.measured))
    else:
        chosen = min(found, key=lambda each: each.measured)
    return Met(
        widths=np.array(chosen.widths, dtype=np.int64), share=chosen.measured,
        tried=tuple((each.predicted, each.measured) for each in found),
    )


def _bracket(target: float, found: Sequence[Tried]) -> tuple[Tried | None, Tried | None]:
    """The fastest of those that are too slow, and the slowest of those that are fast enough."""
    slow = min((each for each in found if each.measured > target), key=lambda each: each.measured, default=None)
    fast = max((each for each in found if each.measured <= target), key=lambda each: each.measured, default=None)
    return slow, fast


def _next_aim(wanted: float, target: float, found: Sequence[Tried]) -> float:
    """The predicted share to ask for, so that `wanted` may be measured: on the line between the two that are nearest,
    one of them the whole network where none was too slow.
    """
    slow, fast = _bracket(target, found)
    upper = (slow.predicted, slow.measured) if slow else (1.0, 1.0)
    if fast is None:
        return 1 - (1 - wanted) * (1 - upper[0]) / max(1 - upper[1], 0.01)     # what is really saved of what was said
    across = upper[1] - fast.measured
    return fast.predicted + (wanted - fast.measured) / across * (upper[0] - fast.predicted) if across > 0 else wanted


def _untried(
    options: Room, cost: Predicted, aim: float, target: float, found: Sequence[Tried]
) -> np.ndarray | None:
    """Widths near `aim` that nobody measured; None where there are none left.

    What is best for each share need not come near: then the cut that was too fast is widened where it is worth most.
    """
    slow, fast = _bracket(target, found)
    low, high = fast.predicted if fast else aim - FARTHER, slow.predicted if slow else 1.0
    between = sorted(np.linspace(low, high, BETWEEN).tolist(), key=lambda share: abs(share - aim))
    best = (choose(options, cost, share) for share in (aim, *between))
    given_back = (
        widened(options, cost, np.array(fast.widths), fast.predicted + part * (aim - fast.predicted))
        for part in GIVEN_BACK
    ) if fast else iter(())
    first, then = (given_back, best) if slow and fast and len(found) % 2 == 0 else (best, given_back)
    for each in chain(first, then):
        widths = options.smallest if each is None else each
        if not any(np.array_equal(widths, other.widths) for other in found):
            return widths
    return None


def timed(
    groups: Groups, options: Room, context: Context, latencies: Latencies, rows: Sequence[np.ndarray],
    *, beside: Path | None = None,
) -> list[float]:
    """Microseconds of the network at each of these widths, and first of a saved model where one is given."""
    context.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.work, prefix="timed-") as name:
        folders = []
        if beside is not None:
            folders.append(Path(name) / "beside")
            shutil.copytree(beside, folders[0])
        for number, widths in enumerate(rows):
            context.on_event({"doing": "building widths to time", "done": number, "total": len(rows)})
            folders.append(Path(name) / str(number))
            context.model.narrowed(groups.kept(options.dropped(widths))).save(folders[-1])
        return latencies(folders)


def _work(groups: Groups, options: Room) -> list[float]:
    """Multiply-accumulates that each group saves at its smallest width."""
    return [float(saved[width]) for saved, width in zip(_alone(groups), options.smallest, strict=True)]


def _alone(groups: Groups) -> tuple[np.ndarray, ...]:
    """Multiply-accumulates that each group saves alone, [units + 1] by its width."""
    cost, whole = macs(groups), np.array([group.units for group in groups.free], dtype=np.int64)
    found = []
    for number, group in enumerate(groups.free):
        rows = np.tile(whole, (group.units + 1, 1))
        rows[:, number] = np.arange(group.units + 1)
        found.append(cost(whole) - cost(rows))
    return tuple(found)
