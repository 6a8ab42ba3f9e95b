"""The recipe on the page: a table of its steps, how each training went, and what each step found."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from mlopt.recipe.steps import NO_TEACHER
from mlopt.render import training
from mlopt.render.html.markup import esc
from mlopt.report import Report, StepFacts
from mlopt.words import UNKNOWN_TEXT, grouped

_WIDTH, _HEIGHT = 500, 190                       # of one curve; two stand side by side
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 10, 14, 26    # around it
_MOST_DOTS = 60         # more epochs are a line alone
_MOST_ROWS = 200        # of a table of a step's facts; more say so
_MOST_INLINE = 4        # entries of a small map that stand in one line
_OF_A_TEACHER = ("labels", "temperature")


def steps(report: Report) -> str:
    trained = report.trained
    if trained is None:
        return ""
    parts = [f"<p>{esc(training.sentence(trained))}</p>", table(training.HEADS, training.rows(trained), numbers=True)]
    parts += [_step(number, step) for number, step in enumerate(trained.steps, 1)]
    return "".join(parts)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: bool = False) -> str:
    """`numbers`: all columns but the first hold figures; else those do in which no cell is a word."""
    figures = [
        i > 0 and (numbers or all(_is_figure(row[i]) for row in rows)) for i in range(len(heads))
    ]
    kind = [' class="n"' if figure else "" for figure in figures]
    head = "".join(f'<th scope="col"{k}>{esc(h)}</th>' for h, k in zip(heads, kind, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{esc(_text(cell))}</td>" for cell, k in zip(row, kind, strict=True)) + "</tr>"
        for row in rows[:_MOST_ROWS]
    )
    more = f'<p class="note">{len(rows) - _MOST_ROWS} more rows in report.json</p>' if len(rows) > _MOST_ROWS else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'


def _step(number: int, step: StepFacts) -> str:
    notes = "".join(f"<li>{esc(note)}</li>" for note in training.notes(step))
    body = _curves(step) + _facts(step.facts) + (f'<ul class="plain">{notes}</ul>' if notes else "")
    return (
        f"<details><summary>{number}. {esc(step.name)}</summary>"
        f'<p class="note">{esc(_settings(step.settings))}</p>{body}</details>'
    )


def _settings(settings: Mapping[str, object]) -> str:
    """What a step was told; what is off, or without effect where nobody teaches, stays out."""
    idle = _OF_A_TEACHER if settings.get("teacher") == NO_TEACHER else ()
    said = [(key, value) for key, value in settings.items() if value not in ("", 0, [], (), {}) and key not in idle]
    return " · ".join(f"{_words(key)} {_text(value)}" for key, value in said)


# ---- how a training went -------------------------------------------------------------------------------------------


def _curves(step: StepFacts) -> str:
    """Training loss and validation by epoch; nothing below two epochs."""
    figures = (
        _curve("training loss", step.history, lambda epoch: epoch.get("losses", {}).get("total")),
        _curve("validation", step.history, lambda epoch: epoch.get("validation")),
    )
    return f'<div class="pair">{"".join(figures)}</div>' if any(figures) else ""


def _curve(name: str, history: Sequence[Mapping[str, Any]], of: Callable[[Mapping[str, Any]], object]) -> str:
    points = [(i, float(value)) for i, value in enumerate(map(of, history)) if _finite(value)]
    if len(points) < 2:
        return ""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    right, base = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x_of(epoch: int) -> float:
        return _LEFT + epoch * (right - _LEFT) / (len(history) - 1)

    def y_of(value: float) -> float:
        return (_TOP + base) / 2 if low == high else base - (value - low) / (high - low) * (base - _TOP)

    line = " ".join(f"{x_of(i):.1f},{y_of(value):.1f}" for i, value in points)
    dots = "".join(
        f'<circle class="mark f0" cx="{x_of(i):.1f}" cy="{y_of(value):.1f}" r="2.5">'
        f"<title>epoch {i + 1}: {value:.4f}</title></circle>"
        for i, value in points
    ) if len(points) <= _MOST_DOTS else ""
    levels = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 8}" y="{y_of(value) + 4:.1f}" text-anchor="end">{_figure(value)}</text>'
        for value in dict.fromkeys((low, high))
    )
    label = f"{name} by epoch: {_figure(values[0])} in the first, {_figure(values[-1])} in the last of {len(history)}"
    return (
        f'<figure class="plot"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{esc(label)}">{levels}'
        f'<polyline class="curve f0" points="{line}"/>{dots}'
        f'<text class="tick" x="{_LEFT}" y="{_HEIGHT - 8}">epoch 1</text>'
        f'<text class="tick" x="{right}" y="{_HEIGHT - 8}" text-anchor="end">{len(history)}</text></svg>'
        f"<figcaption>{esc(label)}</figcaption></figure>"
    )


# ---- what a step found ---------------------------------------------------------------------------------------------


def _facts(facts: Mapping[str, object]) -> str:
    """Scalars and small maps as a list, longer maps and lists of records as tables; the rest stands in report.json."""
    listed, tables = "", ""
    for key, value in facts.items():
        if _is_scalar(value) or (_is_map(value) and len(value) <= _MOST_INLINE):
            listed += f"<dt>{esc(_words(key))}</dt><dd>{esc(_text(value))}</dd>"
        elif _is_map(value):
            tables += f"<h3>{esc(_words(key))}</h3>" + table(("name", "value"), list(value.items()))
        elif isinstance(value, list | tuple) and value and all(isinstance(row, dict) for row in value):
            heads = list(value[0])
            rows = [[row.get(head) for head in heads] for row in value]
            tables += f"<h3>{esc(_words(key))}</h3>" + table([_words(head) for head in heads], rows)
    return (f'<dl class="facts">{listed}</dl>' if listed else "") + tables


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float)


def _is_map(value: object) -> TypeGuard[Mapping[str, object]]:
    """Of names to figures, words, or short rows of them."""
    rows = [v if isinstance(v, list | tuple) else [v] for v in value.values()] if isinstance(value, dict) else []
    return bool(rows) and all(v is None or _is_scalar(v) for row in rows for v in row)


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _words(key: str) -> str:
    """A key as a reader writes it."""
    return key.replace("_", " ")


def _text(value: object) -> str:
    if value is None:
        return UNKNOWN_TEXT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return grouped(value)
    if isinstance(value, float):
        return _figure(value)
    if isinstance(value, Mapping):
        return " · ".join(f"{key} {_text(each)}" for key, each in value.items())     # names, often
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _figure(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else UNKNOWN_TEXT


def _finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
