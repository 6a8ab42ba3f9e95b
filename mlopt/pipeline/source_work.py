"""Everything that only the opened model can give, in one worker: starting its framework takes the longest."""

from dataclasses import dataclass, replace
from pathlib import Path

from mlopt.convert.protocol import Converter
from mlopt.errors import WorkerFailed
from mlopt.events import Answered, Doing, Event, Exported, Opened, Question, Refused, Synthesised
from mlopt.pipeline import stages
from mlopt.pipeline.promises import Promises
from mlopt.pipeline.request import CompressRequest
from mlopt.pipeline.workers.answering import Asked
from mlopt.pipeline.workers.source import SourceTask
from mlopt.pipeline.workspace import Workspace
from mlopt.recipe.steps import Recipe
from mlopt.report import Severity
from mlopt.worker import Granting


@dataclass(frozen=True, kw_only=True)
class SourceWork:
    """Opens the source of a run, and delivers what it gives as soon as it is there."""

    request: CompressRequest
    recipe: Recipe | None
    at: Workspace
    promises: Promises

    def open(self, doors: list[Converter]) -> None:
        """Description, inputs where no data was given, answers on the proof samples, float files of these formats."""
        task = self._task(doors)
        if self._is_kept(task):
            return
        while True:
            attempt = _Attempt(work=self, task=task)
            try:
                stages.run_source(self.at, task, "opening and exporting the model", attempt.hear, attempt.answer)
                break
            except WorkerFailed as err:
                if not attempt.exporting:
                    raise
                self.at.findings.add(Severity.FAILURE, "worker-failed", attempt.exporting, str(err))
                self.float_ready(attempt.exporting, None)       # another worker goes on with the other formats
                left = {name: entry for name, entry in task.floats.items() if not self.promises.floats[name].done()}
                task = replace(task, floats=left)
        self.at.report("source", "exported", finished=True)

    def _task(self, doors: list[Converter]) -> SourceTask:
        entries, request = self.at.entries, self.request
        synthesises = request.data is None and self.recipe is None
        product = self.promises.product.result() if doors else None
        return SourceTask(
            location=request.model, describe=entries.opened(request.model), seed=request.seed, answers=True,
            floats={} if product is None else {door.name: entries.float_file(product, door) for door in doors},
            synthesise=entries.synthesised(request.model, request.seed) if synthesises else None,
        )

    def _is_kept(self, task: SourceTask) -> bool:
        """Whether nothing of it is left to do; what is kept is delivered."""
        if not (task.describe.exists() and all(entry.exists() for entry in task.floats.values())):
            return False
        self.source_ready(task)
        for name, entry in task.floats.items():
            self.float_ready(name, entry)
        if task.synthesise is not None:
            if not task.synthesise.exists():
                return False
            self.synthesised(task)
        reference = self.reference()
        if reference.exists():
            self.promises.keep(self.promises.reference, reference)
        return reference.exists()

    def reference(self) -> Path:
        """Where the answers belong; waits for the samples."""
        request = self.request
        return self.at.entries.answers(
            request.model, self.promises.proof.result(), request.sources.proof_name, request.seed
        )

    def source_ready(self, task: SourceTask) -> None:
        self.promises.keep(self.promises.source, stages.described(task.describe, self.request.model))

    def synthesised(self, task: SourceTask) -> None:
        assert task.synthesise is not None
        self.promises.keep(self.promises.calibration, task.synthesise / "calibration")
        if self.request.test is None:
            self.promises.keep(self.promises.proof, task.synthesise / "test")

    def float_ready(self, name: str, entry: Path | None) -> None:
        self.promises.keep(self.promises.floats[name], entry)


@dataclass(kw_only=True)
class _Attempt:
    """One worker at the task."""

    work: SourceWork
    task: SourceTask
    exporting: str = ""         # the format that a crash would cost

    def hear(self, event: Event) -> None:
        work, promises = self.work, self.work.promises
        self.exporting = event.exporting if isinstance(event, Doing) else ""
        match event:
            case Opened():
                work.source_ready(self.task)
            case Synthesised():
                work.synthesised(self.task)
            case Answered():
                promises.keep(promises.reference, work.reference())
            case Exported(format=name):
                work.float_ready(name, self.task.floats[name])
            case Refused(format=name, message=message):
                work.at.findings.add(Severity.FAILURE, "export-failed", name, message)
                work.float_ready(name, None)
            case Doing():
                work.at.report("source", event.doing, done=event.done, total=event.total)

    def answer(self, question: Question) -> Granting | None:
        """Which samples to run the model on; None where that is done."""
        del question
        entry = self.work.reference()
        if entry.exists():
            self.work.promises.keep(self.work.promises.reference, entry)
            return None
        asked = Asked(
            samples=self.work.promises.proof.result(), samples_name=self.work.request.sources.proof_name, dest=entry
        )
        return Granting(answer=asked, leaves=(entry,))
