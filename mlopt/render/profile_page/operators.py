"""Where the time of one inference goes: by kind, by layer, by compute unit, and operator after operator."""

from collections.abc import Mapping, Sequence

from mlopt.profiling.session import FileProfile
from mlopt.profiling.shares import Share, by_kind, by_layer, kind
from mlopt.render.html.markup import FORMAT_SLOTS, esc
from mlopt.render.profile_page.axis import time_text
from mlopt.render.profile_page.bars import Bar, bars, head
from mlopt.render.profiles import adds_up, short
from mlopt.words import grouped, percent

_LISTED = 12                    # rows of a chart; the rest is one row with its sum
_OPEN = 40                      # a longer table is folded


def charts(one: FileProfile) -> str:
    """The strip of the whole inference, three charts of shares, and the table of operators."""
    if not one.operators:
        return '<p class="note">No operators were profiled; the notes say why.</p>'
    kinds = by_kind(one.operators)
    colours = {share.name: f"f{i}" if i < FORMAT_SLOTS else "other" for i, share in enumerate(kinds)}
    return (
        f'<p class="adds">{esc(adds_up(one))}</p>{_strip(one, kinds, colours)}'
        f'<div class="halves charts"><div><h4>By operation</h4>{_shares(kinds, colours)}'
        f"<h4>By compute unit</h4>{_shares(one.units, {})}</div>"
        f"<div><h4>By layer</h4>{_shares(by_layer(one.operators), {})}</div></div>{_table(one, colours)}"
    )


def _strip(one: FileProfile, kinds: Sequence[Share], colours: Mapping[str, str]) -> str:
    """One inference from left to right, an operator as wide as its time."""
    total = one.operators_sum_us or 1.0
    pieces = "".join(
        f'<i class="{colours[kind(op)]}" style="width:{100 * op.mean_us / total:.3f}%" '
        f'title="{esc(f"{op.index}: {op.name}, {short(op.layer)}: {time_text(op.mean_us)}")}"></i>'
        for op in sorted(one.operators, key=lambda op: op.index)
    )
    keys = "".join(
        f'<li><i class="{colours[share.name]}"></i>{esc(share.name)}</li>' for share in kinds[:FORMAT_SLOTS]
    )
    if len(kinds) > FORMAT_SLOTS:
        keys += f'<li><i class="other"></i>{len(kinds) - FORMAT_SLOTS} other kinds</li>'
    about = f"One inference in the order of execution, {len(one.operators)} operators, each as wide as its time"
    return (
        f'<div class="strip" role="img" aria-label="{esc(about)}">{pieces}</div>'
        f'<p class="ends"><span>0</span><span>{time_text(one.operators_sum_us)}</span></p><ul class="keys">{keys}</ul>'
    )


def _shares(of: Sequence[Share], colours: Mapping[str, str]) -> str:
    """The largest groups and the sum of the rest; the longest bar is the largest group."""
    longest = max((share.share for share in of), default=0.0) or 1.0
    rows = [
        Bar(label=_group(share), length=share.share / longest, value=time_text(share.us), share=percent(share.share),
            title=share.name, colour=colours.get(share.name, "f0"))
        for share in of[:_LISTED]
    ]
    rest = of[_LISTED:]
    if rest:
        share = sum(one.share for one in rest)
        rows.append(Bar(label=f"{len(rest)} others", length=share / longest, value=time_text(sum(o.us for o in rest)),
                        share=percent(share), colour="other"))
    return bars(rows)


def _group(share: Share) -> str:
    name = short(share.name) or share.name
    return f"{name} × {share.operators}" if share.operators > 1 else name


def _table(one: FileProfile, colours: Mapping[str, str]) -> str:
    """Every operator in its order, with its place in the inference as a bar; any column sorts it."""
    total = one.operators_sum_us or 1.0
    named = any(op.layer for op in one.operators)
    start, rows = 0.0, []
    for op in sorted(one.operators, key=lambda op: op.index):
        left = 100 * start / total
        width = 100 * op.mean_us / total
        start += op.mean_us
        layer = f'<td class="text" title="{esc(op.layer)}">{esc(short(op.layer))}</td>' if named else ""
        rows.append(
            f'<tr><td class="n">{op.index}</td><td class="text">{esc(op.name)}</td>{layer}<td>{esc(op.op)}</td>'
            f'<td>{esc(op.unit)}</td><td class="n" data-v="{op.mean_us:.4f}">{op.mean_us:.2f}</td>'
            f'<td class="n" data-v="{width:.4f}">{percent(width / 100)}</td>'
            f'<td class="wide" data-v="{left:.4f}"><span class="g"><i class="{colours[kind(op)]}" '
            f'style="margin-left:{left:.3f}%;width:{width:.3f}%"></i></span></td></tr>'
        )
    top = head(
        ("#", True), ("Operator", False), *([("Layer", False)] if named else []), ("Operation", False),
        ("Unit", False), ("µs", True), ("Share", True), ("When", False), sortable=True,
    )
    opened = " open" if len(rows) <= _OPEN else ""
    return (
        f"<details{opened}><summary>{grouped(len(rows))} operators in the order of execution</summary>"
        f'<div class="scroll"><table class="gantt">{top}<tbody>{"".join(rows)}</tbody></table></div></details>'
    )
