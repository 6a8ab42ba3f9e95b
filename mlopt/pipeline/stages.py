"""The stages of a run, each a function of its own: what is kept is given back, what is not is made in a worker first.

A run puts them together and lets them overlap (`mlopt.pipeline.run`); a search, a notebook or an orchestrator calls
those that it needs. Each gives the folder of its result in the cache, or what stands there. `docs/how-to/stages.md`
has an example.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlopt import cache, frameworks, plugins
from mlopt.convert.protocol import Converter, Precision
from mlopt.data.readers.python import is_entry
from mlopt.errors import MloptError
from mlopt.events import Doing, Event, NotMade, Question, Refused, answered, heard
from mlopt.location import ModelLocation
from mlopt.model import Signature, SourceModel
from mlopt.pipeline.product import Product
from mlopt.pipeline.request import SampleSources
from mlopt.pipeline.workers import files, gathering, source
from mlopt.pipeline.workers.answering import Asked
from mlopt.pipeline.workers.files import Entries, FormatTask
from mlopt.pipeline.workers.gathering import DataTask
from mlopt.pipeline.workers.making import RECORD, FileFacts, Making, file_in, skipped
from mlopt.pipeline.workers.opening import SOURCE
from mlopt.pipeline.workers.proving import RECORD as PROOF
from mlopt.pipeline.workers.proving import Proof, Proving
from mlopt.pipeline.workers.source import SourceTask
from mlopt.pipeline.workspace import Workspace
from mlopt.report import Candidate
from mlopt.sandbox import Reach
from mlopt.worker import Granting, Job

Hear = Callable[[Event], None]
Answer = Callable[[Question], object]


def opened(at: Workspace, location: ModelLocation) -> SourceModel:
    """What the model is. Raises `ModelUnreadable` or `UntrustedCode`."""
    entry = at.entries.opened(location)
    if not entry.exists():
        run_source(at, SourceTask(location=location, describe=entry), "opening the model", unheard)
    return described(entry, location)


def described(entry: Path, location: ModelLocation) -> SourceModel:
    """The description kept in `entry`: the same content may have been opened under another name."""
    return replace(cache.read_record(entry / SOURCE, SourceModel), path=location.path)


def synthesised(at: Workspace, location: ModelLocation, seed: int = 0) -> Path:
    """Inputs made from the model itself: folders `calibration` and `test`."""
    entry = at.entries.synthesised(location, seed)
    if not entry.exists():
        task = SourceTask(location=location, describe=at.entries.opened(location), synthesise=entry, seed=seed)
        run_source(at, task, "synthesising inputs", unheard)
    return entry


def samples(at: Workspace, sources: SampleSources, signature: Signature, seed: int = 0) -> Path:
    """The samples that were named, read once: a folder a role. Raises `DataUnreadable` or `DataMismatch`."""
    entry = at.entries.samples(sources, signature, seed)
    if entry.exists():
        return entry
    task = DataTask(
        data=sources.data, test=sources.test, train=sources.train, preparation=sources.preparation,
        signature=signature, dest=entry, limits=sources.limits, seed=seed,
    )

    def hear(event: Event) -> None:
        if isinstance(event, Doing):
            at.report("data", event.doing, done=event.done, total=event.total)

    theirs = any(is_entry(named) for named in sources.named)
    job = Job(
        task="reading the data", function=gathering.gather, arguments={"task": task},
        sees=None if theirs else (), user_modules=theirs, leaves=(entry,),
        # a folder of pictures may consist of links to anywhere, and a user's function may need the network
        reach=None if theirs else Reach(reads=None),
    )
    at.crew.run(job, type(None), heard(hear))
    return entry


def answers(at: Workspace, location: ModelLocation, samples: Path, name: str, seed: int = 0) -> Path:
    """What the model answers on a folder of samples, and its own figures there; `name` says which samples they are."""
    entry = at.entries.answers(location, samples, name, seed)
    if not entry.exists():
        task = SourceTask(location=location, describe=at.entries.opened(location), answers=True, seed=seed)
        asked = Asked(samples=samples, samples_name=name, dest=entry)
        run_source(at, task, "running the model", unheard, lambda _: Granting(answer=asked, leaves=(entry,)))
    return entry


def float_file(at: Workspace, product: Product, door: Converter, seed: int = 0) -> Path:
    """The float file of a format. Raises `MloptError` where the model cannot be written in it."""
    entry = at.entries.float_file(product, door)
    if not entry.exists():
        refused: list[str] = []

        def hear(event: Event) -> None:
            if isinstance(event, Refused):
                refused.append(event.message)

        task = SourceTask(
            location=product.model, describe=at.entries.opened(product.model), floats={door.name: entry}, seed=seed
        )
        run_source(at, task, f"exporting {door.name}", hear)
        if refused:
            raise MloptError(refused[0])
    return entry


def made(at: Workspace, door: Converter, precision: Precision, making: Making) -> Path:
    """One precision's file. Raises `MloptError` where it cannot be made, or makes no sense for this model."""
    entry = at.entries.made(door, precision, making)
    if not entry.exists():
        task = FormatTask(format=door.name, making=making, proving=None, entries={precision.name: Entries(made=entry)})
        _run_format(at, task)
    if reason := skipped(entry):
        raise MloptError(f"{door.name} {precision.name}: {reason}")
    return entry


