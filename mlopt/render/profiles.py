"""A profile on the terminal: the distribution with its doubt, the phases, the memory, the operators by share."""

import math

from rich.console import Console
from rich.table import Table

from mlopt.profile.exports import by_share
from mlopt.profile.session import FileProfile, compare
from mlopt.profile.statistics import Percentile
from mlopt.words import UNKNOWN_TEXT, grouped

_MOST_OPERATORS = 15        # the rest is one line with its sum


def show(one: FileProfile, console: Console) -> None:
    facts = one.facts
    console.print(f"[bold]{one.file}[/] on {facts.name}, {facts.runtime}", highlight=False)
    console.print(
        f"  {facts.system}; {facts.processor} ({', '.join(facts.features) or 'no known features'}), {facts.cores} cores"
        + (f", governor {facts.governor}" if facts.governor else "") + ("; THROTTLED" if facts.throttled else ""),
        style="dim", markup=False,
    )
    console.print(_times(one))
    console.print(_memory(one))
    if one.operators:
        console.print(_operators(one))
    for note in (*one.distribution.notes, *one.notes):
        console.print(f"note  {note}", style="dim", markup=False)
    console.print()


def show_changes(before: FileProfile, after: FileProfile, *, console: Console) -> None:
    """What changed from one file to the other, operation by operation, the largest difference first."""
    table = Table(box=None, pad_edge=False, title=f"{before.file} → {after.file}", title_justify="left")
    table.add_column("Operation", overflow="fold")
    for name in ("Before, µs", "After, µs", "Difference"):
        table.add_column(name, justify="right")
    for change in compare(before, after):
        table.add_row(change.operation, _us(change.before_us), _us(change.after_us), f"{change.difference_us:+.2f}")
    console.print(table)


def _times(one: FileProfile) -> Table:
    spread, phases = one.distribution, one.phases
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    percentiles = ", ".join(_percentile(p) for p in (spread.p50, spread.p90, spread.p99))
    table.add_row("time", percentiles)
    table.add_row("", f"{grouped(spread.runs)} runs from {_us(spread.least_us)} to {_us(spread.most_us)} µs, "
                      f"mean {_us(spread.mean_us)} µs, {spread.outliers} above three medians")
    table.add_row("start", f"import {_ms(phases.import_ms)}, load {_ms(phases.load_ms)}, "
                           f"compile {_ms(phases.compile_ms)}, first inference {_ms(phases.first_ms)}")
    for count in one.instructions:
        table.add_row("work", f"{grouped(count.per_inference)} instructions on {count.processor} ({count.tool})")
    return table


def _memory(one: FileProfile) -> Table:
    memory = one.memory
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    parts = {"file": memory.file, "weights": memory.weights, "arena": memory.arena, "heap": memory.heap_delta,
             "peak": memory.peak_delta, "PSS": memory.pss}
    table.add_row("memory", ", ".join(f"{name} {_bytes(value)}" for name, value in parts.items()))
    return table


def _operators(one: FileProfile) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("#", justify="right", style="dim")
    table.add_column("Operator", overflow="fold")
    table.add_column("Layer", overflow="fold")
    table.add_column("Unit")
    table.add_column("µs", justify="right")
    table.add_column("Share", justify="right")
    ranked = by_share(one.operators)
    for op, share in ranked[:_MOST_OPERATORS]:
        table.add_row(str(op.index), op.name, short(op.layer) or op.op, op.unit, _us(op.mean_us), f"{share:.1%}")
    rest = ranked[_MOST_OPERATORS:]
    if rest:
        table.add_row("", f"{len(rest)} others", "", "", _us(sum(op.mean_us for op, _ in rest)),
                      f"{sum(share for _, share in rest):.1%}")
    table.add_row("", "all", "", "", _us(one.operators_sum_us), "")
    return table


def short(layer: str) -> str:
    """The part of a layer's name that tells it from others: TensorFlow writes all that were fused, with their paths.

    >>> short("model/a/Relu;model/bn/FusedBatchNormV3;model/conv2d_1/Conv2D")
    'conv2d_1/Conv2D'
    """
    return "/".join(layer.rpartition(";")[2].split("/")[-2:])


def _percentile(found: Percentile) -> str:
    name = f"p{100 * found.fraction:g}"
    if math.isnan(found.us):
        return f"{name} {UNKNOWN_TEXT} ({found.reason})"
    return f"{name} {_us(found.us)} µs [{_us(found.low_us)}, {_us(found.high_us)}]"


def _us(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else UNKNOWN_TEXT


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if math.isfinite(value) else UNKNOWN_TEXT


def _bytes(value: int) -> str:
    return f"{grouped(value)} B" if value >= 0 else UNKNOWN_TEXT
