"""Where the time of one inference goes: by kind, by layer, by compute unit, and operator after operator."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlopt.profiling.contract import OperatorTime
from mlopt.profiling.session import FileProfile
from mlopt.profiling.shares import Share, by_kind, by_layer, kind
from mlopt.render.html.formats import SLOTS
from mlopt.render.profile_page.axis import time_text
from mlopt.render.profile_page.bars import Bar
from mlopt.render.profiles import adds_up, short
from mlopt.words import percent

_LISTED = 12                    # rows of a chart; the rest is one row with its sum
_OPEN = 40                      # a longer table is folded


@dataclass(frozen=True, kw_only=True)
class Row:
    """An operator, with its place in the inference in percent of the whole."""

    operator: OperatorTime
    layer: str                  # shortened
    left: float
    width: float
    colour: str                 # a class of the style sheet
    about: str


@dataclass(frozen=True, kw_only=True)
class Charts:
    """The strip of the whole inference, three charts of shares, and the table of operators in their order."""

    sum_text: str
    end: str                    # of the strip
    keys: tuple[tuple[str, str], ...]            # colour, kind
    by_kind: list[Bar]
    by_unit: list[Bar]
    by_layer: list[Bar]
    rows: tuple[Row, ...]
    layers: bool                # whether the runtime tells of which layer an operator is
    opened: bool


def charts(one: FileProfile) -> Charts | None:
    """Nothing where no operators were profiled."""
    if not one.operators:
        return None
    kinds = by_kind(one.operators)
    colours = {share.name: f"f{i}" if i < SLOTS else "other" for i, share in enumerate(kinds)}
    keys = [(colours[share.name], share.name) for share in kinds[:SLOTS]]
    if len(kinds) > SLOTS:
        keys.append(("other", f"{len(kinds) - SLOTS} other kinds"))
    rows = tuple(_rows(one, colours))
    return Charts(
        sum_text=adds_up(one), end=time_text(one.operators_sum_us), keys=tuple(keys), by_kind=_shares(kinds, colours),
        by_unit=_shares(one.units, {}), by_layer=_shares(by_layer(one.operators), {}), rows=rows,
        layers=any(op.layer for op in one.operators), opened=len(rows) <= _OPEN,
    )


def _rows(one: FileProfile, colours: Mapping[str, str]) -> Iterator[Row]:
    total = one.operators_sum_us or 1.0
    start = 0.0
    for op in sorted(one.operators, key=lambda op: op.index):
        layer = short(op.layer)
        yield Row(
            operator=op, layer=layer, left=100 * start / total, width=100 * op.mean_us / total,
            colour=colours[kind(op)], about=f"{op.index}: {op.name}, {layer}: {time_text(op.mean_us)}",
        )
        start += op.mean_us


def _shares(of: Sequence[Share], colours: Mapping[str, str]) -> list[Bar]:
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
    return rows


def _group(share: Share) -> str:
    name = short(share.name) or share.name
    return f"{name} × {share.operators}" if share.operators > 1 else name
