"""Bars as elements, so that they grow with the page and their text stays text."""

from collections.abc import Iterable
from dataclasses import dataclass

from mlopt.render.html.markup import esc


@dataclass(frozen=True, kw_only=True)
class Bar:
    label: str
    length: float               # a fraction of the longest that fits
    value: str
    share: str = ""
    title: str = ""             # the whole of a shortened label
    colour: str = "f0"          # a class of the style sheet


def bars(of: Iterable[Bar]) -> str:
    """One row each: label, bar, value, share."""
    rows = "".join(
        f'<span class="who"{_title(bar.title)}>{esc(bar.label)}</span><span class="t">'
        f'<i class="{bar.colour}" style="width:{100 * min(max(bar.length, 0.0), 1.0):.2f}%"></i></span>'
        f'<span class="v">{esc(bar.value)}</span><span class="s">{esc(bar.share)}</span>'
        for bar in of
    )
    return f'<div class="rows">{rows}</div>'


def _title(text: str) -> str:
    return f' title="{esc(text)}"' if text else ""


def head(*columns: tuple[str, bool], sortable: bool = False) -> str:
    """A table's head; True: the column holds numbers."""
    cells = "".join(
        f'<th scope="col"{" class=n" if number else ""}>'
        + (f'<button type="button">{esc(name)}</button>' if sortable and name else esc(name)) + "</th>"
        for name, number in columns
    )
    return f"<thead><tr>{cells}</tr></thead>"
