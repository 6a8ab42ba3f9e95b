"""`mlopt-baseline.json`: the exact figures that were last accepted, committed beside the budget, one a line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlopt import files
from mlopt.gate.budget import UNITS, BudgetError, Metric
from mlopt.gate.evidence import Fact, Value
from mlopt.gate.units import Unit

NAME = "mlopt-baseline.json"
SCHEMA = 1
_LARGEST_BYTES = 16 << 20
_SCORES = (Unit.SHARE, Unit.POINTS)
Name = tuple[str, str, Metric]          # model's path as the budget sees it, target or "", metric


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Accepted figures. `conditions` says what those of a target rest on, e.g. the runtime's version."""

    values: Mapping[Name, Value] = field(default_factory=dict)
    conditions: Mapping[Name, str] = field(default_factory=dict)

    def fact(self, model: str, target: str, metric: Metric) -> Fact | None:
        name = (model, target, metric)
        if name not in self.values:
            return None
        return Fact(value=self.values[name], origin=NAME, conditions=self.conditions.get(name, ""))

    def updated(self, values: Mapping[Name, Fact]) -> "Stored":
        """With the figures of `values` in place of those of the same name."""
        return Stored(
            values={**self.values, **{name: fact.value for name, fact in values.items()}},
            conditions={**{n: c for n, c in self.conditions.items() if n not in values},
                        **{name: fact.conditions for name, fact in values.items() if fact.conditions}},
        )


def to_json(stored: Stored) -> bytes:
    """Sorted keys and one figure a line, so that two branches that moved different figures merge."""
    plain: dict[str, Any] = {
        "conditions": {_text(name): text for name, text in stored.conditions.items()},
        "metrics": {_text(name): value for name, value in stored.values.items()},
    }
    blocks = []
    for part, entries in sorted(plain.items()):
        lines = [f"  {json.dumps(k, ensure_ascii=False)}: {_value(v)}" for k, v in sorted(entries.items())]
        inside = "\n" + ",\n".join(lines) + "\n " if lines else ""
        blocks.append(f" {json.dumps(part)}: {{{inside}}}")
    return ("{\n" + ",\n".join([*blocks, f' "schema": {SCHEMA}']) + "\n}\n").encode()


def write(path: Path, stored: Stored) -> None:
    files.write_atomically(path, to_json(stored))


def read(path: Path) -> Stored:
    """The figures, or none where there is no file. Raises `BudgetError` for what `mlopt gate update` did not write."""
    if not path.exists():
        return Stored()
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise BudgetError(path, 0, "it is too large for a baseline")
        plain = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as err:
        raise BudgetError(path, 0, f"this is no baseline: {err}. `mlopt gate update` writes one") from err
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
        raise BudgetError(path, 0, f"this is no baseline of schema {SCHEMA}. `mlopt gate update` writes one")
    metrics, conditions = plain.get("metrics", {}), plain.get("conditions", {})
    if not isinstance(metrics, dict) or not isinstance(conditions, dict):
        raise BudgetError(path, 0, "`metrics` and `conditions` are objects. `mlopt gate update` writes them")
    values = {_name(key, path): value for key, value in metrics.items()}
    for (model, _, metric), value in values.items():
        if not _fits(value, metric):
            raise BudgetError(path, 0, f"{metric} of {model} cannot be {value!r}")
    return Stored(
        values={name: tuple(v) if isinstance(v, list) else v for name, v in values.items()},
        conditions={_name(key, path): str(text) for key, text in conditions.items()},
    )


def _fits(value: Any, metric: Metric) -> bool:
    if metric is Metric.OPS:
        return isinstance(value, list) and all(isinstance(op, str) for op in value)
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) if UNITS[metric] in _SCORES else isinstance(value, int)


def _value(value: Value) -> str:
    return json.dumps(sorted(value) if isinstance(value, tuple) else value, ensure_ascii=False, allow_nan=False)


def _text(name: Name) -> str:
    model, target, metric = name
    return f"{model} {metric}" + (f" on {target}" if target else "")


def _name(text: str, path: Path) -> Name:
    head, on, target = text.rpartition(" on ")
    if not on:
        head, target = text, ""
    model, _, metric = head.rpartition(" ")
    if metric not in list(Metric):          # a model's own path may hold " on "
        head, target = text, ""
        model, _, metric = head.rpartition(" ")
    if not model or metric not in list(Metric):
        raise BudgetError(path, 0, f"{text!r} is no line of a baseline: MODEL METRIC, or MODEL METRIC on TARGET")
    return model, target, Metric(metric)
