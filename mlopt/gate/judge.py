"""A budget and files to a verdict: gather what is known, measure what is asked for, judge each limit once."""

import datetime
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import mlopt
from mlopt.errors import MissingExtra, MloptError, ModelUnreadable, OutOfReach, WorkerFailed
from mlopt.gate import evidence, limits, timing
from mlopt.gate.baseline import Stored
from mlopt.gate.budget import ON_A_TARGET, Budget, BudgetError, Metric, ModelBudget, Waiver
from mlopt.gate.evidence import Fact, Key
from mlopt.gate.matching import Model, match
from mlopt.gate.measuring import MeasurementFailed, Measures, memory_request
from mlopt.gate.noise import FloorOf, conditions_text, refuse_below
from mlopt.gate.verdict import Check, Process, Status, Verdict
from mlopt.profiling.contract import DeviceFacts
from mlopt.profiling.target import TargetLost, TargetUnusable
from mlopt.report import Report

UNMEASURED = (          # exit code 3
    TargetLost, TargetUnusable, MeasurementFailed, ModelUnreadable, MissingExtra, OutOfReach, WorkerFailed,
)
HOST = "host"
OnStep = Callable[[str, int, int], None]       # what is being done, done, of


def _quiet(doing: str, done: int, total: int) -> None:
    """No progress."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything that a verdict is made of. Tests give their own `measures`; nothing else touches a device."""

    budget: Budget
    files: tuple[Path, ...]
    measures: Measures
    open_model: Callable[[Path], tuple[str, ...]]        # its operations; raises for a file that is no model
    today: datetime.date
    baseline: Path | None = None                 # file or folder of the accepted models
    stored: Stored = field(default_factory=Stored)        # figures of mlopt-baseline.json
    report: Report | None = None
    only: tuple[str, ...] = ()                   # targets to measure on; empty: all that the budget names
    floor_of: FloorOf | None = None              # the noise of this machine, where it was calibrated
    count_on_host: Callable[[Path], tuple[int, str]] | None = None      # instructions, and what the count rests on
    seed: int = 0
    on_step: OnStep = _quiet


