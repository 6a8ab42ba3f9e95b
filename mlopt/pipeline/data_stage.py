"""In a data worker: read what the user named, once, into folders that other workers map."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlopt import cache, files, worker
from mlopt.data.fingerprint import SampleFingerprint, fingerprint
from mlopt.data.materialise import SamplesSummary, write_calibration_and_test, write_samples
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.model import Signature

GATHERED = "gathered.json"


@dataclass(frozen=True, kw_only=True)
class DataTask:
    """Samples to calibrate on, to compare on, or both; one source for both is split without overlap."""

    data: str | None
    test: str | None
    signature: Signature
    dest: Path                              # entry that gets calibration/ where there is data, and test/
    limits: Mapping[str, int]
    seed: int
    normalise: tuple[float, float] | None
    resize: bool
    slice_columns: tuple[str, ...]


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
        worker.emit(doing="reading", done=done, total=total)

    settings: dict[str, Any] = {"normalise": task.normalise, "resize": task.resize, "slice_columns": task.slice_columns}
    with files.new_folder(task.dest) as folder:
        found: dict[str, SamplesSummary] = {}
        if task.data is not None and task.test is None:
            found["calibration"], found["test"] = write_calibration_and_test(
                task.data, task.signature, folder / "calibration", folder / "test", seed=task.seed,
                calibration_limit=task.limits["calibration"], test_limit=task.limits["test"], progress=progress,
                **settings,
            )
        else:
            for role, source in ((Role.CALIBRATION, task.data), (Role.TEST, task.test)):
                if source is not None:
                    found[role.value] = write_samples(
                        source, task.signature, folder / role.value, role=role, limit=task.limits[role.value],
                        seed=task.seed, progress=progress, **settings,
                    )
        cache.write_record(folder / GATHERED, {role: gathered(summary) for role, summary in found.items()})


def gathered(summary: SamplesSummary) -> Gathered:
    return Gathered(
        source=summary.source, origin=summary.origin, count=summary.count, class_names=summary.class_names,
        notes=summary.notes, warnings=summary.warnings, fingerprint=fingerprint(Samples.open(summary.folder)),
    )
