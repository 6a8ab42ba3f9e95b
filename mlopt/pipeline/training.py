"""The caller's side of a recipe: each step in a worker, its result kept under everything that it depends on."""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlopt import cache, files, plain, plugins
from mlopt.cache import Cache
from mlopt.data.samples import Samples
from mlopt.errors import OutputUnwritable, WorkerCrashed
from mlopt.frameworks.fitting import Strategy
from mlopt.frameworks.sniff import check_kind
from mlopt.grid import FILE as GRID
from mlopt.location import ModelLocation
from mlopt.model import Signature
from mlopt.pipeline.progress import OnProgress, Progress
from mlopt.pipeline.request import CompressRequest
from mlopt.pipeline.step_task import HOLDS, MODEL, RECORD, Later, StepTask
from mlopt.profiling import bursts
from mlopt.recipe.steps import Recipe, Step
from mlopt.report import StepFacts, Trained
from mlopt.sandbox import Network, Reach
from mlopt.training import tracking
from mlopt.words import span
from mlopt.worker import Crew, Job

_DEADLINE_S = 7 * 24 * 3600.0        # a week: a training takes what it takes, and tells that it lives
_PART = "training"
_CLUSTERS = (Strategy.MULTI_WORKER, Strategy.PARAMETER_SERVER)
_SEVERAL_GPUS = (Strategy.AUTO, Strategy.MIRRORED)      # they find each other by sockets
_GPUS = "nvidia[0-9]*"


