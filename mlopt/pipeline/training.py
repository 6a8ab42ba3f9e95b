"""The caller's side of a recipe: each step in a worker, its result kept under everything that it depends on."""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mlopt import cache, frameworks, plain, plugins
from mlopt.data.samples import Samples
from mlopt.errors import OutputUnwritable, WorkerCrashed
from mlopt.events import Doing, Event, LatenciesWanted, Question, answered, heard
from mlopt.frameworks.fitting import Strategy
from mlopt.location import ModelLocation
from mlopt.locks import held
from mlopt.model import Signature
from mlopt.pipeline.product import Product
from mlopt.pipeline.progress import Progress
from mlopt.pipeline.request import CompressRequest
from mlopt.pipeline.step_task import HOLDS, MODEL, RECORD, Later, StepTask
from mlopt.pipeline.workers.step import run_step
from mlopt.pipeline.workspace import Workspace
from mlopt.profiling import bursts
from mlopt.recipe.steps import Recipe, Step
from mlopt.report import StepFacts, Trained
from mlopt.sandbox import Network, Reach
from mlopt.training import tracking
from mlopt.words import span
from mlopt.worker import Job

_DEADLINE_S = 7 * 24 * 3600.0        # a week: a training takes what it takes, and tells that it lives
_PART = "training"
_CLUSTERS = (Strategy.MULTI_WORKER, Strategy.PARAMETER_SERVER)
_SEVERAL_GPUS = (Strategy.AUTO, Strategy.MIRRORED)      # they find each other by sockets
_GPUS = "nvidia[0-9]*"


@dataclass(frozen=True, kw_only=True)
class Training:
    """Carries out the steps of one recipe, one after the other."""

    request: CompressRequest
    recipe: Recipe
    signature: Signature
    samples: Path                        # entry with train/ and validation/
    framework: str                       # the name of the door that opens the model
    at: Workspace

    def carry_out(self) -> Product:
        model, holds, folder = self.request.model, None, None
        depends: dict[str, Any] = {
            "model": model.identity, "samples": self.samples.name, "seed": self.request.seed,
            "strategy": self.request.strategy,
        }
        facts: list[StepFacts] = []
        for number, step in enumerate(self.recipe.steps, 1):
            settings = plain.to_plain(step)
            named = _digests(step, self.request.model)
            depends = {"after": depends, "step": step.name, "settings": settings, "files": named}
            entry = self.at.entries.step(self.request.model, self.recipe.steps[:number], depends)
            if not entry.exists():
                task = self._task(number, model=model, holds=holds, entry=entry)
                self._run(replace(task, validation_before=facts[-1].validation) if facts else task)
            record = cache.read_record(entry / RECORD, StepFacts)
            words = f"{step.name} ({number} of {len(self.recipe.steps)})"
            known = not math.isnan(record.validation)
            words += f": validation {record.validation:.4f}" if known else ": done"
            self.at.report(_PART, words)
            facts.append(record)
            model, holds, folder = model.beside(entry / MODEL), entry / HOLDS, entry
        self.at.report(_PART, "trained", finished=True)
        return Product(model=model, folder=folder, trained=self._trained(tuple(facts)))

    def _task(self, number: int, *, model: ModelLocation, holds: Path | None, entry: Path) -> StepTask:
        request, steps = self.request, self.recipe.steps
        later = [
            Later(number=at, name=step.name, settings=plain.to_plain(step))
            for at, step in enumerate(steps[number:], number + 1)
        ]
        return StepTask(
            number=number, name=steps[number - 1].name, settings=plain.to_plain(steps[number - 1]), later=tuple(later),
            model=model, holds=holds, validation_before=None, source=request.model,
            framework=self.framework,
            train=self.samples / "train", validation=self.samples / "validation",
            work=self.at.store.root / f"work-{entry.name.rpartition('-')[2]}", dest=entry, seed=request.seed,
            strategy=Strategy(request.strategy), track=request.track,
            logs=request.out.with_name(f"{request.out.name}-logs") / entry.name.rpartition("-")[2][:8],
        )

    def _run(self, task: StepTask) -> None:
        job = Job(
            task=f"the recipe's step {task.number}, {task.name}", function=run_step, arguments={"task": task},
            sees=(task.framework,), user_modules=task.model.imports_user_code,
            deadline_s=_DEADLINE_S, leaves=(task.dest, self.at.store.root / "teacher-*"),
            reach=step_reach(task, self.at.store.root, os.environ),
        )

        def hear(event: Event) -> None:
            for used in (task.work, self.samples, task.model.path.parent):   # what is in use stays in the cache
                self.at.store.touch(used)
            if isinstance(event, Doing):
                self.at.on_progress(Progress(
                    part=_PART, doing=_words(task.name, event), detail=_detail(event), done=event.done,
                    total=event.total, stays=event.stays,
                ))

        with _alone(task.work, self.at.store.root / "locks"):
            if not task.dest.exists():          # another run may have finished it since we looked
                for folder in (task.work, task.logs):           # what is not there cannot be opened to a worker
                    folder.mkdir(parents=True, exist_ok=True)
                try:
                    self.at.crew.run(job, type(None), heard(hear), answered(partial(self._answer, task)))
                except WorkerCrashed as err:
                    if not err.killed:
                        raise
                    how = f"{err.how}. The same command goes on from its last checkpoint"
                    raise WorkerCrashed(err.task, how, err.last_words, killed=True) from err
            shutil.rmtree(task.work, ignore_errors=True)
            for folder in (task.logs, task.logs.parent):        # nothing was trained
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _answer(self, task: StepTask, question: Question) -> list[float]:
        """What a step asks for: the latencies of drafted files, timed where no training framework is loaded."""
        assert isinstance(question, LatenciesWanted), question
        by_process = []
        for number in range(bursts.PROCESSES):
            job = Job(
                task="timing narrower networks", function=bursts.time_drafts,
                sees=plugins.load_converter(question.format).sees,
                arguments={"format": question.format, "float_files": question.float_files, "signature": self.signature,
                           "samples": self.samples / "validation", "seed": number},
                reach=Reach(reads=(self.at.store.root,), writes=(task.work,)),     # drafts stand beside float files
            )
            by_process.append(self.at.crew.run(job, list[float]))
            self.at.report(_PART, "timing widths", done=number + 1, total=bursts.PROCESSES)
        return bursts.combined(by_process)

    def _trained(self, steps: tuple[StepFacts, ...]) -> Trained:
        text = json.dumps(plain.to_plain(self.recipe), sort_keys=True)
        return Trained(
            recipe=self.request.recipe or "", about=self.recipe.about,
            sha256=hashlib.sha256(text.encode()).hexdigest(), train=self.request.train or "",
            train_samples=Samples.open(self.samples / "train").count,
            validation_samples=Samples.open(self.samples / "validation").count,
            steps=steps, seconds=sum(step.seconds for step in steps),
        )


