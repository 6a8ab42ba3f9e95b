"""Which classes and which slices of the data lost, and what is taken for what."""

import math
from collections.abc import Sequence

from mlopt.render.html.markup import esc
from mlopt.report import Candidate, ClassDrop, Report
from mlopt.words import grouped, known, metric_value, points, points_interval

_LISTED = 12         # classes or slices listed for each file, the largest drop first
_LARGEST = 24        # classes in a matrix that is drawn; a larger one is told by its most frequent mistakes
_MISTAKES = 12


def confusions(report: Report) -> str:
    """The source's matrix beside that of the recommended file with the largest drop."""
    file = _with_matrix(report)
    if file is None or file.evidence is None or not report.baseline.confusion:
        return ""
    names = [_name(report, i) for i in range(len(report.baseline.confusion))]
    title = f"{file.format} {file.precision}"
    if len(names) > _LARGEST:
        return _mistakes(report.baseline.confusion, file.evidence.confusion, names, title)
    left = _matrix(report.baseline.confusion, names, "Source")
    return f'<div class="pair">{left}{_matrix(file.evidence.confusion, names, title)}</div>'


def _matrix(counts: Sequence[Sequence[int]], names: Sequence[str], title: str) -> str:
    head = "".join(f'<th scope="col">{esc(n)}</th>' for n in names)
    rows = []
    for i, row in enumerate(counts):
        total = max(sum(row), 1)
        cells = "".join(
            f'<td style="{_shade(v / total)}" title="{esc(names[i])} taken for {esc(names[j])}">'
            f'{grouped(v) if v else ""}</td>'
            for j, v in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{esc(names[i])}</th>{cells}</tr>')
    return (
        f'<div><h3>{esc(title)}</h3><div class="scroll"><table class="cm"><thead><tr><td></td>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div></div>'
    )


def _shade(share: float) -> str:
    """A background for a cell; the square-root-like curve keeps rare mistakes visible."""
    ink = ";color:var(--paper)" if share > 0.55 else ""
    return f"background:rgba(var(--heat),{0.85 * share**0.6:.3f}){ink}"


def _mistakes(source: Sequence[Sequence[int]], file: Sequence[Sequence[int]], names: Sequence[str], title: str) -> str:
    cells = [
        (file[i][j], source[i][j], i, j) for i in range(len(names)) for j in range(len(names)) if i != j and file[i][j]
    ]
    rows = "".join(
        f'<tr><td>{esc(names[i])}</td><td>{esc(names[j])}</td><td class="n">{grouped(b)}</td>'
        f'<td class="n">{grouped(a)}</td></tr>'
        for a, b, i, j in sorted(cells, key=lambda c: (-c[0], c[2], c[3]))[:_MISTAKES]
    )
    head = (
        '<th scope="col">Label</th><th scope="col">Taken for</th><th scope="col" class="n">Source</th>'
        f'<th scope="col" class="n">{esc(title)}</th>'
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def drops(report: Report) -> str:
    """For each recommended file the classes and slices that lost most."""
    metric = report.baseline.metric
    proven = [(c, c.evidence) for c in report.candidates if c.recommended and c.evidence]
    every = [abs(g.drop) for _, e in proven for g in (*e.classes, *e.slices) if not math.isnan(g.drop)]
    scale = 1.5 * max(every, default=0.0)
    parts = []
    for c, e in proven:
        for title, groups, worst in (("classes", e.classes, e.worst_class), ("slices", e.slices, e.worst_slice)):
            if groups:
                parts.append(_drop_table(f"{c.format} {c.precision}: {title}", groups, worst, metric, scale))
    return "".join(parts)


def _drop_table(
    title: str, groups: Sequence[ClassDrop], worst: ClassDrop | None, metric: str, scale: float
) -> str:
    ordered = sorted(groups, key=lambda g: math.inf if math.isnan(g.drop) else -g.drop)[:_LISTED]
    rows = "".join(
        f'<tr><th scope="row">{esc(g.name)}</th><td class="n">{grouped(g.n)}</td>'
        f'<td class="n">{metric_value(metric, g.source)}</td><td class="n">{metric_value(metric, g.value)}</td>'
        f'<td class="n">{points(g.drop)}</td><td class="n range">{points_interval(g.drop_interval)}</td>'
        f'<td style="width:26%">{_drop_mark(g, scale)}</td></tr>'
        for g in ordered
    )
    heads = (("Group", 0), ("n", 1), ("Source", 1), ("File", 1), ("Drop, points", 1), ("95 %", 1), ("", 0))
    head = "".join(f'<th scope="col"{" class=n" if right else ""}>{h}</th>' for h, right in heads)
    caption = ""
    if worst is not None and len(groups) > 1:
        caption = (
            f'<p class="note">Worst of {len(groups)}: {esc(worst.name)}, {points(worst.drop)} points '
            f"{points_interval(worst.drop_interval)}, its interval widened for having picked the worst.</p>"
        )
    more = ""
    if len(groups) > _LISTED:
        more = f'<p class="note">The {_LISTED} of {len(groups)} with the largest drops.</p>'
    return (
        f'<h3>{esc(title)}</h3>{caption}{more}<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _drop_mark(group: ClassDrop, scale: float) -> str:
    """The drop as a dot and its interval as a whisker around zero; one scale for the whole page."""
    if math.isnan(group.drop) or scale == 0:
        return ""

    def at(drop: float) -> float:
        return 100 + 96 * max(-1.0, min(drop / scale, 1.0))

    of = group.drop_interval
    whisker = f'<line x1="{at(of.low):.1f}" x2="{at(of.high):.1f}" y1="8" y2="8"/>' if known(of) else ""
    kind = "drop worse" if known(of) and of.low > 0 else "drop"      # surely a loss, taken by itself
    return (
        f'<svg class="{kind}" viewBox="0 0 200 16" aria-hidden="true" preserveAspectRatio="xMidYMid">'
        f'<line class="axis" x1="100" x2="100" y1="0" y2="16"/>{whisker}'
        f'<circle cx="{at(group.drop):.1f}" cy="8" r="3.2"/></svg>'
    )


def _with_matrix(report: Report) -> Candidate | None:
    """The recommended file that drops most; where none is recommended, the file that drops least."""
    able = [(c.evidence.drop, i) for i, c in enumerate(report.candidates) if c.evidence and c.evidence.confusion]
    able = [(drop, i) for drop, i in able if not math.isnan(drop)]
    picked = [(drop, i) for drop, i in able if report.candidates[i].recommended]
    found = max(picked) if picked else min(able, default=None)
    return report.candidates[found[1]] if found else None


def _name(report: Report, index: int) -> str:
    return report.class_names[index] if index < len(report.class_names) else str(index)
