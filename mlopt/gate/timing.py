"""Latency limits of one file: measure what they ask for once, then judge each percentile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.gate import rules
from mlopt.gate.budget import RANKS, Budget, LatencyBudget, Metric, Percentile
from mlopt.gate.matching import Model
from mlopt.gate.measuring import Measures, latency_request, why_apart
from mlopt.gate.noise import conditions_text
from mlopt.gate.paired import NEW, Decision, OnPair, alone, decide
from mlopt.gate.units import Unit, percent_change, show
from mlopt.gate.verdict import Check, Process, Status
from mlopt.profiling.contract import DeviceFacts, RunResult


@dataclass(frozen=True, kw_only=True)
class Timed:
    key: str                                     # of the raw times in the verdict
    decisions: dict[Metric, Decision]
    processes: tuple[Process, ...]
    facts: DeviceFacts | None
    apart: str = ""                              # why each pair was two processes; "" where it was one


def measure(
    model: Model, entry: LatencyBudget, *, measure: Measures, budget: Budget, seed: int, on_pair: OnPair | None = None
) -> Timed:
    """Pairs for the relative limits, then as many processes of the new file alone as the absolute ones still need.

    A process in which two files took turns says nothing absolute: each found its caches full of the other. A file that
    is its own baseline is not paired: an unchanged model costs a gate no time and no false alarm.
    """
    facts: list[DeviceFacts] = []
    on_target = measure(entry.target, latency_request(entry))

    def once(file: Path, *, beside: Path | None = None, order_seed: int = 0) -> RunResult:
        result = on_target(file, beside=beside, order_seed=order_seed)
        facts.append(result.facts)
        return result

    growths = {p.metric: p.growth for p in entry.percentiles if p.growth is not None}
    processes: tuple[Process, ...] = ()
    decisions: dict[Metric, Decision] = {}
    apart = ""
    if growths and model.baseline is not None and model.digest != model.baseline_digest:
        paired = decide(model.path, model.baseline, measure=once, tolerances=growths, alpha=budget.alpha, seed=seed,
                        apart=why_apart(entry, model.path, model.baseline), on_pair=on_pair)
        processes, decisions, apart = paired.processes, dict(paired.decisions), paired.apart
    if any(p.max_ms is not None for p in entry.percentiles):
        more = entry.processes - len(_alone(processes))
        first = 1 + max((p.order for p in processes), default=-1)
        processes += alone(model.path, measure=once, processes=max(more, 0), first=first)
    return Timed(key=f"{model.name} on {entry.target}, {conditions_text(entry)}", decisions=decisions,
                 processes=processes, facts=facts[0] if facts else None, apart=apart)


def checks(model: Model, entry: LatencyBudget, timed: Timed, budget: Budget) -> Iterator[Check]:
    for percentile in entry.percentiles:
        if percentile.max_ms is not None:
            yield _absolute(model, entry, percentile, timed, budget)
        if percentile.growth is not None:
            yield _relative(model, entry, percentile, timed, budget)


def unmeasured(model: Model, entry: LatencyBudget, why: str) -> Iterator[Check]:
    """An ERROR for every limit of `entry`."""
    for p in entry.percentiles:
        for rule, unit, limit in (("max", Unit.MILLISECONDS, p.max_ms), ("growth", Unit.SHARE, p.growth)):
            if limit is not None:
                yield _check(model, entry, p, rule=rule, status=Status.ERROR, unit=unit, limit=limit,
                             sentence=f"{p.metric} was not measured: {why}")


def _absolute(model: Model, entry: LatencyBudget, percentile: Percentile, timed: Timed, budget: Budget) -> Check:
    """The first `processes` of the new file, pooled, so that when pairs stopped has no say in what is judged."""
    assert percentile.max_ms is not None
    metric, limit = percentile.metric, percentile.max_ms
    chosen = _alone(timed.processes)[: entry.processes]
    pooled = np.concatenate([p.samples_us for p in chosen]) / 1e3
    needed = rules.fewest_runs(RANKS[metric], budget.confidence)
    if len(pooled) < needed:
        found = (f"{metric} needs {needed} runs at confidence {budget.confidence:g}, and {len(pooled)} were done in "
                 f"{len(chosen)} processes of at most {entry.most_seconds:g} s: raise `most_seconds` or `processes`")
        return _check(model, entry, percentile, rule="max", status=Status.ERROR, sentence=found,
                      unit=Unit.MILLISECONDS, limit=limit)
    low, value, high = rules.percentile_bounds(pooled, RANKS[metric], budget.confidence)
    status = rules.percentile_status(low, high, limit=limit)
    text = (f"{metric} is {show(value, Unit.MILLISECONDS)}, between {show(low, Unit.MILLISECONDS)} and "
            f"{show(high, Unit.MILLISECONDS)} at {budget.confidence:.0%} each, over {len(pooled)} runs in "
            f"{len(chosen)} processes; the limit is {show(limit, Unit.MILLISECONDS)}")
    ends = {Status.PASS: "", Status.FAIL: ": broken",
            Status.INCONCLUSIVE: ", which lies between the two: more `processes` would tell"}
    return _check(
        model, entry, percentile, rule="max", status=status, sentence=text + ends[status],
        unit=Unit.MILLISECONDS, value=value, limit=limit,
        low=low, high=high, processes=len(chosen), samples=timed.key, notes=_moods(chosen),
    )


def _relative(model: Model, entry: LatencyBudget, percentile: Percentile, timed: Timed, budget: Budget) -> Check:
    assert percentile.growth is not None
    tolerance, metric = percentile.growth, percentile.metric
    if model.baseline is None:
        found = f"{metric} has no baseline file of this name to be measured beside: add it, or waive `{metric}` for now"
        return _check(model, entry, percentile, rule="growth", status=Status.FAIL, sentence=found,
                      unit=Unit.SHARE, limit=tolerance)
    if model.digest == model.baseline_digest:
        found = f"{metric} cannot have grown: the file is the baseline's, byte for byte"
        return _check(model, entry, percentile, rule="growth", status=Status.PASS, sentence=found, unit=Unit.SHARE,
                      value=0.0, limit=tolerance, baseline=0.0)
    decision = timed.decisions[metric]
    last = decision.looks[-1]
    text = (f"{metric} is {percent_change(last.ratio)} on the baseline, between {percent_change(last.low)} and "
            f"{percent_change(last.high)}, over {last.pairs} pairs; the limit is {percent_change(1 + tolerance)}")
    sees = rules.detectable(decision.spread, tolerance=tolerance, alpha=budget.alpha)
    ends = {
        Status.PASS: "", Status.FAIL: ": broken",
        Status.INCONCLUSIVE: f", which the noise leaves open (pairs differ by {decision.spread * 100:.2g}%): take a "
                             "quieter machine, more `runs`, or a larger tolerance",
    }
    how = (f"each pair was two processes, one after the other: {timed.apart}" if timed.apart else
           "each pair was one process in which both files took turns")
    rates = (f"a growth of up to {tolerance * 100:.3g}% is called broken, and a larger one let pass, in at most "
             f"{budget.alpha:.0%} of gates each; at this noise {percent_change(1 + sees)} is called broken in 95%")
    return _check(
        model, entry, percentile, rule="growth", status=decision.status, sentence=text + ends[decision.status],
        unit=Unit.SHARE, value=last.ratio - 1, limit=tolerance, baseline=0.0, low=last.low - 1, high=last.high - 1,
        looks=decision.looks, processes=(2 if timed.apart else 1) * last.pairs, samples=timed.key,
        notes=(rates, how, *_moods(timed.processes)),
    )


def _check(
    model: Model, entry: LatencyBudget, percentile: Percentile, *, rule: str, status: Status, sentence: str, unit: Unit,
    **figures: Any,
) -> Check:
    return Check(
        model=model.name, digest=model.digest, metric=percentile.metric.value, rule=rule, status=status, unit=unit,
        sentence=f"{sentence} ({conditions_text(entry)})", target=entry.target, line=percentile.line, **figures,
    )


def _alone(processes: Sequence[Process]) -> list[Process]:
    """Those that timed the new file and nothing else."""
    return [p for p in processes if p.side == NEW and not p.burst]


def _moods(found: Sequence[Process]) -> tuple[str, ...]:
    processes = list({p.order: p for p in found}.values())
    throttled = sum(p.throttled for p in processes)
    said = dict.fromkeys(note for p in processes for note in p.notes)
    slow = (f"the device was throttled in {throttled} of {len(processes)} processes",) if throttled else ()
    return (*slow, *said)