def proven(at: Workspace, door: Converter, precision: Precision, making: Making, proving: Proving) -> Candidate:
    """One precision's file held against the answers of the model, on the samples of any role.

    What is chosen between belongs on the validation samples (`proving.samples_name` says which ones these are): a
    choice made on the test's samples makes their figures too good.
    """
    entry = made(at, door, precision, making)
    proof = at.entries.proof(entry, door, precision, proving)
    if not proof.exists():
        entries = {precision.name: Entries(made=entry, proof=proof)}
        _run_format(at, FormatTask(format=door.name, making=making, proving=proving, entries=entries))
    return candidate(door, precision, Entries(made=entry, proof=proof))


def candidate(door: Converter, precision: Precision, entries: Entries) -> Candidate:
    """A made and proven file as it stands in a report; `path` is within its entry."""
    assert entries.proof is not None
    facts = cache.read_record(entries.made / RECORD, FileFacts)
    proof = cache.read_record(entries.proof / PROOF, Proof)
    choices = dict(facts.choices) | ({"training graph": proof.training_graph} if proof.training_graph else {})
    storage = facts.storage
    return Candidate(
        format=door.name, precision=precision.name, about=precision.about, path=file_in(Path(), door.suffix).name,
        sha256=facts.sha256, bytes=facts.bytes, bytes_zipped=facts.bytes_zipped, verified=not proof.unverified,
        evidence=proof.evidence, contract=proof.contract, weights_by_dtype=storage.weights_by_dtype,
        ops_by_dtype=storage.ops_by_dtype, layers=storage.layers, overhead_bytes=storage.overhead_bytes,
        layer_errors=proof.layer_errors, choices=choices,
    )


# ---- the workers of these stages -----------------------------------------------------------------------------------


def run_source(
    at: Workspace, task: SourceTask, words: str, hear: Hear, answer: Answer | None = None
) -> None:
    """Open a model in its framework's worker, and make what the task asks for."""
    leaves = [task.describe, *task.floats.values(), *([task.synthesise] if task.synthesise is not None else [])]
    job = Job(
        task=words, function=source.work, arguments={"task": task}, sees=(frameworks.of(task.location).name,),
        user_modules=task.location.imports_user_code, leaves=tuple(leaves),
        reach=Reach(reads=(task.location.path, at.store.root)),
    )
    at.crew.run(job, type(None), heard(hear), None if answer is None else answered(answer))


def run_format(at: Workspace, task: FormatTask, hear: Hear) -> None:
    """Make and prove files in a worker that sees no framework."""
    leaves = [entry for each in task.entries.values() for entry in (each.made, each.proof) if entry is not None]
    job = Job(
        task=f"making {task.format} files", function=files.make_and_prove, arguments={"task": task},
        sees=plugins.load_converter(task.format).sees,
        leaves=tuple(leaves), reach=Reach(reads=(at.store.root,)),
    )
    at.crew.run(job, type(None), heard(hear))


def _run_format(at: Workspace, task: FormatTask) -> None:
    """As `run_format`, for one precision; raises what it could not be made for."""
    failed: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, NotMade):
            failed.append(event.message)

    run_format(at, task, hear)
    if failed:
        raise MloptError(failed[0])


def unheard(event: Event) -> None:
    """For who waits for the result alone."""
    del event
