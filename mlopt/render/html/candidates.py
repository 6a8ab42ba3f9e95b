"""The headline: what to ship in each format; and the table of every file."""

import math

from mlopt.render.html.markup import esc, slots, swatch
from mlopt.report import Candidate, Report
from mlopt.words import (
    METRIC_NAMES,
    UNKNOWN_TEXT,
    decibels,
    grouped,
    known,
    metric_value,
    percent,
    points,
    points_interval,
    ratio,
    small,
)


def verdict(report: Report) -> str:
    """One sentence on the limit, and a card with the recommended file of each format."""
    limit, metric = report.limit, METRIC_NAMES[report.baseline.metric]
    if limit.measure == "drop":
        asked = f"at most {points(limit.bound)} points of {metric} lost"
    else:
        asked = f"the source's answer on at least {percent(limit.bound, 2)} of the samples"
    met = sum(c.recommended for c in report.candidates)
    if limit.met:
        formats = len({c.format for c in report.candidates})
        line = f'<p class="verdict">Ship these: {met} of {formats} formats have a file within the limit, {asked}.</p>'
    else:
        near = f" The nearest is {esc(limit.nearest)}." if limit.nearest else ""
        line = f'<p class="verdict missed">No file is within the limit, {asked}.{near}</p>'
    slot_of = slots([c.format for c in report.candidates])
    return line + '<ul class="picks">' + "".join(_card(report, name, slot) for name, slot in slot_of.items()) + "</ul>"


def _card(report: Report, name: str, slot: int) -> str:
    who = f'<div class="who">{swatch(slot)}{esc(name)}</div>'
    c = next((c for c in report.candidates if c.format == name and c.recommended), None)
    if c is None or c.evidence is None:
        why = next((f.message for f in report.findings if f.about == name and f.code == "nothing-within-limit"), "")
        return f'<li class="pick none">{who}<div class="what">none within the limit</div><p>{esc(why)}</p></li>'
    e = c.evidence
    facts = [("bytes", grouped(c.bytes))]
    if report.source.weight_bytes:
        facts.append(("to float weights", percent(c.bytes / report.source.weight_bytes)))
    if e.metric != "none":
        facts.append((METRIC_NAMES[e.metric], metric_value(e.metric, e.value)))
        facts.append(("drop, points", f"{points(e.drop)} {points_interval(e.drop_interval)}"))
    facts += [("agrees", percent(e.agreement, 2)), ("time to float", ratio(c.latency.ratio))]
    rows = "".join(f"<dt>{esc(k)}</dt><dd>{esc(v)}</dd>" for k, v in facts)
    return f'<li class="pick">{who}<div class="what">{esc(c.precision)}</div><dl>{rows}</dl><p>{esc(c.reason)}</p></li>'


def table(report: Report) -> str:
    """Every file, sortable; the reasons stand below it."""
    metric = report.baseline.metric
    heads = [("Format", ""), ("Precision", ""), ("Bytes", "n"), ("Zipped", "n")]
    if metric != "none":
        heads += [(METRIC_NAMES[metric], "n"), ("Drop, points", "n"), ("95 %", "n")]
    heads += [("Agrees", "n"), ("Max error", "n"), ("SQNR", "n"), ("Time to float", "n"), ("Standing", "")]
    cells = "".join(f'<th scope="col" class="{k}"><button type="button">{esc(t)}</button></th>' for t, k in heads)
    slot_of = slots([c.format for c in report.candidates])
    rows = "".join(_row(c, metric, slot_of[c.format]) for c in report.candidates)
    reasons = "".join(
        f'<tr><th scope="row">{swatch(slot_of[c.format])}{esc(c.format)} {esc(c.precision)}</th>'
        f"<td>{esc(c.reason)}</td><td>{esc(c.about)}</td></tr>"
        for c in report.candidates
    )
    head = "".join(f'<th scope="col">{h}</th>' for h in ("File", "Why", "When to choose it"))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="All files"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div><details><summary>The reason for each file</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{reasons}</tbody></table></div></details>'
    )


def _row(c: Candidate, metric: str, slot: int) -> str:
    e = c.evidence
    kind = "rec" if c.recommended else "" if c.meets_limit else "out"
    cells = [f'<td class="who">{swatch(slot)}{esc(c.format)}</td>', f'<th scope="row">{esc(c.precision)}</th>']
    cells += [_number(c.bytes or math.nan, grouped(c.bytes) if c.path else UNKNOWN_TEXT)]
    cells += [_number(c.bytes_zipped or math.nan, grouped(c.bytes_zipped) if c.bytes_zipped else UNKNOWN_TEXT)]
    if e is None:
        cells += [_number(math.nan, "")] * (6 if metric != "none" else 3)
    else:
        if metric != "none":
            cells += [_number(e.value, metric_value(metric, e.value)), _number(e.drop, points(e.drop))]
            cells += [_number(e.drop_interval.low, points_interval(e.drop_interval), "n range")]
        cells += [_number(e.agreement, percent(e.agreement, 2)), _number(e.max_abs_error, small(e.max_abs_error))]
        exact = e.max_abs_error == 0
        cells += [_number(999 if exact else e.sqnr_db, decibels(e.sqnr_db, exact=exact))]
    cells += [_number(c.latency.ratio, _time(c)), f'<td title="{esc(c.reason)}">{_tag(c)}</td>']
    return f'<tr class="{kind}">{"".join(cells)}</tr>'


def _time(c: Candidate) -> str:
    of = c.latency
    if not math.isfinite(of.ratio):
        return UNKNOWN_TEXT
    spread = f" [{of.ratio_interval.low:.2f}, {of.ratio_interval.high:.2f}]" if known(of.ratio_interval) else ""
    return ratio(of.ratio) + spread


def _tag(c: Candidate) -> str:
    if c.recommended:
        return '<span class="tag good">recommended</span>'
    if c.meets_limit:
        return '<span class="tag">within the limit</span>'
    word = "not made" if not c.path else "over the limit" if c.verified else "not proven"
    return f'<span class="tag bad">{word}</span>'


def _number(value: float, text: str, kind: str = "n") -> str:
    """A cell that sorts by its value and not by its text; an unknown one sorts last."""
    key = repr(float(value)) if math.isfinite(value) else ""
    return f'<td class="{kind}" data-v="{key}">{esc(text)}</td>'
