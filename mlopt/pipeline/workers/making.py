"""One precision of a format, out of its float file."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from mlopt import cache, files, plain
from mlopt.artifact import Made, Storage
from mlopt.convert.protocol import Converter, Precision
from mlopt.data.samples import Samples
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt.pipeline.workers.exporting import MADE as EXPORTED
from mlopt.pipeline.workers.exporting import float_file

RECORD = "file.json"          # in an entry: what is told of the file beside it
SKIPPED = "skipped.json"      # or why this model gets no such file


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """A file as it was made and read back."""

    sha256: str
    bytes: int
    bytes_zipped: int
    storage: Storage
    choices: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Making:
    """What files of one format are made from."""

    float_entry: Path
    signature: Signature
    calibration: Path               # samples
    seed: int
    grid: Path | None = None        # folder of the grid that the model was trained on, if it was


def file_in(entry: Path, suffix: str) -> Path:
    """Where an entry holds its file, unless it was skipped."""
    return entry / f"model{suffix}"


def skipped(entry: Path) -> str:
    """Why this model gets no such file; empty where the entry holds one."""
    return json.loads((entry / SKIPPED).read_text()) if (entry / SKIPPED).exists() else ""


def make(task: Making, door: Converter, precision: Precision, folder: Path) -> None:
    """Fill `folder` with the file and its facts, or with the reason why it makes no sense; raises `MloptError`."""
    source = float_file(task.float_entry, door.suffix)
    if precision.refusal and (why_not := plain.resolve(precision.refusal)(source)):
        cache.write_record(folder / SKIPPED, why_not)
        return
    path = file_in(folder, door.suffix)
    made = _made(task, precision, source, path) if precision.make else _copied(source, path)
    cache.write_record(folder / RECORD, FileFacts(
        sha256=files.digest(path), bytes=files.size(path), bytes_zipped=files.zipped_size(path),
        storage=plain.resolve(door.read_storage)(path), choices=made.choices, notes=made.notes,
    ))


def grid_for(precision: Precision, folder: Path | None) -> Grid | None:
    """The trained grid in `folder` where it decides the numbers of that precision."""
    grid = None if folder is None else Grid.read(folder)
    return grid if grid is not None and precision.takes(grid.scheme) else None


def _copied(source: Path, path: Path) -> Made:
    if source.is_dir():
        shutil.copytree(source, path)
    else:
        shutil.copyfile(source, path)
    return Made(path=path, **json.loads((source.parent / EXPORTED).read_text()))


def _made(task: Making, precision: Precision, source: Path, path: Path) -> Made:
    samples = Samples.open(task.calibration) if precision.needs_samples else None
    grid = grid_for(precision, task.grid)
    trained = {} if grid is None else {"grid": grid}
    made: Made = plain.resolve(precision.make)(
        source, precision.name, path, signature=task.signature, samples=samples, seed=task.seed, **trained
    )
    return made