@dataclass
class _Gathered:
    """Grows while files are measured; ends in the verdict."""

    known: dict[Key, Fact] = field(default_factory=dict)
    failures: dict[limits.Lost, str] = field(default_factory=dict)
    unopened: dict[str, tuple[Status, str]] = field(default_factory=dict)      # by digest: what it means, and why
    samples: dict[str, tuple[Process, ...]] = field(default_factory=dict)
    devices: dict[str, DeviceFacts] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def judge(case: Case) -> Verdict:
    """Judge all files by all their budgets. Raises `BudgetError` where there is nothing to judge, or to judge by."""
    started = time.monotonic()
    models, notes = match(case.budget, case.files, case.baseline)
    gathered = _Gathered(notes=list(notes))
    for model, entry in _entries(models):
        _refuse_what_cannot_work(case, model, entry)
    _open_all(case, models, gathered)
    if case.report is not None:
        gathered.known |= evidence.of_report(case.report)
    checks: list[Check] = []
    for model in models:
        if model.digest in gathered.unopened:
            status, why = gathered.unopened[model.digest]
            checks += [c for entry in model.budgets for c in limits.unopened(model, entry, status, why)]
            continue
        _gather(case, model, gathered)
        for entry in model.budgets:
            checks += [_waived(check, entry.waivers, case.today) for check in _checks(case, model, entry, gathered)]
    if not checks:
        raise BudgetError(case.budget.path, 0, f"nothing was left to check on {', '.join(case.only)}")
    return Verdict(
        budget=str(case.budget.path), checks=tuple(checks), inconclusive_fails=case.budget.inconclusive.value == "fail",
        samples=gathered.samples, devices={name: _plain(facts) for name, facts in gathered.devices.items()},
        notes=tuple(dict.fromkeys(gathered.notes)), seconds=time.monotonic() - started, mlopt=mlopt.__version__,
    )


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The exact figures of all files, for `mlopt gate update`."""

    models: tuple[Model, ...]
    known: dict[Key, Fact]
    notes: tuple[str, ...]
    failures: tuple[str, ...]                    # why some are missing


def gather(case: Case) -> Figures:
    """What `judge` would know of the files without timing them; of a file that does not open, nothing."""
    matched, notes = match(case.budget, case.files, None)
    gathered = _Gathered(notes=list(notes))
    _open_all(case, matched, gathered)
    if case.report is not None:
        gathered.known |= evidence.of_report(case.report)
    models = tuple(model for model in matched if model.digest not in gathered.unopened)
    for model in models:
        _gather(case, model, gathered)
    failures = (*(why for _, why in gathered.unopened.values()), *gathered.failures.values())
    return Figures(models=models, known=gathered.known, notes=tuple(gathered.notes),
                   failures=tuple(dict.fromkeys(failures)))


def _open_all(case: Case, models: Sequence[Model], gathered: _Gathered) -> None:
    """Each file once, before anything is measured, and each baseline file that something is judged by.

    Raises `BudgetError` for a baseline that is no model: nothing can be compared with it.
    """
    opened: set[str] = set()
    for model in models:
        if model.digest not in opened:
            opened.add(model.digest)
            try:
                _open(case, model.path, model.digest, gathered)
            except MloptError as err:
                refused = isinstance(err, ModelUnreadable)
                gathered.unopened[model.digest] = (Status.FAIL if refused else Status.ERROR, _first_line(err))
        if model.baseline is None or model.baseline_digest in opened or not any(e.is_relative for e in model.budgets):
            continue
        opened.add(model.baseline_digest)
        try:
            _open(case, model.baseline, model.baseline_digest, gathered)
        except ModelUnreadable as err:
            raise BudgetError(model.baseline, 0, f"nothing can be compared with it: {_first_line(err)}") from err
        except UNMEASURED as err:
            gathered.unopened[model.digest] = Status.ERROR, f"its baseline could not be opened: {_first_line(err)}"


def _open(case: Case, path: Path, digest: str, gathered: _Gathered) -> None:
    case.on_step(f"{path.name}: opening", 0, 0)
    ops = case.open_model(path)
    gathered.known[Key(digest=digest, target="", metric=Metric.OPS)] = Fact(value=ops, origin="the file")


def _first_line(err: Exception) -> str:
    """Without the last words of a worker."""
    return str(err).partition("\n")[0]


def _entries(models: Sequence[Model]) -> Iterator[tuple[Model, ModelBudget]]:
    for model in models:
        for entry in model.budgets:
            yield model, entry


def _refuse_what_cannot_work(case: Case, model: Model, entry: ModelBudget) -> None:
    for latency in entry.latency:
        if case.only and latency.target not in case.only:
            continue
        for percentile in latency.percentiles:
            if percentile.growth is None:
                continue
            if case.baseline is None:
                found = (f"`growth` of `{percentile.metric}` is judged against a baseline file that is measured in the "
                         "same job: give --baseline FILE_OR_FOLDER")
                raise BudgetError(case.budget.path, percentile.line, found)
            floor = case.floor_of(model.name, latency.target, latency, percentile.metric) if case.floor_of else None
            if floor is not None:
                refuse_below(floor, percentile.growth, model=model.name, budget=case.budget.path, line=percentile.line)


def _gather(case: Case, model: Model, gathered: _Gathered) -> None:
    """Exact figures of the file and of its baseline file, from the files and from fresh processes on targets."""
    sides = [(model.path, model.digest)]
    relative = any(entry.is_relative for entry in model.budgets)
    if relative and model.baseline is not None and model.baseline_digest != model.digest:
        sides.append((model.baseline, model.baseline_digest))
    asked = [c for entry in model.budgets for c in entry.ceilings if c.metric in ON_A_TARGET]
    for path, digest in sides:
        gathered.known |= evidence.of_file(path, digest)
        for target in sorted({c.target for c in asked}):
            if not case.only or target in case.only:
                metrics = {c.metric for c in asked if c.target == target}
                _measure_exact(case, path, digest, gathered, target=target, metrics=metrics)


def _measure_exact(
    case: Case, path: Path, digest: str, gathered: _Gathered, *, target: str, metrics: Set[Metric]
) -> None:
    """Two fresh processes, and on the host a count by itself: counting slows a process fifty times."""
    if case.count_on_host is not None and target == HOST and Metric.INSTRUCTIONS in metrics:
        case.on_step(f"{path.name}: instructions on {target}", 0, 0)
        try:
            gathered.known |= evidence.of_count(*case.count_on_host(path), digest, target)
        except UNMEASURED as err:
            gathered.failures[digest, target, Metric.INSTRUCTIONS] = str(err)
        metrics = metrics - {Metric.INSTRUCTIONS}
    if not metrics:
        return
    case.on_step(f"{path.name}: memory on {target}", 0, 0)
    try:
        measure = case.measures(target, memory_request())
        runs = [measure(path), measure(path)]
    except UNMEASURED as err:
        gathered.failures |= {(digest, target, metric): str(err) for metric in metrics}
        return
    gathered.devices.setdefault(target, runs[0].facts)
    found, notes = evidence.of_runs(runs, digest, target)
    gathered.known |= found
    gathered.notes += notes
    gathered.notes += [f"{path.name} on {target}: {note}" for note in runs[0].notes]


def _checks(case: Case, model: Model, entry: ModelBudget, gathered: _Gathered) -> Iterator[Check]:
    known = limits.Known(facts=gathered.known, failures=gathered.failures, stored=case.stored)
    for ceiling in entry.ceilings:
        if _left_out(case, ceiling.target, model, ceiling.metric, gathered):
            continue
        yield limits.check_ceiling(model, ceiling, known)
    for score in entry.scores:
        yield limits.check_score(model, score, known)
    if entry.ops is not None:
        yield limits.check_ops(model, entry.ops, known)
    for number, latency in enumerate(entry.latency):
        if _left_out(case, latency.target, model, "latency", gathered):
            continue
        doing = f"{model.name}: latency on {latency.target}, {conditions_text(latency)}"
        try:
            measured = timing.measure(
                model, latency, measure=case.measures, budget=case.budget, seed=case.seed + number,
                on_pair=lambda done, total, doing=doing: case.on_step(doing, done, total),   # type: ignore[misc]
            )
        except UNMEASURED as err:
            yield from timing.unmeasured(model, latency, str(err))
            continue
        if measured.processes:
            gathered.samples[measured.key] = measured.processes
        if measured.facts is not None:
            gathered.devices.setdefault(latency.target, measured.facts)
        yield from timing.checks(model, latency, measured, case.budget)


def _left_out(case: Case, target: str, model: Model, what: str, gathered: _Gathered) -> bool:
    if not case.only or not target or target in case.only:
        return False
    asked = ", ".join(case.only)
    gathered.notes.append(f"{model.name}: {what} on {target} was not checked: only {asked} was asked for")
    return True


def _waived(check: Check, waivers: Sequence[Waiver], today: datetime.date) -> Check:
    if check.rule == limits.OPENS:
        return check
    for waiver in waivers:
        if waiver.metric.value != check.metric:
            continue
        if today > waiver.until:
            found = f"the waiver of line {waiver.line} ended on {waiver.until} ({waiver.reason}): remove it"
            return replace(check, status=Status.FAIL, rule="waiver", sentence=f"{found}. {check.sentence}")
        if check.status in (Status.FAIL, Status.INCONCLUSIVE):
            found = f"waived until {waiver.until} ({waiver.reason})"
            return replace(check, status=Status.WAIVED, sentence=f"{found}: {check.sentence}")
        return replace(check, notes=(*check.notes, f"the waiver of line {waiver.line} is not needed"))
    return check


def _plain(facts: DeviceFacts) -> dict[str, str]:
    return {"name": facts.name, "system": facts.system, "processor": facts.processor, "cores": str(facts.cores),
            "features": ", ".join(facts.features), "runtime": facts.runtime, "runner": facts.runner,
            "governor": facts.governor}
