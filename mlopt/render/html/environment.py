"""Templates of the pages. Whatever comes from a model, a data set or a path is escaped where it is written."""

import base64
import functools
import hashlib
import math
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

from mlopt import words
from mlopt.render.html import formats

if TYPE_CHECKING:
    import jinja2

_SCRIPT, _STYLE = "sort.js", "page.css"
_FILTERS: tuple[Callable[..., str], ...] = (
    words.grouped, words.points, words.points_interval, words.percent, words.ratio, words.decibels, words.small,
    words.size_text,
)


def page(template: str, /, *, styles: tuple[str, ...] = (), **values: object) -> str:
    """The page that a template makes of `values`: everything inline, no request, and no script but its own."""
    script = _asset(_SCRIPT)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = "".join(_asset(name) for name in (_STYLE, *styles))
    return _environment().get_template(template).render(
        script=_trusted(script), script_digest=digest, style=_trusted(style), **values
    ) + "\n"


@functools.cache
def _environment() -> "jinja2.Environment":
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("mlopt.render.html"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_printable,
    )
    made.filters.update({use.__name__: use for use in (*_FILTERS, fixed, sort_key)})
    made.globals.update(
        metric_value=words.metric_value, METRIC_NAMES=words.METRIC_NAMES, UNKNOWN=words.UNKNOWN_TEXT,
        corners=formats.corners, nan=math.nan,
    )
    return made


def fixed(value: float, digits: int) -> str:
    """A number with so many digits after the point, for a place or a width.

    >>> fixed(2, 1)
    '2.0'
    """
    return f"{value:.{digits}f}"


def sort_key(value: float) -> str:
    """What a column sorts by; empty for an unknown number, which comes last.

    >>> sort_key(2), sort_key(float("nan"))
    ('2.0', '')
    """
    return repr(float(value)) if math.isfinite(value) else ""


def _printable(value: object) -> object:
    """Text without characters that steer a terminal or break a line; what is markup already stays as it is."""
    return value if hasattr(value, "__html__") else words.clean(str(value))


def _asset(name: str) -> str:
    return resources.files("mlopt.render.html").joinpath("templates", name).read_text(encoding="utf-8")


def _trusted(text: str) -> object:
    import markupsafe

    return markupsafe.Markup(text)      # of a file of ours
