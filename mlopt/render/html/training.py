"""The recipe on the page: a table of its steps, how each training went, and what each step found."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlopt.render import training
from mlopt.render.html.markup import esc
from mlopt.report import Report, StepFacts

_WIDTH, _HEIGHT, _MARGIN = 1000, 180, 42
_MOST_ROWS = 200        # of a table of a step's facts; more say so


def steps(report: Report) -> str:
    trained = report.trained
    if trained is None:
        return ""
    parts = [f"<p>{esc(training.sentence(trained))}</p>", table(training.HEADS, training.rows(trained))]
    parts += [_step(number, step) for number, step in enumerate(trained.steps, 1)]
    return "".join(parts)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{esc(h)}</th>' for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{esc(cell)}</td>" for cell in row) + "</tr>" for row in rows[:_MOST_ROWS])
    more = f'<p class="note">{len(rows) - _MOST_ROWS} more rows in report.json</p>' if len(rows) > _MOST_ROWS else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'


def _step(number: int, step: StepFacts) -> str:
    notes = "".join(f"<li>{esc(note)}</li>" for note in training.notes(step))
    settings = ", ".join(f"{key}: {value}" for key, value in step.settings.items() if value not in ("", 0, [], {}))
    body = _curve(step) + _facts(step.facts) + (f'<ul class="plain">{notes}</ul>' if notes else "")
    return (
        f"<details><summary>{number}. {esc(step.name)}</summary>"
        f'<p class="note">{esc(settings)}</p>{body}</details>'
    )


def _curve(step: StepFacts) -> str:
    """Validation by epoch; nothing below two epochs."""
    seen = [(i, epoch.get("validation")) for i, epoch in enumerate(step.history)]
    points = [(i, float(value)) for i, value in seen if value is not None and _finite(value)]
    if len(points) < 2:
        return ""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    place = [
        (_MARGIN + i * (_WIDTH - 2 * _MARGIN) / (len(step.history) - 1),
         _HEIGHT - _MARGIN - (value - low) / spread * (_HEIGHT - 2 * _MARGIN))
        for i, value in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in place)
    dots = "".join(
        f'<circle class="mark f0" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>epoch {i + 1}: {value:.4f}</title></circle>'
        for (x, y), (i, value) in zip(place, points, strict=True)
    )
    label = f"validation over {len(step.history)} epochs, from {values[0]:.4f} to {values[-1]:.4f}"
    return (
        f'<figure class="plot"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{esc(label)}">'
        f'<polyline class="front f0" points="{line}"/>{dots}'
        f'<text class="tick" x="4" y="{_HEIGHT - _MARGIN}">{low:.4f}</text>'
        f'<text class="tick" x="4" y="{_MARGIN}">{high:.4f}</text>'
        f'<text class="tick" x="{_MARGIN}" y="{_HEIGHT - 8}">{esc(label)}</text></svg></figure>'
    )


def _facts(facts: Mapping[str, Any]) -> str:
    """Scalars as a list, lists of records as tables; a reader finds everything else in report.json."""
    scalars = [(key, value) for key, value in facts.items() if isinstance(value, str | int | float)]
    listed = "".join(f"<dt>{esc(key)}</dt><dd>{esc(_text(value))}</dd>" for key, value in scalars)
    tables = "".join(
        f"<h3>{esc(key)}</h3>" + table(list(value[0]), [[_text(row.get(k, "")) for k in value[0]] for row in value])
        for key, value in facts.items()
        if isinstance(value, list | tuple) and value and all(isinstance(row, dict) for row in value)
    )
    return (f'<dl class="facts">{listed}</dl>' if listed else "") + tables


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
