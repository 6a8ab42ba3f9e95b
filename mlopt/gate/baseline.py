"""`mlopt-baseline.json`: the exact figures that were last accepted, committed beside the budget, one a line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mlopt import files, plain
from mlopt.documents import DocumentInvalid, content, json_value
from mlopt.gate.budget import BudgetError, Metric
from mlopt.gate.evidence import UNBOUNDED, Fact, Value
from mlopt.quantities import Count, Score, Share, ShareDifference

NAME = "mlopt-baseline.json"
SCHEMA = 1
_LARGEST_BYTES = 16 << 20
_KINDS: dict[Metric, Any] = {            # what `mlopt gate update` writes; it times nothing
    **dict.fromkeys((Metric.SIZE, Metric.ZIPPED, Metric.MACS, Metric.ARENA, Metric.HEAP, Metric.INSTRUCTIONS), Count),
    Metric.OPS: tuple[str, ...], Metric.ACCURACY: Share, Metric.DROP: ShareDifference, Metric.AGREEMENT: Share,
}
_UNBOUNDED_KINDS: dict[Metric, Any] = {Metric.ACCURACY: Score, Metric.DROP: float}
_PARTS = ("schema", "metrics", "conditions")
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
    try:
        found = json_value(content(path, most_bytes=_LARGEST_BYTES))
    except FileNotFoundError:
        return Stored()
    except OSError as err:
        raise BudgetError(path, 0, f"it cannot be read: {err.strerror}") from err
    except DocumentInvalid as err:
        raise _no_baseline(path, err.found) from err
    if not isinstance(found, dict) or type(found.get("schema")) is not int or found["schema"] != SCHEMA:
        raise _no_baseline(path, f"it has no schema {SCHEMA}")
    unknown = [key for key in found if key not in _PARTS]
    if unknown:
        raise _no_baseline(path, f"there is no {unknown[0]!r} in one; there are {', '.join(_PARTS)}")
    parts = [found.get("conditions", {}), found.get("metrics", {})]
    if not all(isinstance(part, dict) for part in parts) or any(not isinstance(t, str) for t in parts[0].values()):
        raise _no_baseline(path, "`metrics` is an object, and `conditions` one of texts")
    conditions, values = ({_name(key, path): value for key, value in part.items()} for part in parts)
    return Stored(values={name: _figure(name, value, conditions.get(name, ""), path) for name, value in values.items()},
                  conditions=conditions)


def _figure(name: Name, value: object, condition: str, path: Path) -> Value:
    """`value` where the metric can have it: every growth and every fall is judged against these."""
    model, target, metric = name
    kind = _KINDS.get(metric)
    if kind is None:
        raise _no_baseline(path, f"{metric} of {model} is timed anew in each gate, and never stored")
    if condition.partition(" ")[0] in UNBOUNDED:
        kind = _UNBOUNDED_KINDS.get(metric, kind)
    if value is None:
        raise _no_baseline(path, f"{_text(name)} is null")
    try:
        figure: Value = plain.from_json(value, kind)
    except msgspec.ValidationError as err:
        where, found = f" on {target}" if target else "", str(err).partition(" - at ")[0]
        raise _no_baseline(path, f"{metric} of {model}{where} cannot be {value!r}: {found}") from err
    return figure


def _no_baseline(path: Path, found: str) -> BudgetError:
    return BudgetError(path, 0, f"this is no baseline: {found}. `mlopt gate update` writes one")


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
