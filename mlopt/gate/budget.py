"""The budget file, `mlopt-budget.toml`: what each model may cost, in words that a reviewer reads in a diff."""

import datetime
import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mlopt.configuration.toml import read_toml
from mlopt.configuration.values import ConfigurationInvalid, Source, Table
from mlopt.gate import units
from mlopt.gate.rules import fewest_runs
from mlopt.gate.units import Unit

__all__ = ["NAME", "Budget", "BudgetError", "Ceiling", "Inconclusive", "LatencyBudget", "Metric", "ModelBudget",
           "OpSet", "Percentile", "Score", "Waiver", "load_budget"]

NAME = "mlopt-budget.toml"
SCHEMA = 1
_LARGEST_BYTES = 1 << 20       # of a budget file; a larger one is no budget
_MOST_RUNS = 1_000_000
_MOST_PROCESSORS = 4096
_MOST_SECONDS = 3600.0         # of timing in one process
_LONGEST_GLOB = 1000


class BudgetError(ConfigurationInvalid):
    """A budget, a baseline or a command line that nothing can be judged by."""


class Metric(StrEnum):
    SIZE = "size"                  # bytes of the file, or of all files of a package folder
    ZIPPED = "zipped"              # bytes after deflate at level 9
    MACS = "macs"                  # multiply-accumulates for one sample
    OPS = "ops"                    # the set of operations in the file
    ARENA = "arena"                # span of the activation tensors
    HEAP = "heap"                  # allocator's bytes that the model took
    INSTRUCTIONS = "instructions"  # of one inference, counted by an emulator
    ACCURACY = "accuracy"          # the task's metric of the file
    DROP = "drop"                  # the source's metric minus the file's
    AGREEMENT = "agreement"        # share of samples with the source's answer
    P50 = "p50"
    P90 = "p90"
    P99 = "p99"


ON_A_TARGET = (Metric.ARENA, Metric.HEAP, Metric.INSTRUCTIONS)
UNITS = {
    Metric.SIZE: Unit.BYTES, Metric.ZIPPED: Unit.BYTES, Metric.MACS: Unit.COUNT, Metric.OPS: Unit.NAMES,
    Metric.ARENA: Unit.BYTES, Metric.HEAP: Unit.BYTES, Metric.INSTRUCTIONS: Unit.COUNT, Metric.ACCURACY: Unit.SHARE,
    Metric.DROP: Unit.POINTS, Metric.AGREEMENT: Unit.SHARE, Metric.P50: Unit.MILLISECONDS,
    Metric.P90: Unit.MILLISECONDS, Metric.P99: Unit.MILLISECONDS,
}
RANKS = {Metric.P50: 0.5, Metric.P90: 0.9, Metric.P99: 0.99}


