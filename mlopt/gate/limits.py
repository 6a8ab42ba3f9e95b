"""Exact limits of one file: sizes, counts, scores and operations against the budget and the baseline."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mlopt.gate import rules
from mlopt.gate.baseline import Stored
from mlopt.gate.budget import ON_A_TARGET, UNITS, Ceiling, Metric, ModelBudget, OpSet, Score
from mlopt.gate.evidence import Fact, Key
from mlopt.gate.matching import Model
from mlopt.gate.units import Unit, show
from mlopt.gate.verdict import Check, Status

Lost = tuple[str, str, Metric]      # digest, target, metric
NAN = float("nan")
OPENS = "opens"                     # the rule of a check on a file that is no model
_UPDATE = "run `mlopt gate update` on the accepted models and commit the result, or give --baseline"


@dataclass(frozen=True, kw_only=True)
class Known:
    facts: Mapping[Key, Fact]
    failures: Mapping[Lost, str]                 # why it could not be measured
    stored: Stored

    def new(self, model: Model, target: str, metric: Metric) -> Fact | None:
        return self.facts.get(Key(digest=model.digest, target=target, metric=metric))

    def baseline(self, model: Model, target: str, metric: Metric) -> Fact | None:
        """Of the baseline file where there is one and it tells, else as it was last accepted."""
        found = self.facts.get(Key(digest=model.baseline_digest, target=target, metric=metric))
        return found or self.stored.fact(model.name, target, metric)

    def failure(self, model: Model, target: str, metric: Metric, *, relative: bool) -> str:
        """Of the file, and where the limit is relative of its baseline file; empty where none failed."""
        sides = [model.digest, *([model.baseline_digest] if relative else [])]
        return next((self.failures[side, target, metric] for side in sides if (side, target, metric) in self.failures),
                    "")


def unopened(model: Model, entry: ModelBudget, status: Status, why: str) -> Iterator[Check]:
    """Every limit of a file that is no model, or of which nobody could tell: a figure of it would mean nothing."""
    limited = [(c.metric, c.target, c.line) for c in entry.ceilings]
    limited += [(s.metric, "", s.line) for s in entry.scores]
    limited += [(Metric.OPS, "", entry.ops.line)] if entry.ops else []
    limited += [(p.metric, latency.target, p.line) for latency in entry.latency for p in latency.percentiles]
    for metric, target, line in limited:
        yield Check(model=model.name, digest=model.digest, metric=metric.value, rule=OPENS, status=status,
                    unit=UNITS[metric], target=target, line=line, sentence=f"{metric} was not judged: {why}")


def check_ceiling(model: Model, ceiling: Ceiling, known: Known) -> Check:
    metric, target = ceiling.metric, ceiling.target
    unit = UNITS[metric]
    blank = Check(model=model.name, digest=model.digest, metric=metric.value, rule="max", status=Status.ERROR,
                  sentence="", unit=unit, target=target, line=ceiling.line)
    relative = ceiling.growth is not None or ceiling.ratchet
    failure = known.failure(model, target, metric, relative=relative)
    if failure:
        return replace(blank, sentence=f"{metric} was not measured: {failure}")
    new, old = known.new(model, target, metric), known.baseline(model, target, metric)
    if relative and new and old and new.conditions and old.conditions and new.conditions != old.conditions:
        return replace(blank, rule="growth", sentence=f"{metric} cannot be compared: the baseline was taken with "
                     f"{old.conditions}, this with {new.conditions}. Give --baseline to measure both, or {_UPDATE}")
    value, baseline = _integer(new), _integer(old)
    outcome = rules.exact(value, max=ceiling.max, growth=ceiling.growth, floor=ceiling.floor, ratchet=ceiling.ratchet,
                          baseline=baseline)
    return replace(
        blank, rule=outcome.rule, status=outcome.status, value=NAN if value is None else value, limit=outcome.limit,
        baseline=NAN if baseline is None else baseline, notes=tuple(f.note for f in (new,) if f and f.note),
        sentence=_ceiling_sentence(ceiling, outcome, value=value, baseline=baseline, unit=unit, origin=_origin(new)),
    )


def _ceiling_sentence(
    ceiling: Ceiling, outcome: rules.Outcome, *, value: int | None, baseline: int | None, unit: Unit, origin: str
) -> str:
    where = f" on {ceiling.target}" if ceiling.target else ""
    if value is None:
        return f"{ceiling.metric}{where} is missing: {_missing(ceiling.metric)}"
    text = f"{ceiling.metric}{where} is {show(value, unit)}"
    if baseline:
        text += f", {(value / baseline - 1) * 100:+.2f}% on the baseline's {show(baseline, unit)}"
    if outcome.status is Status.PASS:
        if outcome.rule == "ratchet" and ceiling.max is not None:
            return f"{text}: above the limit of {show(ceiling.max, unit)}, and not grown"
        return f"{text}; the limit is {show(outcome.limit, unit)}"
    if baseline is None and outcome.rule in ("growth", "ratchet"):
        return f"{text}, and there is no baseline to compare it with: {_UPDATE}"
    over = show(value - outcome.limit, unit)
    return f"{text}: {over} over the {'limit' if outcome.rule == 'max' else outcome.rule + ' limit'} of " \
           f"{show(outcome.limit, unit)} (from {origin})"


def check_score(model: Model, score: Score, known: Known) -> Check:
    new, old = known.new(model, "", score.metric), known.baseline(model, "", score.metric)
    unit = UNITS[score.metric]
    value, baseline = _number(new), _number(old)
    if score.fall is not None and new and old and old.conditions and new.conditions != old.conditions:
        return Check(
            model=model.name, digest=model.digest, metric=score.metric.value, rule="fall", status=Status.ERROR,
            unit=unit, value=value, baseline=baseline, line=score.line,
            sentence=f"{score.metric} cannot be compared: the baseline is of {old.conditions}, this of "
                     f"{new.conditions}. Evaluate on the same samples, or {_UPDATE}",
        )
    outcome = rules.score(value, min=score.min, max=score.max, fall=score.fall, baseline=baseline)
    if math.isnan(value):
        sentence = f"{score.metric} is missing: {_missing(score.metric)}"
    elif outcome.rule == "fall" and math.isnan(baseline):
        sentence = f"{score.metric} is {show(value, unit)}, and there is no baseline to compare it with: {_UPDATE}"
    else:
        side = {"min": "least", "max": "most", "fall": "least after the fall allowed"}.get(outcome.rule, "limit")
        broken = "" if outcome.status is Status.PASS else f": {show(abs(value - outcome.limit), Unit.POINTS)} beyond it"
        sentence = (f"{score.metric} is {show(value, unit)} ({_origin(new)}); the {side} is "
                    f"{show(outcome.limit, unit)}{broken}")
    return Check(model=model.name, digest=model.digest, metric=score.metric.value, rule=outcome.rule,
                 status=outcome.status, sentence=sentence, unit=unit, value=value, limit=outcome.limit,
                 baseline=baseline, line=score.line)


def check_ops(model: Model, ops: OpSet, known: Known) -> Check:
    new, old = known.new(model, "", Metric.OPS), known.baseline(model, "", Metric.OPS)
    blank = Check(model=model.name, digest=model.digest, metric=Metric.OPS.value, rule="allow", status=Status.FAIL,
                  sentence="", unit=Unit.NAMES, line=ops.line)
    failure = known.failure(model, "", Metric.OPS, relative=ops.ratchet)
    if failure:
        return replace(blank, status=Status.ERROR, sentence=f"operations were not read: {failure}")
    found = new.value if new and isinstance(new.value, tuple) else None
    accepted = old.value if old and isinstance(old.value, tuple) else None
    if ops.ratchet and accepted is None:
        return replace(blank, rule="ratchet", sentence=f"there is no baseline to compare operations with: {_UPDATE}")
    rule, broken = rules.op_set(found, allow=ops.allow, forbid=ops.forbid, baseline=accepted if ops.ratchet else None)
    if rule == "missing" or found is None:
        return replace(blank, rule="missing", sentence=f"operations are missing: {_missing(Metric.OPS)}")
    if not rule:
        sentence = f"{len(found)} operations: {', '.join(found)}"
        return replace(blank, status=Status.PASS, value=len(found), sentence=sentence)
    why = {"forbid": "forbidden", "allow": "not allowed", "ratchet": "not in the baseline"}[rule]
    return replace(blank, rule=rule, value=len(found), sentence=f"{', '.join(broken)}: {why}")


def _missing(metric: Metric) -> str:
    if metric in (Metric.ACCURACY, Metric.DROP, Metric.AGREEMENT, Metric.MACS):
        return ("no report has this very file (by its sha256) with this figure. Give --report report.json of the "
                "`mlopt compress` that made it")
    if metric in ON_A_TARGET:
        return "the target does not tell it for this file, or two fresh processes disagree"
    return "this format's operations cannot be read here"


def _origin(fact: Fact | None) -> str:
    return fact.origin if fact else "nowhere"


def _integer(fact: Fact | None) -> int | None:
    return fact.value if fact is not None and isinstance(fact.value, int) and not isinstance(fact.value, bool) else None


def _number(fact: Fact | None) -> float:
    return float(fact.value) if fact is not None and not isinstance(fact.value, tuple) else NAN
