"""A profile on the terminal: the distribution with its doubt, the phases, the memory, the operators by share."""

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlopt.profiling.energy import Energy
from mlopt.profiling.session import FileProfile, compare
from mlopt.profiling.shares import by_share
from mlopt.profiling.statistics import Percentile
from mlopt.words import UNKNOWN_TEXT, clean, grouped, percent

_MOST_OPERATORS = 15        # the rest is one line with its sum


def show(one: FileProfile, console: Console) -> None:
    facts = one.facts
    console.print(f"[bold]{_text(one.file)}[/] on {_text(facts.name)}, {_text(facts.runtime)}", highlight=False)
    about = f"{facts.system}; {facts.processor} ({', '.join(facts.features) or 'no known features'})"
    about += f", {facts.cores} cores" + (f", governor {facts.governor}" if facts.governor else "")
    console.print(f"  {clean(about)}" + ("; THROTTLED" if facts.throttled else ""), style="dim", markup=False)
    console.print(_times(one))
    console.print(_memory(one))
    if one.operators:
        console.print(_operators(one))
        console.print(_units(one))
        console.print(adds_up(one), style="dim", markup=False)
    for note in (*one.distribution.notes, *one.notes):
        console.print(f"note  {clean(note)}", style="dim", markup=False)
    console.print()


def show_changes(before: FileProfile, after: FileProfile, *, console: Console) -> None:
    """What changed from one file to the other, operation by operation, the largest difference first."""
    table = Table(box=None, pad_edge=False, title=_text(f"{before.file} → {after.file}"), title_justify="left")
    table.add_column("Operation", overflow="fold")
    for name in ("Before, µs", "After, µs", "Difference"):
        table.add_column(name, justify="right")
    for change in compare(before, after):
        difference = f"{change.difference_us:+.2f}"
        table.add_row(_text(change.operation), _us(change.before_us), _us(change.after_us), difference)
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
        table.add_row("work", f"{grouped(count.per_inference)} instructions on {_text(count.processor)} "
                              f"({_text(count.tool)})")
    return table


def _memory(one: FileProfile) -> Table:
    memory = one.memory
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    parts = {"file": memory.file, "weights": memory.weights, "arena": memory.arena, "heap": memory.heap_delta,
             "peak": memory.peak_delta, "PSS": memory.pss}
    table.add_row("memory", ", ".join(f"{name} {_bytes(value)}" for name, value in parts.items()))
    table.add_row("energy", _text(energy_text(one.energy)))
    return table


def energy_text(energy: Energy) -> str:
    """Of one inference, in all and by part; or why it is not known.

    >>> energy_text(Energy(reason="no counters"))
    'unavailable (no counters)'
    """
    if not energy.parts:
        return f"unavailable ({energy.reason})"
    parts = ", ".join(f"{part.name} {part.per_inference_uj:.1f}" for part in energy.parts)
    return f"{energy.per_inference_uj:.1f} µJ an inference at {energy.watts:.1f} W, all that ran included ({parts})"


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
        table.add_row(str(op.index), _text(op.name), _text(short(op.layer) or op.op), _text(op.unit), _us(op.mean_us),
                      f"{share:.1%}")
    rest = ranked[_MOST_OPERATORS:]
    if rest:
        table.add_row("", f"{len(rest)} others", "", "", _us(sum(op.mean_us for op, _ in rest)),
                      f"{sum(share for _, share in rest):.1%}")
    table.add_row("", "all", "", "", _us(one.operators_sum_us), "")
    return table


def _units(one: FileProfile) -> Table:
    """The operators' time by what executed them."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Unit", overflow="fold")
    for name in ("Operators", "µs", "Share"):
        table.add_column(name, justify="right")
    for unit in one.units:
        table.add_row(_text(unit.name), grouped(unit.operators), _us(unit.us), percent(unit.share))
    return table


def adds_up(one: FileProfile) -> str:
    """What the operators' times add up to, beside an inference without profiling."""
    count = len(one.operators)
    text = f"{grouped(count)} operator{'s' if count != 1 else ''} add up to {_us(one.operators_sum_us)} µs"
    if one.operators_plain_us > 0:
        text += (
            f", {100 * one.operators_sum_us / one.operators_plain_us:.0f} % of the {_us(one.operators_plain_us)} µs of "
            "an inference without profiling, in turns with those in the same process"
        )
    if math.isfinite(one.operators_invoke_us):
        text += f"; with profiling it took {_us(one.operators_invoke_us)} µs"
    return text + "."


def short(layer: str) -> str:
    """The part of a layer's name that tells it from others: some exporters write all that were fused, with paths.

    >>> short("model/a/Relu;model/bn/FusedBatchNormV3;model/conv2d_1/Conv2D")
    'conv2d_1/Conv2D'
    """
    return "/".join(layer.rpartition(";")[2].split("/")[-2:])


def _percentile(found: Percentile) -> str:
    name = f"p{100 * found.fraction:g}"
    if math.isnan(found.us):
        return f"{name} {UNKNOWN_TEXT} ({found.reason})"
    return f"{name} {_us(found.us)} µs [{_us(found.low_us)}, {_us(found.high_us)}]"


def _text(text: str) -> str:
    """Text from a file or a device, which steers neither rich nor the terminal."""
    return escape(clean(text))


def _us(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else UNKNOWN_TEXT


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if math.isfinite(value) else UNKNOWN_TEXT


def _bytes(value: int) -> str:
    return f"{grouped(value)} B" if value >= 0 else UNKNOWN_TEXT
