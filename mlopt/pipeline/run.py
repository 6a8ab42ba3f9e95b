"""One run from the caller's side: start workers, collect what they made, and lose nothing that was finished."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlopt import cache, extras
from mlopt.cache import Cache
from mlopt.data.identity import identity
from mlopt.data.materialise import CALIBRATION_SAMPLES
from mlopt.data.readers.python import is_entry
from mlopt.errors import WorkerFailed
from mlopt.model import SourceModel
from mlopt.pipeline.collecting import collected
from mlopt.pipeline.data_stage import GATHERED, DataTask, Gathered
from mlopt.pipeline.format_stage import FormatTask
from mlopt.pipeline.opening import source_in
from mlopt.pipeline.progress import Findings, OnProgress, Progress
from mlopt.pipeline.request import (
    HOLDOUT_SAMPLES,
    SYNTHESISED_SAMPLES,
    TEST_SAMPLES,
    VALIDATION_SAMPLES,
    CompressRequest,
    Wanted,
)
from mlopt.pipeline.source_stage import ReferenceTask, SourceTask
from mlopt.pipeline.timing import Bench
from mlopt.pipeline.training import Product, Training
from mlopt.recipe.steps import Recipe
from mlopt.report import Candidate, Finding, Severity
from mlopt.sandbox import Reach
from mlopt.worker import Cancelled, Crew, Granting, Job

_SYNTHESISED_FOR_CALIBRATION = 128    # of SYNTHESISED_SAMPLES; the rest are compared on


@dataclass(frozen=True, kw_only=True)
class Material:
    """Everything that workers made: folders in the cache and what was found on the way."""

    source: SourceModel
    calibration: Path                      # samples
    proof: Path                            # samples
    gathered: dict[str, Gathered]          # role -> facts; "calibration" and "test"
    proof_name: str                        # "test", "holdout", "synthesised"
    reference: Path
    product: Product
    candidates: tuple[Candidate, ...]
    entries: dict[tuple[str, str], Path]   # (format, precision) -> folder with the file
    findings: tuple[Finding, ...]


class Run:
    """The state of one run; `go` is called once."""

    def __init__(
        self, request: CompressRequest, wanted: tuple[Wanted, ...], recipe: Recipe | None, *, crew: Crew, store: Cache,
        on_progress: OnProgress,
    ) -> None:
        self.request, self.wanted, self.crew, self.store, self.on_progress = request, wanted, crew, store, on_progress
        self.recipe = recipe
        self.product: Future[Product] = Future()       # what files are exported from
        self.findings = Findings()
        self.source: Future[SourceModel] = Future()
        self.calibration: Future[Path] = Future()      # folders of samples
        self.proof: Future[Path] = Future()
        self.reference: Future[Path] = Future()
        self.floats: dict[str, Future[Path | None]] = {w.converter.name: Future() for w in wanted}
        self._lock = threading.Lock()

    def go(self) -> Material:
        with ThreadPoolExecutor(max_workers=8 + 2 * len(self.wanted)) as threads:
            parts = [threads.submit(self._guarded, part) for part in self._parts()]
            try:
                self._await(parts)
                candidates, entries = self._results()
            except BaseException:
                self.crew.stop()
                self._fail_all(Cancelled("the run was stopped"))
                raise
        return Material(
            source=self.source.result(),
            calibration=self.calibration.result(),
            proof=self.proof.result(),
            gathered=self._gathered(),
            proof_name=self._proof_name(),
            reference=self.reference.result(),
            product=self.product.result(),
            candidates=tuple(candidates),
            entries=entries,
            findings=self.findings.in_order(tuple(f"{c.format}/{c.precision}" for c in candidates)),
        )

    def _parts(self) -> list[Callable[[], None]]:
        together = [w.converter.name for w in self.wanted if not w.converter.exports_apart]
        apart = [w.converter.name for w in self.wanted if w.converter.exports_apart]
        if not together:
            together, apart = apart, []
        parts: list[Callable[[], None]]
        if self.recipe is None:
            self.product.set_result(Product(model=self.request.model))
            parts = [lambda: self._open_source(together)]
        else:
            parts = [lambda: self._open_source([]), self._train, lambda: self._export_apart(together)]
        parts += [lambda name=name: self._export_apart([name]) for name in apart]   # type: ignore[misc]  # bound now
        if self._reads_data():
            parts.append(self._read_data)
        parts += [lambda one=one: self._make_format(one) for one in self.wanted]  # type: ignore[misc]  # bound now
        return parts

    def _guarded(self, part: Callable[[], None]) -> None:
        """A part that fails lets no other wait for what it will not deliver."""
        try:
            part()
        except BaseException as err:
            self._fail_all(err)
            raise

    def _fail_all(self, err: BaseException) -> None:
        futures: list[Future[Any]] = [
            self.source, self.calibration, self.proof, self.reference, self.product, *self.floats.values(),
        ]
        with self._lock:
            for future in futures:
                if not future.done():
                    future.set_exception(err)

    def _await(self, parts: "list[Future[None]]") -> None:
        """Until all are done; the first that failed decides, and the rest are stopped."""
        pending = set(parts)
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when="FIRST_EXCEPTION")
            for part in done:
                error = part.exception()
                if error is not None and not isinstance(error, Cancelled):
                    raise error

    # ---- the source ------------------------------------------------------------------------------------------

    def _open_source(self, formats: list[str]) -> None:
        describe = self.store.entry("source", **self.request.model.identity)
        entries = {name: self._float_entry(name) for name in formats}
        synthesise = None
        if self.request.data is None and self.recipe is None:
            synthesise = self.store.entry(
                "synthesised", **self.request.model.identity, count=SYNTHESISED_SAMPLES, seed=self.request.seed
            )
        if describe.exists() and all(e.exists() for e in entries.values()):
            self._source_ready(describe)
            for name in formats:
                self._float_ready(name, entries[name])
            if synthesise is not None and synthesise.exists():
                self._synthesised(synthesise)
            if synthesise is None or synthesise.exists():
                reference = self._reference_entry()
                if reference.exists():
                    self._set(self.reference, reference)
                    return
        task = SourceTask(
            location=self.request.model, describe=describe, floats=entries, synthesise=synthesise,
            synthesised_count=SYNTHESISED_SAMPLES, calibration_count=_SYNTHESISED_FOR_CALIBRATION,
            seed=self.request.seed, reference=True,
        )

        exporting = ""

        def hear(event: dict[str, Any]) -> None:
            nonlocal exporting
            exporting = event.get("exporting", "")
            ready = event.get("ready")
            if ready == "source":
                self._source_ready(describe)
            elif ready == "synthesised":
                assert synthesise is not None
                self._synthesised(synthesise)
            elif ready == "reference":
                self._set(self.reference, self._reference_entry())
            elif ready is not None:
                self._float_ready(ready, entries[ready])
            self._hear_export(event)

        def answer(question: str) -> Granting | None:
            assert question == "reference"
            entry = self._reference_entry()
            if entry.exists():
                self._set(self.reference, entry)
                return None
            wanted = ReferenceTask(samples=self.proof.result(), samples_name=self._proof_name(), dest=entry)
            return Granting(answer=wanted, leaves=(entry,))

        while True:
            try:
                self._run_source(task, "opening and exporting the model", hear, answer)
                break
            except WorkerFailed as err:
                if not exporting:
                    raise
                self.findings.add(Severity.FAILURE, "worker-failed", exporting, str(err))
                self._float_ready(exporting, None)       # another worker goes on with the other formats
                task = replace(task, floats={n: entry for n, entry in entries.items() if not self.floats[n].done()})
        self._report(Progress(part="source", doing="exported", finished=True))

    def _train(self) -> None:
        assert self.recipe is not None
        samples = self.proof.result().parent
        work = Training(
            request=self.request, recipe=self.recipe, signature=self.source.result().signature, samples=samples,
            crew=self.crew, store=self.store, on_progress=self.on_progress,
        )
        self._set(self.product, work.carry_out())

    def _export_apart(self, names: list[str]) -> None:
        """Export in a worker of its own, what has no file yet."""
        product = self.product.result()
        for name in names:
            entry = self._float_entry(name)
            if not entry.exists():
                task = SourceTask(
                    location=product.model, describe=self.store.entry("source", **product.model.identity),
                    floats={name: entry}, seed=self.request.seed,
                )
                try:
                    self._run_source(task, f"exporting {name}", self._hear_export, None)
                except WorkerFailed as err:
                    self.findings.add(Severity.FAILURE, "worker-failed", name, str(err))
            self._float_ready(name, entry if entry.exists() else None)

    def _run_source(self, task: SourceTask, words: str, hear: Callable[[dict[str, Any]], None], answer: Any) -> None:
        leaves = (task.describe, *task.floats.values())
        if task.synthesise is not None:
            leaves = (*leaves, task.synthesise)
        job = Job(
            task=words, function="mlopt.pipeline.source_stage:export_source", arguments={"task": task},
            sees=("keras",), user_modules=task.location.imports_user_code, leaves=leaves,
            reach=Reach(reads=(task.location.path, self.store.root)),
        )
        self.crew.run(job, type(None), hear, answer)

    def _hear_export(self, event: dict[str, Any]) -> None:
        if "refused" in event:
            self.findings.add(Severity.FAILURE, "export-failed", event["refused"], event["message"])
            self._float_ready(event["refused"], None)
        elif "doing" in event:
            self._report(Progress(
                part="source", doing=event["doing"], done=event.get("done", 0), total=event.get("total", 0)
            ))

    def _float_entry(self, name: str) -> Path:
        return self.store.entry("float", **self.product.result().identity, format=name)

    def _source_ready(self, entry: Path) -> None:
        self._set(self.source, source_in(entry, self.request.model.path))

    def _float_ready(self, name: str, entry: Path | None) -> None:
        self._set(self.floats[name], entry)

    def _synthesised(self, entry: Path) -> None:
        self._set(self.calibration, entry / "calibration")
        if self.request.test is None:
            self._set(self.proof, entry / "test")

    def _reference_entry(self) -> Path:
        return self.store.entry("reference", **self.request.model.identity, samples=_entry_name(self.proof.result()))

    # ---- the data --------------------------------------------------------------------------------------------

    def _reads_data(self) -> bool:
        return any(source is not None for source in (self.request.data, self.request.test, self.request.train))

    def _read_data(self) -> None:
        request, source = self.request, self.source.result()
        limits = {
            "calibration": CALIBRATION_SAMPLES, "test": TEST_SAMPLES if request.test else HOLDOUT_SAMPLES,
            "validation": VALIDATION_SAMPLES,
        }
        entry = self.store.entry(
            "samples", data=request.data and identity(request.data), test=request.test and identity(request.test),
            train=request.train and identity(request.train),
            signature=source.signature, limits=limits, seed=request.seed,
            preparation=request.preparation,
        )
        if not entry.exists():
            task = DataTask(
                data=request.data, test=request.test, train=request.train, signature=source.signature, dest=entry,
                limits=limits, seed=request.seed, preparation=request.preparation,
            )

            def hear(event: dict[str, Any]) -> None:
                self._report(Progress(part="data", doing=event["doing"], done=event["done"], total=event["total"]))

            theirs = any(
                is_entry(source) for source in (request.data, request.test, request.train) if source is not None
            )
            job = Job(
                task="reading the data", function="mlopt.pipeline.data_stage:gather", arguments={"task": task},
                sees=None if theirs else (), user_modules=theirs, leaves=(entry,),
                # a folder of pictures may consist of links to anywhere, and a user's function may need the network
                reach=None if theirs else Reach(reads=None),
            )
            self.crew.run(job, type(None), hear)
        self._report(Progress(part="data", doing="read", finished=True))
        if request.data is not None or request.train is not None:
            self._set(self.calibration, entry / "calibration")
        self._set(self.proof, entry / "test")

    def _validation(self) -> Path | None:
        return self.proof.result().with_name("validation") if self.recipe is not None else None

    def _gathered(self) -> dict[str, Gathered]:
        """What is known of the samples of each role."""
        folders = [self.calibration.result(), self.proof.result()]
        if self.recipe is not None:
            folders += [self.proof.result().with_name(name) for name in ("validation", "train")]
        return {f.name: cache.read_record(f.parent / GATHERED, dict[str, Gathered])[f.name] for f in folders}

    def _proof_name(self) -> str:
        if self.request.test is not None:
            return "test"
        return "holdout" if self.request.data is not None or self.request.train is not None else "synthesised"

    # ---- the formats -----------------------------------------------------------------------------------------

    def _make_format(self, wanted: Wanted) -> None:
        name = wanted.converter.name
        float_entry = self.floats[name].result()
        if float_entry is None:
            self._report(Progress(part=name, doing="not exported", finished=True))
            return
        self.reference.result()
        entries = self._entries(wanted)
        left = [p for p, entry in entries.items() if not entry.exists()]
        while left:
            left = self._make_some(wanted, float_entry, {p: entries[p] for p in left})
        self._report(Progress(part=name, doing="made and compared", finished=True))

    def _make_some(self, wanted: Wanted, float_entry: Path, entries: dict[str, Path]) -> list[str]:
        """Make candidates in one worker; give back those that a crash left undone, the one that crashed not among."""
        name = wanted.converter.name
        begun: list[str] = []
        ended: set[str] = set()

        def hear(event: dict[str, Any]) -> None:
            if "begun" in event:
                begun.append(event["begun"])
                self._report(Progress(part=name, doing=event["begun"], done=len(ended), total=len(entries)))
            elif "failed" in event:
                ended.add(event["failed"])
                self.findings.add(Severity.FAILURE, "not-made", f"{name}/{event['failed']}", event["message"])
            elif "finished" in event:
                ended.add(event["finished"])

        task = FormatTask(
            format=name, source=self.source.result(), stem=self.request.model.stem,
            float_file=float_entry / f"float{wanted.converter.suffix}",
            calibration=self.calibration.result(), proof=self.proof.result(), proof_name=self._proof_name(),
            reference=self.reference.result(), entries=entries, class_names=self._gathered()["test"].class_names,
            seed=self.request.seed, grid=self.product.result().grid, validation=self._validation(),
        )
        job = Job(
            task=f"making {name} files", function="mlopt.pipeline.format_stage:make_and_prove",
            arguments={"task": task}, leaves=tuple(entries.values()), reach=Reach(reads=(self.store.root,)),
        )
        try:
            self.crew.run(job, type(None), hear)
        except WorkerFailed as err:
            crashed = next((p for p in reversed(begun) if p not in ended), None)
            about = f"{name}/{crashed}" if crashed else name
            self.findings.add(Severity.FAILURE, "worker-failed", about, str(err))
            return [p for p in entries if p not in ended and p != crashed] if crashed else []
        return []

    def _entries(self, wanted: Wanted) -> dict[str, Path]:
        samples = [_entry_name(self.calibration.result()), _entry_name(self.proof.result())]
        return {
            precision.name: self.store.entry(
                "candidate", **self.request.model.identity, made_from=self.product.result().identity,
                stem=self.request.model.stem,
                format=wanted.converter.name, precision=precision.name, samples=samples, seed=self.request.seed,
                proof=self._proof_name(),
            )
            for precision in wanted.precisions
        }

    def _results(self) -> tuple[list[Candidate], dict[tuple[str, str], Path]]:
        """The candidates in order, timed, and the entries of those that were made."""
        made = {
            one.converter.name: self._entries(one)
            for one in self.wanted if self.floats[one.converter.name].result() is not None
        }
        candidates, entries = collected(self.wanted, made, self.request.precisions, self.findings)
        bench = Bench(
            crew=self.crew, store=self.store, findings=self.findings, on_progress=self.on_progress,
            signature=self.source.result().signature, samples=self.calibration.result(),
        )
        return bench.timed(self.wanted, candidates, entries), entries

    # ---- small things ----------------------------------------------------------------------------------------

    def _set(self, future: "Future[Any]", value: Any) -> None:
        with self._lock:
            if not future.done():
                future.set_result(value)

    def _report(self, progress: Progress) -> None:
        self.on_progress(progress)


def _entry_name(samples: Path) -> str:
    """What names a folder of samples in the keys of later stages."""
    return f"{samples.parent.name}/{samples.name}"


def require_extras(wanted: tuple[Wanted, ...]) -> None:
    """Raise `MissingExtra` before any work where a format's packages are not installed."""
    for one in wanted:
        extras.require(one.converter.extra, f"writing {one.converter.name} files")
