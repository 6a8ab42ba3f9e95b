"""One run: its stages put together, as many at once as can be, with nothing lost that was finished."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from mlopt import cache, extras, frameworks
from mlopt.convert.protocol import Converter
from mlopt.errors import MloptError, WorkerFailed
from mlopt.model import SourceModel
from mlopt.pipeline import stages
from mlopt.pipeline.collecting import collected
from mlopt.pipeline.format_files import FormatFiles
from mlopt.pipeline.product import Product
from mlopt.pipeline.promises import Promises
from mlopt.pipeline.request import CompressRequest, Wanted
from mlopt.pipeline.source_work import SourceWork
from mlopt.pipeline.timing import Sample, timed
from mlopt.pipeline.training import Training
from mlopt.pipeline.workers.files import Entries
from mlopt.pipeline.workers.gathering import GATHERED, Gathered
from mlopt.pipeline.workers.making import Making
from mlopt.pipeline.workers.proving import Proving
from mlopt.pipeline.workspace import Workspace
from mlopt.recipe.steps import Recipe
from mlopt.report import Candidate, Finding, Severity
from mlopt.worker import Cancelled


@dataclass(frozen=True, kw_only=True)
class Material:
    """Everything that workers made: folders in the cache and what was found on the way."""

    source: SourceModel
    calibration: Path                      # samples
    proof: Path                            # samples
    gathered: dict[str, Gathered]          # role -> facts; "calibration" and "test"
    reference: Path
    product: Product
    candidates: tuple[Candidate, ...]
    entries: dict[tuple[str, str], Entries]    # (format, precision) -> the file and its proof
    findings: tuple[Finding, ...]


class Run:
    """The state of one run; `go` is called once."""

    def __init__(
        self, request: CompressRequest, wanted: tuple[Wanted, ...], recipe: Recipe | None, at: Workspace
    ) -> None:
        self.request, self.wanted, self.recipe, self.at = request, wanted, recipe, at
        self.promises = Promises(floats={w.converter.name: Future() for w in wanted})
        self.source = SourceWork(request=request, recipe=recipe, at=at, promises=self.promises)

    def go(self) -> Material:
        with ThreadPoolExecutor(max_workers=8 + 2 * len(self.wanted)) as threads:
            parts = [threads.submit(self._guarded, part) for part in self._parts()]
            try:
                self._await(parts)
                candidates, entries = self._results()
            except BaseException:
                self.at.crew.stop()
                self.promises.break_all(Cancelled("the run was stopped"))
                raise
        promises = self.promises
        return Material(
            source=promises.source.result(),
            calibration=promises.calibration.result(),
            proof=promises.proof.result(),
            gathered=self._gathered(),
            reference=promises.reference.result(),
            product=promises.product.result(),
            candidates=tuple(candidates),
            entries=entries,
            findings=self.at.findings.in_order(tuple(f"{c.format}/{c.precision}" for c in candidates)),
        )

    def _parts(self) -> list[Callable[[], None]]:
        doors = [w.converter for w in self.wanted]
        together = [door for door in doors if not door.exports_apart]
        apart = [door for door in doors if door.exports_apart]
        if not together:
            together, apart = apart, []
        parts: list[Callable[[], None]]
        if self.recipe is None:
            self.promises.product.set_result(Product(model=self.request.model))
            parts = [lambda: self.source.open(together)]
        else:
            parts = [lambda: self.source.open([]), self._train, lambda: self._export(together)]
        parts += [lambda door=door: self._export([door]) for door in apart]         # type: ignore[misc]  # bound now
        if self.request.sources.named:
            parts.append(self._read_data)
        parts += [lambda one=one: self._make_format(one) for one in self.wanted]    # type: ignore[misc]  # bound now
        return parts

    def _guarded(self, part: Callable[[], None]) -> None:
        """A part that fails lets no other wait for what it will not deliver."""
        try:
            part()
        except BaseException as err:
            self.promises.break_all(err)
            raise

    def _await(self, parts: "list[Future[None]]") -> None:
        """Until all are done; the first that failed decides, and the rest are stopped."""
        pending = set(parts)
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when="FIRST_EXCEPTION")
            for part in done:
                error = part.exception()
                if error is not None and not isinstance(error, Cancelled):
                    raise error

    # ---- the parts -------------------------------------------------------------------------------------------

    def _read_data(self) -> None:
        promises, sources = self.promises, self.request.sources
        entry = stages.samples(self.at, sources, promises.source.result().signature, self.request.seed)
        self.at.report("data", "read", finished=True)
        if sources.data is not None or sources.train is not None:
            promises.keep(promises.calibration, entry / "calibration")
        promises.keep(promises.proof, entry / "test")

    def _train(self) -> None:
        assert self.recipe is not None
        samples = self.promises.proof.result().parent
        work = Training(
            request=self.request, recipe=self.recipe, signature=self.promises.source.result().signature,
            samples=samples, framework=frameworks.of(self.request.model).name, at=self.at,
        )
        self.promises.keep(self.promises.product, work.carry_out())

    def _export(self, doors: list[Converter]) -> None:
        """Export in a worker of its own, what has no file yet."""
        product = self.promises.product.result()
        for door in doors:
            entry: Path | None = None
            try:
                entry = stages.float_file(self.at, product, door, self.request.seed)
            except WorkerFailed as err:
                self.at.findings.add(Severity.FAILURE, "worker-failed", door.name, str(err))
            except MloptError as err:
                self.at.findings.add(Severity.FAILURE, "export-failed", door.name, str(err))
            self.promises.keep(self.promises.floats[door.name], entry)

    def _make_format(self, wanted: Wanted) -> None:
        name = wanted.converter.name
        float_entry = self.promises.floats[name].result()
        if float_entry is None:
            self.at.report(name, "not exported", finished=True)
            return
        self.promises.reference.result()
        self._files_of(wanted, float_entry).make_and_prove()
        self.at.report(name, "made and compared", finished=True)

    # ---- what they gave --------------------------------------------------------------------------------------

    def _files_of(self, wanted: Wanted, float_entry: Path) -> FormatFiles:
        promises, seed, grid = self.promises, self.request.seed, self.promises.product.result().grid
        source, calibration = promises.source.result(), promises.calibration.result()
        proof = promises.proof.result()
        making = Making(
            float_entry=float_entry, signature=source.signature, calibration=calibration, seed=seed, grid=grid
        )
        proving = Proving(
            source=source, float_entry=float_entry, samples=proof, samples_name=self.request.sources.proof_name,
            answers=promises.reference.result(), calibration=calibration,
            class_names=self._gathered()["test"].class_names, seed=seed, grid=grid,
            validation=proof.with_name("validation") if self.recipe is not None else None,
        )
        return FormatFiles(wanted=wanted, making=making, proving=proving, at=self.at)

    def _gathered(self) -> dict[str, Gathered]:
        """What is known of the samples of each role."""
        folders = [self.promises.calibration.result(), self.promises.proof.result()]
        if self.recipe is not None:
            folders += [self.promises.proof.result().with_name(name) for name in ("validation", "train")]
        return {f.name: cache.read_record(f.parent / GATHERED, dict[str, Gathered])[f.name] for f in folders}

    def _results(self) -> tuple[list[Candidate], dict[tuple[str, str], Entries]]:
        """The candidates in order, timed, and the entries of those that were made."""
        made = {}
        for one in self.wanted:
            float_entry = self.promises.floats[one.converter.name].result()
            if float_entry is not None:
                made[one.converter.name] = self._files_of(one, float_entry).entries
        candidates, entries = collected(self.wanted, made, self.request, self.at.findings)
        sample = Sample(signature=self.promises.source.result().signature, folder=self.promises.calibration.result())
        return timed(self.at, self.wanted, candidates, entries, sample), entries


def require_extras(wanted: tuple[Wanted, ...]) -> None:
    """Raise `MissingExtra` before any work where a format's packages are not installed."""
    for one in wanted:
        extras.require(one.converter.extra, f"writing {one.converter.name} files")
