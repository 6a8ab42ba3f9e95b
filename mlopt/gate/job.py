"""The three commands as functions: from paths on disk and real targets to a verdict, a calibration, a baseline."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlopt import disks
from mlopt.disks import Place
from mlopt.documents import DocumentInvalid, content
from mlopt.errors import MloptError
from mlopt.files import write_atomically
from mlopt.gate import baseline as stored_figures
from mlopt.gate import noise
from mlopt.gate.budget import UNITS, Budget, BudgetError, LatencyBudget, Metric, load_budget
from mlopt.gate.evidence import Fact, Value
from mlopt.gate.inventory import open_model
from mlopt.gate.judge import Case, OnStep, gather, judge
from mlopt.gate.matching import match
from mlopt.gate.measuring import Targets, latency_request
from mlopt.gate.noise import Floor
from mlopt.gate.verdict import Verdict
from mlopt.profiling.contract import DeviceFacts
from mlopt.report import Report


def _quiet(doing: str, done: int, total: int) -> None:
    """No progress."""


def check(
    *, files: tuple[Path, ...], budget: Path, baseline: Path | None = None, report: Path | None = None,
    only: tuple[str, ...] = (), seed: int = 0, on_step: OnStep = _quiet, today: datetime.date | None = None,
) -> Verdict:
    """`mlopt gate check`: measure on real targets, and judge."""
    rules = load_budget(budget)
    targets = _opened(rules, only)
    floors = _Floors(targets)
    return judge(Case(
        budget=rules, files=files, measures=targets, today=today or datetime.datetime.now(datetime.UTC).date(),
        baseline=baseline, stored=stored_figures.read(budget.parent / stored_figures.NAME), report=_report(report),
        only=only, floor_of=floors, open_model=open_model, count_on_host=_count, seed=seed, on_step=on_step,
    ))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    floors: tuple[Floor, ...]
    too_small: tuple[str, ...]           # a sentence for each tolerance of the budget that this machine cannot keep
    sentences: tuple[str, ...]           # everything, for a reader


def calibrate(
    *, files: tuple[Path, ...], budget: Path, only: tuple[str, ...] = (), pairs: int = noise.PAIRS, seed: int = 0,
    on_step: OnStep = _quiet,
) -> Calibration:
    """`mlopt gate calibrate`: A/A pairs of every file under every relative latency limit."""
    rules = load_budget(budget)
    targets = _opened(rules, only)
    models, notes = match(rules, files, None)
    floors: list[Floor] = []
    too_small: list[str] = []
    sentences = list(notes)
    for model in models:
        for entry in (entry for m in model.budgets for entry in m.latency):
            growths = {p.metric: p for p in entry.percentiles if p.growth is not None}
            if not growths or (only and entry.target not in only):
                continue
            facts = targets.get(entry.target).facts()
            found, _ = noise.calibrate(
                model.path, model.name, measure=targets(entry.target, latency_request(entry)), facts=facts, entry=entry,
                metrics=list(growths), alpha=rules.alpha, seed=seed, pairs=pairs,
                on_pair=lambda done, total, name=model.name: on_step(f"{name} against itself", done, total),   # type: ignore[misc]
            )
            path = noise.remember(found, facts, entry.target)
            floors += found
            for floor in found:
                limit = growths[floor.metric]
                assert limit.growth is not None
                sentences.append(_floor_sentence(floor, entry.target))
                try:
                    noise.refuse_below(floor, limit.growth, model=model.name, budget=budget, line=limit.line)
                except BudgetError as err:
                    too_small.append(str(err))
            sentences.append(f"kept in {path}")
    if not floors:
        raise BudgetError(budget, 0, "no latency limit with `growth` applies here, so there is nothing to calibrate")
    return Calibration(floors=tuple(floors), too_small=tuple(too_small),
                       sentences=tuple(dict.fromkeys([*sentences, *too_small])))


@dataclass(frozen=True, kw_only=True)
class Updated:
    path: Path
    sentences: tuple[str, ...]
    failures: tuple[str, ...]            # what could not be measured, and why


def update(
    *, files: tuple[Path, ...], budget: Path, report: Path | None = None, only: tuple[str, ...] = (),
    out: Path | None = None, on_step: OnStep = _quiet,
) -> Updated:
    """`mlopt gate update`: the exact figures that the budget limits, of every matched file; others in the file stay."""
    rules = load_budget(budget)
    path = out or budget.parent / stored_figures.NAME
    before = stored_figures.read(path)
    targets = _opened(rules, only)
    figures = gather(Case(
        budget=rules, files=files, measures=targets, today=datetime.datetime.now(datetime.UTC).date(),
        report=_report(report), only=only, open_model=open_model, count_on_host=_count, on_step=on_step,
    ))
    found: dict[stored_figures.Name, Fact] = {}
    for model in figures.models:
        for key, fact in figures.known.items():
            if key.digest == model.digest:
                found[model.name, key.target, key.metric] = fact
    after = before.updated(found)
    try:
        stored_figures.write(path, after)
    except OSError as err:
        place = Place(what="the baseline", folder=path.parent, elsewhere="choose another file with --out")
        raise disks.out_of_room(err, [place]) from err
    moved = [_moved(n, before, fact) for n, fact in sorted(found.items()) if before.values.get(n) != fact.value]
    done = f"{len(found)} figures, {len(moved)} of them new, in {path}"
    return Updated(path=path, failures=figures.failures,
                   sentences=tuple(dict.fromkeys([*moved, *figures.notes, *figures.failures, done])))


def write_output(verdict: Verdict, kind: str, path: Path) -> None:
    """One of the renderings, written whole or not at all."""
    from mlopt.gate.outputs import json, junit, markdown, sarif

    makers: dict[str, Callable[[Verdict], bytes]] = {
        "json": json.to_json, "junit": junit.to_junit, "sarif": sarif.to_sarif,
        "markdown": lambda v: markdown.to_markdown(v).encode(),
    }
    try:
        write_atomically(path, makers[kind](verdict))
    except OSError as err:
        place = Place(what="the verdict", folder=path.parent, elsewhere="name another file")
        raise disks.out_of_room(err, [place]) from err


class _Floors:
    """Noise floors of the devices at hand, each read once.

    A device that does not answer has none: measuring will say why.
    """

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._read: dict[str, tuple[Floor, ...]] = {}

    def __call__(self, model: str, target: str, entry: LatencyBudget, metric: Metric) -> Floor | None:
        if target not in self._read:
            facts = self._facts(target)
            self._read[target] = noise.recall(facts, target) if facts else ()
        return noise.floor_for(self._read[target], model, entry, metric)

    def _facts(self, target: str) -> DeviceFacts | None:
        from mlopt.gate.judge import UNMEASURED

        try:
            return self._targets.get(target).facts()
        except UNMEASURED:
            return None


def _opened(budget: Budget, only: tuple[str, ...]) -> Targets:
    """All targets that will be needed, by name: one that is none is bad input, before anything is measured."""
    named = {target: m.line for m in budget.models for target in m.targets}
    for target in only:
        if target not in named:
            there = ", ".join(sorted(named)) or "none"
            raise BudgetError(budget.path, 0, f"--on {target} is in no budget here; there are {there}")
    targets = Targets()
    for target, line in named.items():
        if only and target not in only:
            continue
        try:
            targets.get(target)
        except (MloptError, ValueError) as err:
            raise BudgetError(budget.path, line, str(err)) from err
    return targets


def _report(path: Path | None) -> Report | None:
    if path is None:
        return None
    from mlopt.render.json import LARGEST_BYTES, ReportUnreadable, from_json

    try:
        return from_json(content(path, most_bytes=LARGEST_BYTES))
    except OSError as err:
        raise BudgetError(path, 0, f"the report cannot be read: {err.strerror}") from err
    except DocumentInvalid as err:
        raise BudgetError(path, 0, f"the report cannot be read: {err.found}") from err
    except ReportUnreadable as err:
        raise BudgetError(path, 0, str(err)) from err


def _count(file: Path) -> tuple[int, str]:
    from mlopt.profiling import instructions

    counted = instructions.count(file)
    return counted.per_inference, counted.conditions


def _floor_sentence(floor: Floor, target: str) -> str:
    return (f"{floor.model}: {floor.metric} on {target} ({floor.device}), {floor.conditions}: {floor.pairs} pairs "
            f"differ by {floor.spread * 100:.2g}% (standard deviation), mean {floor.mean * 100:+.2g}%; the least "
            f"tolerance is {noise.SAFETY * floor.growth * 100:.2g}%")


def _moved(name: stored_figures.Name, before: stored_figures.Stored, fact: Fact) -> str:
    from mlopt.gate.units import show

    model, target, metric = name
    where = f" on {target}" if target else ""

    def text(value: Value) -> str:
        return ", ".join(value) if isinstance(value, tuple) else show(float(value), UNITS[metric])

    old = before.values.get(name)
    return f"{model} {metric}{where}: {text(old) + ' -> ' if old is not None else ''}{text(fact.value)}"