class Inconclusive(StrEnum):
    """What a latency that could not be decided does to the whole."""

    FAIL = "fail"                  # exit 4
    WARN = "warn"                  # said, and exit 0


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """An exact number that may not be too large."""

    metric: Metric
    target: str = ""               # empty for what the file alone tells
    max: int | None = None
    growth: float | None = None    # largest growth over the baseline, a fraction
    floor: int = 0                 # growth by this much is always allowed: a percentage of little is nothing
    ratchet: bool = False          # above `max` it may shrink or stay, never grow; without `max`, never grow at all
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy, agreement: may not be too small. Drop: may not be too large."""

    metric: Metric
    min: float | None = None
    max: float | None = None
    fall: float | None = None      # largest fall below the baseline's figure, a difference of fractions
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class OpSet:
    allow: tuple[str, ...] | None = None    # nothing else may be in the file
    forbid: tuple[str, ...] = ()
    ratchet: bool = False                   # nothing that the baseline does not have
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class Percentile:
    metric: Metric                 # P50, P90, P99
    max_ms: float | None = None
    growth: float | None = None    # largest growth over the baseline file measured in the same job, a fraction
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class LatencyBudget:
    """Latency under stated conditions on one target."""

    target: str
    percentiles: tuple[Percentile, ...]
    threads: int = 1
    cpus: tuple[int, ...] = ()
    rate_hz: float = 0.0           # 0: back to back
    runs: int = 1000               # timed in one fresh process, or as many as fit into `most_seconds`
    processes: int = 5             # fresh processes whose runs an absolute limit is judged on
    most_seconds: float = 2.0      # of timing in one process
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """A broken limit that is let through until a day."""

    metric: Metric
    until: datetime.date
    reason: str
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class ModelBudget:
    model: str                     # a glob over paths, relative to the budget file
    ceilings: tuple[Ceiling, ...] = ()
    scores: tuple[Score, ...] = ()
    ops: OpSet | None = None
    latency: tuple[LatencyBudget, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    line: int = 1

    @property
    def is_relative(self) -> bool:
        """Whether something is judged against a baseline."""
        return (
            any(c.growth is not None or c.ratchet for c in self.ceilings)
            or any(s.fall is not None for s in self.scores)
            or (self.ops is not None and self.ops.ratchet)
            or any(p.growth is not None for entry in self.latency for p in entry.percentiles)
        )

    @property
    def targets(self) -> tuple[str, ...]:
        """Where something has to be measured."""
        named = [c.target for c in self.ceilings if c.target] + [entry.target for entry in self.latency]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, kw_only=True)
class Budget:
    path: Path
    models: tuple[ModelBudget, ...]
    inconclusive: Inconclusive = Inconclusive.FAIL
    alpha: float = 0.05            # chance of a false alarm, and of a false pass, of one relative latency rule
    confidence: float = 0.99       # of the bound that an absolute percentile is judged by
    schema: int = SCHEMA
    notes: tuple[str, ...] = field(default=())


def load_budget(path: Path) -> Budget:
    """Read and check all of it. Raises `BudgetError`, which names the file and the line."""
    source = Source(path=path, refusal=BudgetError, absent="Write one, or name it with --budget")
    root = read_toml(source, most_bytes=_LARGEST_BYTES)
    root.allow(("schema", "defaults", "budget"))
    schema = root.integer("schema", default=None, most=_MOST_RUNS)
    if schema != SCHEMA:
        raise root.wrong(f"`schema` is {schema if schema is not None else 'missing'}; this mlopt reads schema {SCHEMA}")
    defaults = root.table_at("defaults")
    defaults.allow(("inconclusive", "alpha", "confidence", "target", "threads", "runs", "processes"))
    confidence = _share(defaults, "confidence", default=0.99, low=0.5, high=1)
    budget = Budget(
        path=path,
        models=tuple(_model(table, defaults, confidence) for table in root.tables_at("budget")),
        inconclusive=Inconclusive(defaults.one_of("inconclusive", [i.value for i in Inconclusive], default="fail")),
        alpha=_share(defaults, "alpha", default=0.05, low=0, high=0.5), confidence=confidence,
    )
    if not budget.models:
        raise root.wrong("it has no [[budget]], so nothing would be checked")
    return budget


def _model(table: Table, defaults: Table, confidence: float) -> ModelBudget:
    sizes = (Metric.SIZE, Metric.ZIPPED, Metric.MACS, *ON_A_TARGET)
    scores = (Metric.ACCURACY, Metric.DROP, Metric.AGREEMENT)
    table.allow(("model", "target", *sizes, *scores, "ops", "latency", "waiver"))
    target = table.text("target", default=defaults.text("target", default="host"))
    budget = ModelBudget(
        model=_glob(table),
        ceilings=tuple(_ceiling(t, metric, target) for metric in sizes for t in table.tables_at(metric)),
        scores=tuple(_score(t, metric) for metric in scores for t in table.tables_at(metric)),
        ops=_ops(table.table_at("ops")) if table.has("ops") else None,
        latency=tuple(_latency(t, target, defaults, confidence) for t in table.tables_at("latency")),
        waivers=tuple(_waiver(t) for t in table.tables_at("waiver")),
        line=table.line,
    )
    if not (budget.ceilings or budget.scores or budget.ops or budget.latency):
        raise table.wrong(f"the budget of {budget.model!r} limits nothing")
    limited = {c.metric for c in budget.ceilings} | {c.metric for c in budget.scores}
    limited |= {p.metric for entry in budget.latency for p in entry.percentiles}
    limited |= {Metric.OPS} if budget.ops else set()
    for waiver, place in zip(budget.waivers, table.tables_at("waiver"), strict=True):
        if waiver.metric not in limited:
            raise place.wrong(f"the waiver is of `{waiver.metric}`, which this budget does not limit: remove it")
    return budget


def _glob(table: Table) -> str:
    """A path or a pattern of paths, as the file system can have them."""
    found = table.text("model")
    if len(found) > _LONGEST_GLOB or not found.isprintable():
        wanted = f"a path or a glob of at most {_LONGEST_GLOB} printable characters"
        raise table.wrong_at("model", f"`model` takes {wanted}; got {found[:_LONGEST_GLOB]!r}")
    return found


def _ceiling(table: Table, metric: Metric, target: str) -> Ceiling:
    on_target = metric in ON_A_TARGET
    table.allow(("max", "growth", "floor", "ratchet", *(("target",) if on_target else ())))
    unit = UNITS[metric]
    largest, floor = _quantity(table, "max", unit), _quantity(table, "floor", unit)
    ceiling = Ceiling(
        metric=metric, target=table.text("target", default=target) if on_target else "",
        max=None if largest is None else int(largest), growth=_quantity(table, "growth", Unit.SHARE),
        floor=int(floor or 0), ratchet=table.flag("ratchet"), line=table.line,
    )
    if ceiling.max is None and ceiling.growth is None and not ceiling.ratchet:
        raise table.wrong(f"`{metric}` limits nothing: give `max`, `growth` or `ratchet = true`")
    if floor is not None and ceiling.growth is None:
        raise table.wrong(f"`floor` of `{metric}` goes with `growth`, which is not given")
    return ceiling


def _score(table: Table, metric: Metric) -> Score:
    low = metric is not Metric.DROP
    table.allow(("min", "fall") if low else ("max",))
    score = Score(
        metric=metric, min=_quantity(table, "min", Unit.SHARE, most=1) if low else None,
        max=None if low else _quantity(table, "max", Unit.POINTS, most=1),
        fall=_quantity(table, "fall", Unit.POINTS, most=1) if low else None, line=table.line,
    )
    if score.min is None and score.max is None and score.fall is None:
        raise table.wrong(f"`{metric}` limits nothing: give {'`min` or `fall`' if low else '`max`'}")
    return score


def _ops(table: Table) -> OpSet:
    table.allow(("allow", "forbid", "ratchet"))
    ops = OpSet(
        allow=table.names("allow"), forbid=table.names("forbid") or (), ratchet=table.flag("ratchet"),
        line=table.line,
    )
    if ops.allow is None and not ops.forbid and not ops.ratchet:
        raise table.wrong("`ops` limits nothing: give `allow`, `forbid` or `ratchet = true`")
    return ops


def _latency(table: Table, target: str, defaults: Table, confidence: float) -> LatencyBudget:
    table.allow(("target", "threads", "cpus", "rate_hz", "runs", "processes", "most_seconds", *RANKS))
    entry = LatencyBudget(
        target=table.text("target", default=target),
        threads=_setting("threads", table, defaults, otherwise=1, most=_MOST_PROCESSORS),
        cpus=table.integers("cpus", most=_MOST_PROCESSORS), rate_hz=table.number("rate_hz", default=0.0, most=1e6),
        runs=_setting("runs", table, defaults, otherwise=1000, most=_MOST_RUNS),
        processes=_setting("processes", table, defaults, otherwise=5, most=_MOST_RUNS),
        most_seconds=table.number("most_seconds", default=2.0, most=_MOST_SECONDS),
        percentiles=tuple(_percentile(table.table_at(metric), metric) for metric in RANKS if table.has(metric)),
        line=table.line,
    )
    if not entry.percentiles:
        raise table.wrong("`latency` limits nothing: give `p50`, `p90` or `p99`")
    for percentile in entry.percentiles:
        rank, needed = RANKS[percentile.metric], fewest_runs(RANKS[percentile.metric], confidence)
        if percentile.max_ms is not None and entry.runs * entry.processes < needed:
            raise table.wrong(
                f"`{percentile.metric}` at confidence {confidence:g} needs {needed} runs; {entry.processes} processes "
                f"of {entry.runs} runs are {entry.runs * entry.processes}. Raise `runs` or `processes`"
            )
        alone = fewest_runs(rank, 0.5)
        if percentile.growth is not None and entry.runs < alone:
            raise table.wrong(f"`growth` of `{percentile.metric}` needs {alone} `runs` a process; got {entry.runs}")
    return entry


def _setting(key: str, table: Table, defaults: Table, *, otherwise: int, most: int) -> int:
    """Of the entry, else of [defaults]."""
    return table.integer(key, default=defaults.integer(key, default=otherwise, least=1, most=most), least=1, most=most)


def _percentile(table: Table, metric: Metric) -> Percentile:
    table.allow(("max", "growth"))
    found = Percentile(
        metric=metric, max_ms=_quantity(table, "max", Unit.MILLISECONDS), growth=_quantity(table, "growth", Unit.SHARE),
        line=table.line,
    )
    if found.max_ms is None and found.growth is None:
        raise table.wrong(f"`{metric}` limits nothing: give `max` or `growth`")
    if metric is Metric.P99 and found.growth is not None:
        raise table.wrong("`growth` of `p99` is not offered: it scatters too much from process to process. "
                          "Use `growth` of `p50` or `p90`, and `max` of `p99`")
    return found


def _waiver(table: Table) -> Waiver:
    table.allow(("metric", "until", "reason"))
    metric = table.one_of("metric", [m.value for m in Metric])
    return Waiver(metric=Metric(metric), until=table.date("until"), reason=table.text("reason"), line=table.line)


def _quantity(table: Table, key: str, unit: Unit, *, most: float = math.inf) -> float | None:
    """A number with its unit, e.g. "64 KiB"."""
    found = table.parsed(key, lambda value: units.parse(value, unit))
    if found is not None and found > most:
        raise table.wrong_at(key, f"`{key}` lies between 0 and {most:g}; got {table.entries[key].shown()}")
    return found


def _share(table: Table, key: str, *, default: float, low: float, high: float) -> float:
    """A fraction strictly between `low` and `high`."""
    found = _quantity(table, key, Unit.SHARE)
    if found is None:
        return default
    if not low < found < high:
        raise table.wrong_at(key, f"`{key}` lies between {low:g} and {high:g}; got {table.entries[key].shown()}")
    return found
