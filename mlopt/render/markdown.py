"""The report as Markdown, for a pull request: what to ship, one table, and what a reader must know."""

from mlopt.render import training
from mlopt.render.limits import asked
from mlopt.render.terminal import merged
from mlopt.report import Candidate, Report
from mlopt.words import (
    METRIC_NAMES,
    UNKNOWN_TEXT,
    clean,
    decibels,
    grouped,
    known,
    metric_value,
    percent,
    points,
    points_interval,
    ratio,
)


def to_markdown(report: Report) -> str:
    """GitHub-flavoured; text from models and data is escaped, so that it forms neither markup nor table cells."""
    parts = [f"# {escape(report.source.path.name)}", _source(report), _verdict(report), _table(report)]
    if report.trained is not None:
        cells = [training.HEADS, ["---"] * len(training.HEADS), *training.rows(report.trained)]
        steps = "\n".join("| " + " | ".join(map(escape, row)) + " |" for row in cells)
        parts += ["## Training", escape(training.sentence(report.trained)), steps.replace("\\-\\-\\-", "---")]
    if report.findings:
        lines = [
            f"- **{severity.value}**, {escape(', '.join(abouts))}: {escape(message)}"
            for (severity, message), abouts in merged(report.findings)
        ]
        parts += ["## Findings", "\n".join(lines)]
    worst = _worst_groups(report)
    if worst:
        parts += ["## Where the recommended files lose most", worst]
    parts += ["## What the numbers rest on", _basis(report)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    r"""Text as it stands, for Markdown.

    >>> escape("a|b <i> *c* [d](e)")
    'a\\|b &lt;i> \\*c\\* \\[d\\](e)'
    """
    text = clean(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for sign in "|*_[]`#~":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("@", "@\u200b")     # no one is mentioned by a layer's name


def _source(report: Report) -> str:
    source, baseline = report.source, report.baseline
    text = f"{grouped(source.parameters)} parameters, {grouped(source.file_bytes)} bytes as {escape(source.container)}"
    if baseline.metric != "none":
        text += f", {METRIC_NAMES[baseline.metric]} {metric_value(baseline.metric, baseline.value)}"
        if known(baseline.interval):
            low, high = (metric_value(baseline.metric, v) for v in (baseline.interval.low, baseline.interval.high))
            text += f" [{low.removesuffix(' %')}, {high.removesuffix(' %')}]"
    return f"{text} on {grouped(baseline.n)} {escape(baseline.samples)} samples."


def _verdict(report: Report) -> str:
    limit = report.limit
    if not limit.met:
        near = f" The nearest is {escape(limit.nearest)}." if limit.nearest else ""
        return f"**No file is within the limit**, {asked(report)}.{near}"
    lines = [
        f"- **{escape(c.format)} {escape(c.precision)}** ({escape(c.path)}): {escape(c.reason)}"
        for c in report.candidates
        if c.recommended
    ]
    return f"Recommended, within the limit of {asked(report)}:\n\n" + "\n".join(lines)


def _table(report: Report) -> str:
    metric = report.baseline.metric
    labelled = metric != "none"
    heads = ["Format", "Precision", "Bytes", *([METRIC_NAMES[metric], "Drop, points"] if labelled else [])]
    heads += ["Agrees", "SQNR", "Time to float", ""]
    rule = ["---", "---", *["---:"] * (len(heads) - 3), "---"]
    rows = [heads, rule, *(_cells(c, metric, labelled) for c in report.candidates)]
    note = "Time is a multiple of the format's float file on this host" + (
        "; a drop's interval is paired, 95 %." if labelled else "."
    )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + f"\n\n{note}"


def _cells(c: Candidate, metric: str, labelled: bool) -> list[str]:
    e = c.evidence
    cells = [escape(c.format), f"**{escape(c.precision)}**" if c.recommended else escape(c.precision)]
    cells.append(grouped(c.bytes) if c.path else UNKNOWN_TEXT)
    if labelled:
        cells.append(metric_value(metric, e.value) if e else UNKNOWN_TEXT)
        cells.append(f"{points(e.drop)} {points_interval(e.drop_interval)}".strip() if e else UNKNOWN_TEXT)
    cells.append(percent(e.agreement, 2) if e else UNKNOWN_TEXT)
    cells.append(decibels(e.sqnr_db, exact=e.max_abs_error == 0) if e else UNKNOWN_TEXT)
    cells.append(ratio(c.latency.ratio))
    standing = "not made" if not c.path else "not proven" if not c.verified else "over the limit"
    return [*cells, "recommended" if c.recommended else "" if c.meets_limit else standing]


def _worst_groups(report: Report) -> str:
    lines = []
    for c in report.candidates:
        if not c.recommended or c.evidence is None:
            continue
        for kind, of in (("class", c.evidence.worst_class), ("slice", c.evidence.worst_slice)):
            if of is not None:
                where = f"{escape(c.format)} {escape(c.precision)}, {kind} {escape(of.name)}"
                figures = f"{points(of.drop)} points {points_interval(of.drop_interval)} on {grouped(of.n)} samples"
                lines.append(f"- {where}: {figures} (interval widened for having picked the worst)")
    return "\n".join(lines)


def _basis(report: Report) -> str:
    lines = [f"- Source: sha256 `{report.source.digest}`"]
    for d in report.data:
        note = f"; {escape(d.note)}" if d.note else ""
        lines.append(
            f"- {escape(d.role)} data: {escape(d.source or 'none')}, {grouped(d.count)} samples, {escape(d.origin)}, "
            f"fingerprint `{d.fingerprint[:16]}`{note}"
        )
    host = report.host
    features = escape(", ".join(host.features))
    lines.append(f"- Host: {escape(host.processor)} ({features}), {host.cores} cores, {escape(host.system)}")
    versions = ", ".join(f"{name} {version}" for name, version in host.versions.items())
    lines.append(f"- Seed {report.seed}; {escape(versions)}")
    return "\n".join(lines)
