"""The verdict in a terminal: one line a limit, worst first, then the sentences of those that did not pass."""

import math
from itertools import groupby

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlopt.exits import Exit
from mlopt.gate.units import Unit, show
from mlopt.gate.verdict import Check, Status, Verdict
from mlopt.words import UNKNOWN_TEXT, clean

ORDER = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE, Status.WAIVED, Status.PASS)
_STYLES = {Status.FAIL: "bold red", Status.ERROR: "bold red", Status.INCONCLUSIVE: "yellow", Status.WAIVED: "yellow",
           Status.PASS: "green"}
_HEADLINES = {
    Exit.DONE: "within budget", Exit.LIMIT_BROKEN: "over budget", Exit.INCOMPLETE: "not measured",
    Exit.INCONCLUSIVE: "inconclusive",
}


def show_verdict(verdict: Verdict, console: Console) -> None:
    console.print(rendered(verdict))


def rendered(verdict: Verdict) -> RenderableType:
    parts: list[RenderableType] = [_table(verdict), Text(), Text(headline(verdict), style=_headline_style(verdict))]
    spoken = [check for check in worst_first(verdict) if check.status is not Status.PASS]
    for check in spoken:
        parts.append(Text.assemble((f"{check.status.value} ", _STYLES[check.status]), (clean(check.model), "bold"),
                                   f": {clean(check.sentence)} (line {check.line})"))
    notes = dict.fromkeys([*verdict.notes, *(n for c in verdict.checks for n in c.notes)])
    parts += [Text(f"note {clean(note)}", style="dim") for note in notes]
    return Group(*parts)


def headline(verdict: Verdict) -> str:
    """What the whole came to, in one line.

    A warning about what stayed open stands here too, where the policy lets it through.
    """
    counts = [f"{verdict.count(s)} {_word(s)}" for s in ORDER if verdict.count(s)]
    seconds = f" in {verdict.seconds:.1f} s" if math.isfinite(verdict.seconds) else ""
    return f"{_HEADLINES[verdict.exit]}: {', '.join(counts)}{seconds}"


def worst_first(verdict: Verdict) -> list[Check]:
    return sorted(verdict.checks, key=lambda c: ORDER.index(c.status))


def cells(check: Check) -> tuple[str, str, str, str]:
    """Metric, figure, limit and baseline of a check, as text."""
    metric = f"{check.metric} {check.rule}" if check.rule != "max" else check.metric
    if check.unit is Unit.NAMES:
        return metric, "" if math.isnan(check.value) else f"{check.value:.0f} kinds", "", ""
    signed = check.rule == "growth" and check.unit is Unit.SHARE
    figure = show_signed(check.value) if signed else show(check.value, check.unit)
    limit = show_signed(check.limit) if signed else show(check.limit, check.unit)
    old = "" if signed or math.isnan(check.baseline) else show(check.baseline, check.unit)
    return metric, figure, limit, old


def show_signed(share: float) -> str:
    """A growth.

    >>> show_signed(0.0481), show_signed(-0.02)
    ('+4.8%', '-2.0%')
    """
    return f"{share * 100:+.1f}%" if math.isfinite(share) else UNKNOWN_TEXT


def _word(status: Status) -> str:
    return {Status.PASS: "passed", Status.FAIL: "failed", Status.ERROR: "not measured"}.get(status, status.value)


def _headline_style(verdict: Verdict) -> str:
    return "bold green" if verdict.exit is Exit.DONE else "bold red"


def _table(verdict: Verdict) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title, justify in (("File", "left"), ("Limit of", "left"), ("On", "left"), ("Found", "right"),
                           ("At most", "right"), ("Baseline", "right"), ("", "left")):
        table.add_column(title, justify=justify, overflow="fold")    # type: ignore[arg-type]
    for _, rows in groupby(verdict.checks, key=lambda c: c.model):
        for number, check in enumerate(rows):
            metric, figure, limit, old = cells(check)
            limit = f"≥ {limit}" if check.rule in ("min", "fall") else limit
            table.add_row(clean(check.model) if number == 0 else "", metric, clean(check.target), figure, limit, old,
                          Text(check.status.value, style=_STYLES[check.status]))
        table.add_section()
    return table
