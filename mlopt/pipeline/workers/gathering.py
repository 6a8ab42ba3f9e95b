"""In a data worker: read what the user named, once, into folders that other workers map."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlopt import cache, worker
from mlopt.data import memory
from mlopt.data.dataset import Dataset, Request
from mlopt.data.fingerprint import SampleFingerprint, fingerprint
from mlopt.data.materialise import Progress, SamplesSummary, materialise, write_calibration_and_test, write_samples
from mlopt.data.preparation import Preparation
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.events import Doing, tell
from mlopt.model import Signature

GATHERED = "gathered.json"


@dataclass(frozen=True, kw_only=True)
class DataTask:
    """Samples to train, to calibrate and to compare on; one source for several of these is split without overlap."""

    data: str | None
    test: str | None
    train: str | None
    preparation: Preparation
    signature: Signature
    dest: Path                              # entry that gets a folder for each role that has a source
    limits: Mapping[str, int]
    seed: int


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """One role's samples, as they were read."""

    source: str
    origin: str                             # "given" or "synthesised"
    count: int
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fingerprint: SampleFingerprint


def gather(task: DataTask) -> None:
    def progress(done: int, total: int) -> None:
        tell(Doing(doing="reading", done=done, total=total))

    with worker.result(task.dest) as folder, memory.bounded_for([task.train, task.data, task.test]):
        found: dict[str, SamplesSummary] = {}
        if task.train is not None:
            found |= _with_training(task, folder, progress)
        if task.data is not None and task.test is None:
            found["calibration"], found["test"] = write_calibration_and_test(
                task.data, task.signature, folder / "calibration", folder / "test", seed=task.seed,
                calibration_limit=task.limits["calibration"], test_limit=task.limits["test"],
                preparation=task.preparation, progress=progress,
            )
        else:
            for role, source in ((Role.CALIBRATION, task.data), (Role.TEST, task.test)):
                if source is not None:
                    found[role.value] = write_samples(
                        source, task.signature, folder / role.value, role=role, limit=task.limits[role.value],
                        seed=task.seed, preparation=task.preparation, progress=progress,
                    )
        cache.write_record(folder / GATHERED, {role: gathered(summary) for role, summary in found.items()})


def _with_training(task: DataTask, folder: Path, progress: Progress) -> dict[str, SamplesSummary]:
    """Rows for training and validation, and for the roles that have no source of their own."""
    assert task.train is not None
    roles = [Role.VALIDATION, Role.TRAIN]
    roles += [Role.CALIBRATION] if task.data is None else []
    roles += [Role.TEST] if task.data is None and task.test is None else []
    requests = {folder / role.value: Request(role=role, limit=task.limits.get(role.value)) for role in roles}
    dataset = Dataset.open(task.train, task.signature, task.preparation)
    summaries = materialise(dataset, requests, seed=task.seed, progress=progress)
    return {role.value: summary for role, summary in zip(roles, summaries, strict=True)}


def gathered(summary: SamplesSummary) -> Gathered:
    return Gathered(
        source=summary.source, origin=summary.origin, count=summary.count, class_names=summary.class_names,
        notes=summary.notes, warnings=summary.warnings, fingerprint=fingerprint(Samples.open(summary.folder)),
    )