@dataclass(frozen=True, kw_only=True)
class Product:
    """The model that files are exported from: what the recipe's last step left, or the source itself."""

    model: ModelLocation
    folder: Path | None = None           # of the last step: grid and probes may lie in it
    trained: Trained | None = None

    @property
    def grid(self) -> Path | None:
        """The folder of the grid that the model was trained on, if it was."""
        return self.folder if self.folder is not None and (self.folder / GRID).exists() else None

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides what is exported: part of the keys of files."""
        return self.model.identity | ({"grid": files.digest(self.grid / GRID)} if self.grid is not None else {})


@dataclass(frozen=True, kw_only=True)
class Training:
    """Carries out the steps of one recipe, one after the other."""

    request: CompressRequest
    recipe: Recipe
    signature: Signature
    samples: Path                        # entry with train/ and validation/
    crew: Crew
    store: Cache
    on_progress: OnProgress

    def carry_out(self) -> Product:
        model, holds, folder = self.request.model, None, None
        depends: dict[str, Any] = {
            **model.identity, "samples": self.samples.name, "seed": self.request.seed,
            "strategy": self.request.strategy,
        }
        facts: list[StepFacts] = []
        for number, step in enumerate(self.recipe.steps, 1):
            settings = plain.to_plain(step)
            named = _digests(step, self.request.model)
            depends = {"after": depends, "step": step.name, "settings": settings, "files": named}
            entry = self.store.entry("step", **depends)
            if not entry.exists():
                task = self._task(number, model=model, holds=holds, entry=entry)
                self._run(replace(task, validation_before=facts[-1].validation) if facts else task)
            record = cache.read_record(entry / RECORD, StepFacts)
            words = f"{step.name} ({number} of {len(self.recipe.steps)})"
            known = not math.isnan(record.validation)
            words += f": validation {record.validation:.4f}" if known else ": done"
            self.on_progress(Progress(part=_PART, doing=words))
            facts.append(record)
            model, holds, folder = model.beside(entry / MODEL), entry / HOLDS, entry
        self.on_progress(Progress(part=_PART, doing="trained", finished=True))
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
            train=self.samples / "train", validation=self.samples / "validation",
            work=self.store.root / f"work-{entry.name.rpartition('-')[2]}", dest=entry, seed=request.seed,
            strategy=Strategy(request.strategy), track=request.track,
            logs=request.out.with_name(f"{request.out.name}-logs") / entry.name.rpartition("-")[2][:8],
        )

    def _run(self, task: StepTask) -> None:
        job = Job(
            task=f"the recipe's step {task.number}, {task.name}", function="mlopt.pipeline.step_stage:run_step",
            arguments={"task": task}, sees=("keras",), user_modules=task.model.imports_user_code,
            deadline_s=_DEADLINE_S, leaves=(task.dest, self.store.root / "teacher-*"),
            reach=step_reach(task, self.store.root, os.environ),
        )

        def hear(event: dict[str, Any]) -> None:
            for used in (task.work, self.samples, task.model.path.parent):   # what is in use stays in the cache
                self.store.touch(used)
            self.on_progress(Progress(
                part=_PART, doing=_words(task.name, event), detail=_detail(event), done=event.get("done", 0),
                total=event.get("total", 0), stays=event.get("stays", False),
            ))

        with _alone(task.work, self.store.root / "locks"):
            if not task.dest.exists():          # another run may have finished it since we looked
                for folder in (task.work, task.logs):           # what is not there cannot be opened to a worker
                    folder.mkdir(parents=True, exist_ok=True)
                try:
                    self.crew.run(job, type(None), hear, self._answer)
                except WorkerCrashed as err:
                    if not err.killed:
                        raise
                    how = f"{err.how}. The same command goes on from its last checkpoint"
                    raise WorkerCrashed(err.task, how, err.last_words, killed=True) from err
            shutil.rmtree(task.work, ignore_errors=True)
            for folder in (task.logs, task.logs.parent):        # nothing was trained
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _answer(self, question: str) -> Any:
        """What a step asks for: the latencies of drafted files, timed where no training framework is loaded."""
        float_files = json.loads(question)["latencies"]
        by_process = []
        for number in range(bursts.PROCESSES):
            job = Job(
                task="timing narrower networks", function="mlopt.profiling.bursts:time_drafts",
                arguments={"format": "tflite", "float_files": float_files, "signature": self.signature,
                           "samples": self.samples / "validation", "seed": number},
                reach=Reach(reads=(self.store.root,)),
            )
            by_process.append(self.crew.run(job, list[float]))
            self.on_progress(Progress(part=_PART, doing="timing widths", done=number + 1, total=bursts.PROCESSES))
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


def _words(name: str, event: Mapping[str, Any]) -> str:
    """One line on what a step is doing.

    >>> _words("slim", {"doing": "training", "epoch": 2, "epochs": 5})
    'slim: training, epoch 2 of 5'
    """
    words = f"{name}: {event.get('doing', 'working')}"
    return f"{words}, epoch {event['epoch']} of {event['epochs']}" if "epoch" in event else words


def _detail(event: Mapping[str, Any]) -> str:
    """What changes all the time.

    >>> _detail({"doing": "training", "loss": 0.5, "validation": float("nan"), "left_s": 90.0})
    'loss 0.500, 1 min 30 s left'
    """
    words: dict[str, Callable[[float], str]] = {
        "loss": "loss {:.3f}".format, "validation": "validation {:.4f}".format,
        "left_s": lambda seconds: f"{span(seconds)} left",
    }
    known = {key: value for key in words if math.isfinite(value := event.get(key, math.nan))}
    return ", ".join(words[key](value) for key, value in known.items())


@contextlib.contextmanager
def _alone(work: Path, locks: Path) -> Iterator[None]:
    """Hold a step for this run: its half-done work is continued by one process at a time."""
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"{work.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise OutputUnwritable(
                work, "another mlopt run is training the same step of the same recipe",
                "Wait for it: its result will be used.",
            ) from err
        yield


def step_reach(task: StepTask, store: Path, environment: Mapping[str, str]) -> Reach | None:
    """What the worker of a step may reach: its models, its samples, its half-done work; more where others take part."""
    step = plain.from_plain(dict(task.settings), plugins.load_step(task.name))
    reads = (task.source.path, *map(Path, step.model_files()), store)
    writes: tuple[Path, ...] = (task.work, task.logs)
    network = Network.NOTHING
    if task.strategy in _CLUSTERS or (task.strategy in _SEVERAL_GPUS and len(list(Path("/dev").glob(_GPUS))) > 1):
        network = Network.LOOPBACK
    given = task.strategy in _CLUSTERS and environment.get("TF_CONFIG")      # a step that trains alone ignores it
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
        check_kind(Path(path))
        found[path] = source.beside(Path(path)).digest
    return found
