"""Latency as a cost: what narrower groups were measured to save, added up, and corrected by measuring the sum."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt import plain
from mlopt.compress.coupling import Groups
from mlopt.compress.slimming.costs import macs
from mlopt.compress.slimming.selection import Room, choose
from mlopt.compress.step import Context, Latencies
from mlopt.files import write_atomically

VARIANTS = 36                   # networks measured for the table, the whole and the smallest one among them
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
    """Latency as a share of the whole network's: 1 minus what each group saves at its width, as if savings added up.

    Between two measured widths the saving is interpolated.
    """

    widths: tuple[np.ndarray, ...]      # of each group: measured, increasing, the last is the whole width
    savings: tuple[np.ndarray, ...]     # of each group and width, as a share of the whole latency
    whole: float = 1.0                  # less what groups save that have one channel left and cannot be cut any more

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        w = np.asarray(widths, dtype=np.float64)
        saved = [np.interp(w[..., i], self.widths[i], self.savings[i]) for i in range(len(self.widths))]
        return np.asarray(self.whole - np.sum(saved, axis=0))


@dataclass(frozen=True, kw_only=True)
class Met:
    """The widths that were chosen by measurement, and all that were measured on the way."""

    widths: np.ndarray
    share: float                        # measured, of the whole network's latency
    tried: tuple[tuple[float, float], ...]          # (predicted, measured) share of each network


def measure(groups: Groups, options: Room, context: Context, latencies: Latencies) -> LatencyTable:
    """Time the whole network, the smallest, and each group alone at some of its widths."""
    picked = variants(options, _work(groups, options), VARIANTS - 2)
    rows = [options.whole, options.smallest]
    for group, width in picked:
        row = options.whole
        row[group] = width
        rows.append(row)
    times = timed(groups, options, context, latencies, rows)
    by_width: dict[str, dict[int, float]] = {}
    for (group, width), time in zip(picked, times[2:], strict=True):
        by_width.setdefault(options.names[group], {})[int(width)] = time
    return LatencyTable(whole_us=times[0], smallest_us=times[1], by_width_us=by_width)


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


def predicted(table: LatencyTable, groups: Groups, first: Mapping[str, int]) -> Predicted:
    """The cost for the free groups of the network that was measured, `first` its widths, or of a narrower one."""
    names = tuple(group.name for group in groups.free)
    widths, savings = dict[str, np.ndarray](), dict[str, np.ndarray]()
    for name, units in first.items():
        measured = sorted(table.by_width_us.get(name, {}).items())
        widths[name] = np.array([*(width for width, _ in measured), units], dtype=np.float64)
        times = np.array([*(time for _, time in measured), table.whole_us])
        savings[name] = np.maximum(1.0 - times / table.whole_us, 0.0)      # slower when narrower: nothing is saved
    spent = [float(np.interp(1, widths[name], savings[name])) for name in first if name not in names]
    return Predicted(
        widths=tuple(widths[name] for name in names), savings=tuple(savings[name] for name in names),
        whole=1.0 - sum(spent),
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
    cost = macs(groups)
    rows = np.tile(options.whole, (len(options.names), 1))
    np.fill_diagonal(rows, options.smallest)
    return [float(saved) for saved in cost(options.whole) - cost(rows)]