def _words(name: str, event: Doing) -> str:
    """One line on what a step is doing.

    >>> _words("slim", Doing(doing="training", epoch=2, epochs=5))
    'slim: training, epoch 2 of 5'
    """
    words = f"{name}: {event.doing}"
    return f"{words}, epoch {event.epoch} of {event.epochs}" if event.epoch else words


def _detail(event: Doing) -> str:
    """What changes all the time.

    >>> _detail(Doing(doing="training", loss=0.5, left_s=90.0))
    'loss 0.500, 1 min 30 s left'
    """
    known = {
        f"loss {event.loss:.3f}": event.loss, f"validation {event.validation:.4f}": event.validation,
        f"{span(event.left_s) if math.isfinite(event.left_s) else ''} left": event.left_s,
    }
    return ", ".join(words for words, value in known.items() if math.isfinite(value))


def _alone(work: Path, locks: Path) -> AbstractContextManager[None]:
    """Hold a step for this run: its half-done work is continued by one process at a time."""
    busy = OutputUnwritable(
        work, "another mlopt run is training the same step of the same recipe", "Wait for it: its result will be used.",
    )
    return held(locks / f"{work.name}.lock", refusal=busy)


def step_reach(task: StepTask, store: Path, environment: Mapping[str, str]) -> Reach | None:
    """What the worker of a step may reach: its models, its samples, its half-done work; more where others take part."""
    step = plain.from_plain(dict(task.settings), plugins.load_step(task.name))
    reads = (task.source.path, *map(Path, step.model_files()), store)
    writes: tuple[Path, ...] = (task.work, task.logs)
    network = Network.NOTHING
    if task.strategy in _CLUSTERS or (task.strategy in _SEVERAL_GPUS and len(list(Path("/dev").glob(_GPUS))) > 1):
        network = Network.LOOPBACK
    variable = plugins.load_framework(task.framework).cluster_variable if task.strategy in _CLUSTERS else ""
    given = bool(variable and environment.get(variable))        # a step that trains alone ignores it
    if task.track or given or task.strategy is Strategy.TPU:
        network = Network.EVERYTHING
    if not task.track:
        return Reach(reads=reads, writes=writes, network=network)
    if task.strategy in _CLUSTERS:
        return None                                     # its members ask for a network of their own
    writes = (*writes, *tracking.folders(task.track))
    return Reach(reads=None, writes=writes, network=network)        # a tracker reads its settings


def _digests(step: Step, source: ModelLocation) -> dict[str, str]:
    """Of the model files that a step names. A recipe names no other file: what it names, the step's worker may read."""
    found = {}
    for path in step.model_files():
        model = source.beside(Path(path))
        frameworks.of(model)                    # raises for what is no model
        found[path] = model.digest
    return found
