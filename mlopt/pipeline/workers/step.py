"""In the framework's worker: one step of a recipe, from the model that the last one left to the one that it leaves."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlopt import cache, plain, plugins, worker
from mlopt.data.samples import Samples, file_name
from mlopt.events import Doing, LatenciesWanted, ask, tell
from mlopt.frameworks import check_devices, open_model, open_trainable
from mlopt.frameworks.fitting import FitResult
from mlopt.frameworks.protocol import TrainableModel
from mlopt.pipeline.step_task import HOLDS, MODEL, RECORD, Later, StepTask
from mlopt.pipeline.workers.exporting import exporter_of
from mlopt.pipeline.workers.proving import GRAPH
from mlopt.report import StepFacts
from mlopt.steps import beforehand
from mlopt.steps.beforehand import Numbered
from mlopt.steps.protocol import Apply, Context, Done, Size
from mlopt.training import tracking
from mlopt.training.holding import read_holds, write_holds
from mlopt.training.objective import trainer
from mlopt.training.scoring import answers, score

GRAPH_SAMPLES = 1024             # of the validation samples: agreement to about half a point


def run_step(task: StepTask) -> None:
    started = time.monotonic()
    check_devices(task.source, task.strategy)
    tracking.check(task.track)
    settings = plain.from_plain(dict(task.settings), plugins.load_step(task.name))
    timed_in = settings.timed_in
    model = open_trainable(task.model)
    before, accuracy = _size(model), task.validation_before
    if accuracy is None:
        accuracy = score(model, task.validation, task.seed)
    task.work.mkdir(parents=True, exist_ok=True)
    context = Context(
        model=model, source=task.source, train=task.train, validation=task.validation, work=task.work,
        seed=task.seed, holds=read_holds(task.holds), strategy=task.strategy, track=task.track, logs=task.logs,
        on_event=lambda event: tell(Doing(**event)), open_model=open_trainable,
        latencies=None if timed_in is None else lambda folders: _latencies(task, timed_in, folders),
    )
    apply: Apply = plain.resolve(settings.apply)
    steps = [Numbered(number=task.number, step=settings), *map(_numbered, task.later)]
    beforehand.check(steps, context)
    train = trainer(settings, context)
    done = apply(settings, context, beforehand.watched(train, steps, context))
    if settings.epochs:
        done = replace(done, notes=(*done.notes, *train.objective(model).notes))
    with worker.result(task.dest) as folder:
        done.model.save(folder / MODEL)
        write_holds(folder / HOLDS, done.holds)
        _keep_grid(done, folder, task)
        facts = _facts(
            task, done, before=before, accuracy=accuracy, seconds=time.monotonic() - started
        )
        cache.write_record(folder / RECORD, facts)


def _numbered(later: Later) -> Numbered:
    return Numbered(number=later.number, step=plain.from_plain(dict(later.settings), plugins.load_step(later.name)))


# ---- what a step leaves --------------------------------------------------------------------------------------------


def _keep_grid(done: Done, folder: Path, task: StepTask) -> None:
    """The grid, and what the rounding network answers: the exported file is compared with it."""
    if done.grid is None:
        return
    shutil.copytree(done.grid.folder / "probes", folder / "probes")
    replace(done.grid, folder=folder).write()
    if done.gridded is not None:
        (folder / GRAPH).mkdir()
        samples = Samples.open(task.validation).spread(GRAPH_SAMPLES)
        outputs = answers(done.gridded, samples)
        for name, values in outputs.items():
            np.save(folder / GRAPH / file_name(name), values, allow_pickle=False)


def _facts(task: StepTask, done: Done, *, before: Size, accuracy: float, seconds: float) -> StepFacts:
    after, fits = _size(done.model), done.fits
    spent = sum(epoch.seconds for fit in fits for epoch in fit.epochs)
    return StepFacts(
        name=task.name, settings=dict(task.settings), seconds=max(seconds, spent),
        epochs=sum(len(fit.epochs) for fit in fits),
        validation_before=accuracy, validation=score(done.gridded or done.model, task.validation, task.seed),
        validation_samples=Samples.open(task.validation).count,
        macs_before=before.macs, macs=after.macs, parameters_before=before.parameters, parameters=after.parameters,
        nonzero=after.nonzero,
        waiting=_mean([(f.input.waiting, _seconds(f)) for f in fits]) if spent else float("nan"),
        samples_per_second=_mean([(f.input.samples_per_second, _seconds(f)) for f in fits]) if spent else float("nan"),
        replicas=max((fit.replicas for fit in fits), default=1),
        resumed_at=max((fit.resumed_at_step for fit in fits), default=0),
        history=tuple(plain.to_plain(epoch) for fit in fits for epoch in fit.epochs),
        facts=plain.to_plain(done.facts),
        notes=tuple(dict.fromkeys((
            *done.notes, *(n for f in fits for n in f.notes),
            *(f"input: {note}" for f in fits for note in (*f.input.applied, *f.input.advice)),
        ))),
    )


def _seconds(fit: FitResult) -> float:
    return sum(epoch.seconds for epoch in fit.epochs)


def _mean(weighted: Sequence[tuple[float, float]]) -> float:
    whole = sum(weight for _, weight in weighted)
    return sum(value * weight for value, weight in weighted) / whole


def _size(model: TrainableModel) -> Size:
    weights = model.weights()
    return Size(
        macs=model.network.macs, parameters=sum(w.size for w in weights.values()),
        nonzero=int(sum(np.count_nonzero(w) for w in weights.values())),
    )


def _latencies(task: StepTask, format: str, folders: Sequence[Path]) -> list[float]:
    """Microseconds of one int8 inference of each saved model: exported here, drafted and timed by another worker."""
    door = plugins.load_converter(format)
    exported = []
    for number, folder in enumerate(folders):
        tell(Doing(doing="exporting widths to time", done=number, total=len(folders)))
        model = open_model(task.source.beside(folder))
        target = folder / f"float{door.suffix}"
        plain.resolve(exporter_of(door, model.source.framework))(model, model.source.signature, target)
        exported.append(target)
    tell(Doing(doing="timing widths", done=0, total=len(folders)))
    return plain.from_plain(ask(LatenciesWanted(format=door.name, float_files=tuple(exported))), list[float])
