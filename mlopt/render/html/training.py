"""The recipe on the page: a table of its steps, how each training went, and what each step found."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from mlopt.recipe.steps import NO_TEACHER
from mlopt.render import training
from mlopt.render.html.frame import Frame
from mlopt.report import StepFacts, Trained
from mlopt.words import UNKNOWN_TEXT, grouped

_WIDTH, _HEIGHT = 500, 190                       # of one curve; two stand side by side
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 10, 14, 26    # around it
_FRAME = Frame(width=_WIDTH, height=_HEIGHT, left=_LEFT, right=_WIDTH - _RIGHT, top=_TOP, bottom=_HEIGHT - _BOTTOM)
_MOST_DOTS = 60         # more epochs are a line alone
_MOST_ROWS = 200        # of a table of a step's facts; more say so
_MOST_INLINE = 4        # entries of a small map that stand in one line
_OF_A_TEACHER = ("labels", "temperature")


@dataclass(frozen=True, kw_only=True)
class Table:
    heads: tuple[str, ...]
    figures: tuple[bool, ...]                 # by column: whether it holds numbers
    rows: tuple[tuple[str, ...], ...]
    more: int                                 # rows that were left out


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One figure by epoch, in the figure's own units."""

    label: str
    points: tuple[tuple[float, float, str], ...]      # place, and what it says
    levels: tuple[tuple[float, str], ...]
    epochs: int
    dotted: bool
    frame: Frame = _FRAME


@dataclass(frozen=True, kw_only=True)
class StepView:
    name: str
    settings: str
    curves: tuple[Curve, ...]
    listed: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, Table], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class View:
    sentence: str
    overview: Table
    steps: tuple[StepView, ...]


def view(trained: Trained) -> View:
    return View(
        sentence=training.sentence(trained), overview=_table(training.HEADS, training.rows(trained), numbers=True),
        steps=tuple(_step(step) for step in trained.steps),
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: bool = False) -> Table:
    """`numbers`: all columns but the first hold figures; else those do in which no cell is a word."""
    return Table(
        heads=tuple(heads), more=max(0, len(rows) - _MOST_ROWS),
        figures=tuple(i > 0 and (numbers or all(_is_figure(row[i]) for row in rows)) for i in range(len(heads))),
        rows=tuple(tuple(map(_text, row)) for row in rows[:_MOST_ROWS]),
    )


def _step(step: StepFacts) -> StepView:
    listed, tables = _facts(step.facts)
    return StepView(
        name=step.name, settings=_settings(step.settings), curves=tuple(_curves(step)), listed=tuple(listed),
        tables=tuple(tables), notes=tuple(training.notes(step)),
    )


def _settings(settings: Mapping[str, object]) -> str:
    """What a step was told; what is off, or without effect where nobody teaches, stays out."""
    idle = _OF_A_TEACHER if settings.get("teacher") == NO_TEACHER else ()
    said = [(key, value) for key, value in settings.items() if value not in ("", 0, [], (), {}) and key not in idle]
    return " · ".join(f"{_words(key)} {_text(value)}" for key, value in said)


# ---- how a training went -------------------------------------------------------------------------------------------


def _curves(step: StepFacts) -> Iterator[Curve]:
    """Training loss and validation by epoch; nothing below two epochs."""
    figures = (
        _curve("training loss", step.history, lambda epoch: epoch.get("losses", {}).get("total")),
        _curve("validation", step.history, lambda epoch: epoch.get("validation")),
    )
    yield from (figure for figure in figures if figure is not None)


def _curve(
    name: str, history: Sequence[Mapping[str, Any]], of: Callable[[Mapping[str, Any]], object]
) -> Curve | None:
    points = [(i, float(value)) for i, value in enumerate(map(of, history)) if _finite(value)]
    if len(points) < 2:
        return None
    values = [value for _, value in points]
    low, high = min(values), max(values)
    right, base = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x_of(epoch: int) -> float:
        return _LEFT + epoch * (right - _LEFT) / (len(history) - 1)

    def y_of(value: float) -> float:
        return (_TOP + base) / 2 if low == high else base - (value - low) / (high - low) * (base - _TOP)

    label = f"{name} by epoch: {_figure(values[0])} in the first, {_figure(values[-1])} in the last of {len(history)}"
    return Curve(
        label=label, epochs=len(history), dotted=len(points) <= _MOST_DOTS,
        points=tuple((x_of(i), y_of(value), f"epoch {i + 1}: {value:.4f}") for i, value in points),
        levels=tuple((y_of(value), _figure(value)) for value in dict.fromkeys((low, high))),
    )


# ---- what a step found ---------------------------------------------------------------------------------------------


def _facts(facts: Mapping[str, object]) -> tuple[list[tuple[str, str]], list[tuple[str, Table]]]:
    """Scalars and small maps as a list, longer maps and lists of records as tables; the rest stands in report.json."""
    listed: list[tuple[str, str]] = []
    tables: list[tuple[str, Table]] = []
    for key, value in facts.items():
        if _is_scalar(value) or (_is_map(value) and len(value) <= _MOST_INLINE):
            listed.append((_words(key), _text(value)))
        elif _is_map(value):
            tables.append((_words(key), _table(("name", "value"), list(value.items()))))
        elif isinstance(value, list | tuple) and value and all(isinstance(row, dict) for row in value):
            heads = list(value[0])
            rows = [[row.get(head) for head in heads] for row in value]
            tables.append((_words(key), _table([_words(head) for head in heads], rows)))
    return listed, tables


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
