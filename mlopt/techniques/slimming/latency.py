"""Latency as a cost: what narrower groups were measured to save, put together, and corrected by measuring the whole."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression

from mlopt import plain
from mlopt.files import write_atomically
from mlopt.techniques.coupling import Groups
from mlopt.techniques.slimming.costs import Cost, macs
from mlopt.techniques.slimming.selection import Room, choose
from mlopt.techniques.step import Context, Latencies

VARIANTS = 36                   # networks measured for the table, the whole and the smallest one among them
WHOLES = 4                      # of those: the whole network, to which all others are compared, so often
CORRECTIONS = 4                 # networks measured at most to meet the target in the end
NEAR = 0.03                     # a share this far below the target is near enough to stop


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Microseconds of int8 inference, measured side by side; every width below is of one group, the others whole."""

    whole_us: float
    smallest_us: float                              # every group at its smallest width
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
class Met:
    """The widths that were chosen by measurement, and all that were measured on the way."""

    widths: np.ndarray
    share: float                        # measured, of the whole network's latency
    tried: tuple[tuple[float, float], ...]          # (predicted, measured) share of each network


def measure(groups: Groups, options: Room, context: Context, latencies: Latencies) -> LatencyTable:
    """Time the whole network, the smallest, and each group alone at some of its widths."""
    picked = variants(options, _work(groups, options), VARIANTS - WHOLES - 1)
    rows = [*(options.whole for _ in range(WHOLES)), options.smallest]
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
    *, context: Context, latencies: Latencies, whole: Path,
) -> Met:
    """Choose by the prediction, measure the choice beside the `whole` network (a saved model), correct, choose again.

    Of those measured within the target the one that loses least is taken; of none, the fastest.
    """
    aim, tried, found = target, list[tuple[float, float]](), list[tuple[float, np.ndarray]]()
    for _ in range(CORRECTIONS):
        widths = choose(options, cost, aim)
        widths = options.smallest if widths is None else widths
        if any(np.array_equal(widths, before) for _, before in found):
            break
        base, time = timed(groups, options, context, latencies, [widths], beside=whole)
        measured = time / base
        tried.append((float(cost(widths)), measured))
        found.append((measured, widths))
        if target - NEAR <= measured <= target:
            break
        believed = 1 - float(cost(widths))          # what is really saved for each part that was said to be
        wanted = 1 - target + (NEAR / 3 if measured > target else 0)
        aim = 1 - wanted * believed / max(1 - measured, 0.01) if believed > 0 else target
    within = [(options.total_lost(widths), measured, widths) for measured, widths in found if measured <= target]
    if within:
        _, share, chosen = min(within, key=lambda each: each[:2])
    else:
        share, chosen = min(found, key=lambda each: each[0])
    return Met(widths=chosen, share=share, tried=tuple(tried))


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
