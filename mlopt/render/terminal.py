"""The report in a terminal: one line a file, then what a reader must know."""

from collections.abc import Iterable
from itertools import groupby

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlopt.render import training
from mlopt.render.limits import asked
from mlopt.report import Candidate, Finding, Interval, Report, Severity, Trained
from mlopt.words import (
    METRIC_NAMES,
    UNKNOWN_TEXT,
    clean,
    grouped,
    known,
    metric_value,
    percent,
    points,
    points_interval,
    ratio,
)

_WIDE = 100            # columns from which there is room for reasons and for two decimals in intervals
_NARROW = 76           # columns below which intervals stand only in the report
_SHORT = {"recommended": "chosen", "over limit": "over", "not proven": "unproven"}
_STYLES = {Severity.FAILURE: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def show(report: Report, console: Console, *, page: str = "") -> None:
    """Print the table, the recommendations and the findings; `page` is where the HTML report is."""
    console.print(rendered(report, console.width))
    if page:
        console.print(Text.assemble(("Report  ", "bold"), page), soft_wrap=True)


def rendered(report: Report, width: int) -> RenderableType:
    """Everything that `show` prints, for a console of `width` columns."""
    parts: list[RenderableType] = [_source_line(report), Text(), _table(report, width), Text(), _verdict(report)]
    if report.trained is not None:
        parts[1:1] = [Text(), *_training(report.trained)]
    if report.findings:
        parts += [Text(), _findings(report.findings)]
    return Group(*parts)


def _source_line(report: Report) -> Text:
    source, baseline = report.source, report.baseline
    line = Text.assemble((clean(source.path.name), "bold"), f"  {grouped(source.parameters)} parameters")
    line.append(f"  {grouped(source.file_bytes)} bytes")
    if baseline.metric != "none":
        line.append(f"  {METRIC_NAMES[baseline.metric]} {metric_value(baseline.metric, baseline.value)}")
        if known(baseline.interval):
            low, high = (metric_value(baseline.metric, v) for v in (baseline.interval.low, baseline.interval.high))
            line.append(f" [{low.removesuffix(' %')}, {high.removesuffix(' %')}]")
    line.append(f"  on {grouped(baseline.n)} {clean(baseline.samples)} samples")
    return line


def _training(trained: Trained) -> list[RenderableType]:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, head in enumerate(training.SHORT_HEADS):
        table.add_column(head, justify="right" if number else "left", no_wrap=bool(number))
    for row in training.short_rows(trained):
        table.add_row(*(Text(cell) for cell in row))
    return [Text(training.sentence(trained)), Text(), table]


def _table(report: Report, width: int) -> Table:
    labelled = report.limit.measure == "drop"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, collapse_padding=True)
    table.add_column("", no_wrap=True)
    table.add_column("File", overflow="fold")
    interval = ("95 %",) if width >= _NARROW else ()
    measured = ("Drop", *interval, "Agrees") if labelled else ("Agrees", *interval)
    for title in ("Bytes", *measured, "Time"):
        table.add_column(f" {title}", justify="right", no_wrap=True)
    table.add_column(" ", no_wrap=True)
    for _, rows in groupby(report.candidates, key=lambda c: c.format):
        for number, candidate in enumerate(rows):
            table.add_row(*_cells(candidate, number == 0, labelled, width), style=_row_style(candidate))
        table.add_section()
    return table


def _cells(c: Candidate, first: bool, labelled: bool, width: int) -> list[Text]:
    digits = 2 if width >= _WIDE else 1
    narrow = width < _NARROW
    evidence = c.evidence
    cells = [clean(c.format) if first else "", clean(c.precision), f" {grouped(c.bytes) if c.path else UNKNOWN_TEXT}"]
    if evidence is None:
        cells += [""] * (1 + labelled + (not narrow))
    elif labelled:
        cells += [f" {points(evidence.drop)}"]
        cells += [] if narrow else [f" {points_interval(evidence.drop_interval, digits)}"]
        cells += [f" {percent(evidence.agreement)}"]
    else:
        cells += [f" {percent(evidence.agreement, 2)}"]
        cells += [] if narrow else [f" {_share_interval(evidence.agreement_interval)}"]
    mark = _mark(c)
    cells += [f" {ratio(c.latency.ratio)}", f" {_SHORT.get(mark, mark) if narrow else mark}"]
    return [Text(text) for text in cells]


def _mark(c: Candidate) -> str:
    """One or two words on where the file stands."""
    if not c.path:
        return "not made"
    if not c.verified:
        return "not proven"
    if c.recommended:
        return "recommended"
    return "" if c.meets_limit else "over limit"


def _row_style(c: Candidate) -> str:
    if c.recommended:
        return "bold green"
    return "" if c.meets_limit else "dim"


def _share_interval(interval: Interval) -> str:
    return f"[{interval.low * 100:.1f}, {interval.high * 100:.1f}]" if known(interval) else ""


def _verdict(report: Report) -> RenderableType:
    limit = report.limit
    wanted = f"Limit: {asked(report)}."
    if not limit.met:
        near = f" The nearest is {clean(limit.nearest)}." if limit.nearest else ""
        return Text.assemble(wanted + " ", ("No file is within it.", "bold red"), near)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for c in report.candidates:
        if c.recommended:
            grid.add_row(Text(clean(c.format), style="bold green"), Text(f"{clean(c.precision)}: {clean(c.reason)}"))
    drop = "Drop in points" if limit.measure == "drop" else "Agreement in percent of samples"
    units = f"{drop}; time is a multiple of the format's float file on this host."
    return Group(Text(f"{wanted} {units}"), Text(), grid)


def _findings(findings: Iterable[Finding]) -> RenderableType:
    """Worst first; one sentence that concerns several files stands once."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for (severity, message), abouts in merged(findings):
        text = Text.assemble((", ".join(clean(a) for a in abouts), "bold"), f": {clean(message)}")
        grid.add_row(Text(severity.value, style=_STYLES[severity]), text)
    return Padding(grid, 0)


def merged(findings: Iterable[Finding]) -> list[tuple[tuple[Severity, str], list[str]]]:
    """Findings by severity, worst first, those with the same sentence together; of each message its first line."""
    order = (Severity.FAILURE, Severity.WARNING, Severity.NOTE)
    found: dict[tuple[Severity, str], list[str]] = {}
    for finding in findings:
        message, _, more = finding.message.partition("\n")        # a worker's last words follow
        found.setdefault((finding.severity, f"{message} …" if more else message), []).append(finding.about)
    return sorted(found.items(), key=lambda item: order.index(item[0][0]))
