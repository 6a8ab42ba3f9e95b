"""All that a training needs to go on, in one file that is whole or absent; one of another task is ignored."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import files, plain
from mlopt.data.samples import Samples
from mlopt.frameworks.fitting import EpochFacts, FitTask, Hold, Strategy

FILE = "training.npz"
SCHEMA = 1
_MOST_META_BYTES = 16 << 20     # the history of a million epochs would fit
_DIGEST_ROWS = 256              # of each array of samples: enough to tell two sets of data apart


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training stands, beside its arrays; plain values."""

    step: int = 0
    epochs: tuple[EpochFacts, ...] = ()
    sums: tuple[float, ...] = ()            # of each part of the loss over the steps of the epoch that is not done
    best_epoch: int = 0
    best: float = float("-inf")
    worse: int = 0                          # epochs since the best one
    stopped: bool = False
    waited_s: float = 0.0
    ran_s: float = 0.0                      # in steps, waiting included, tracing of the graph left out
    timed: int = 0                          # steps that `ran_s` is of
    epoch_s: float = 0.0                    # spent in the epoch that is not done


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A training that can go on."""

    progress: Progress
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]             # the projections of hints first
    best: list[np.ndarray]                  # weights of the best epoch; empty before the first
    holds: dict[str, Hold]


def write(folder: Path, digest: str, saved: Saved) -> None:
    """Put in place of the one before, in one step."""
    arrays: dict[str, np.ndarray] = {}
    for kind, values in (("w", saved.weights), ("o", saved.optimizer), ("b", saved.best)):
        arrays |= {f"{kind}{i}": value for i, value in enumerate(values)}
    for i, hold in enumerate(saved.holds.values()):
        arrays |= {} if hold.mask is None else {f"m{i}": np.asarray(hold.mask, bool)}
        arrays |= {} if hold.ties is None else {f"t{i}": np.asarray(hold.ties, np.int32)}
    meta = {
        "schema": SCHEMA, "task": digest, "progress": plain.to_plain(saved.progress), "holds": list(saved.holds),
        "counts": [len(saved.weights), len(saved.optimizer), len(saved.best)],
    }
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomically(folder / FILE, content.getvalue())


def read(
    folder: Path, digest: str, weights: Sequence[np.ndarray], optimizer: Sequence[np.ndarray], names: Mapping[str, int]
) -> tuple[Saved | None, str]:
    """What lies in `folder` of the task with this digest, or None and why not ("" where nothing lies there).

    `weights` and `optimizer` have the shapes that are wanted; `names` gives each weight its place.
    """
    path = folder / FILE
    if not path.exists():
        return None, ""
    try:
        return _read(path, digest, weights, optimizer, names), ""
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, IndexError, TypeError) as err:
        reason = str(err) if isinstance(err, _Unfit) else f"it cannot be read ({type(err).__name__}: {err})"
        return None, f"the checkpoint {path.name} was not continued: {reason}; the training starts again"


class _Unfit(ValueError):
    """A sound file of something else."""


def _read(
    path: Path, digest: str, weights: Sequence[np.ndarray], optimizer: Sequence[np.ndarray], names: Mapping[str, int]
) -> Saved:
    whole = sum(a.nbytes for a in weights) * 2 + sum(a.nbytes for a in optimizer)
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    limit = whole + 8 * sum(a.nbytes for a in weights) + (len(sizes) << 10) + _MOST_META_BYTES
    if sum(sizes.values()) > limit or sizes.get("meta.npy", 0) > _MOST_META_BYTES:
        raise _Unfit("it declares more than this training could have written")
    with np.load(path, allow_pickle=False) as stored:
        meta = json.loads(stored["meta"].tobytes())
        if meta["schema"] != SCHEMA or meta["task"] != digest:
            raise _Unfit("it is of another task, another model or other samples")
        count = meta["counts"]
        if count[:2] != [len(weights), len(optimizer)] or count[2] not in (0, len(weights)):
            raise _Unfit("it holds another number of arrays")
        found = {
            kind: [_like(stored[f"{kind}{i}"], wanted) for i, wanted in enumerate(wanteds)]
            for kind, wanteds in (("w", weights), ("o", optimizer), ("b", weights if count[2] else ()))
        }
        holds = {}
        for i, name in enumerate(meta["holds"]):
            shape = weights[names[name]].shape
            mask = _like(stored[f"m{i}"], np.empty(shape, bool)) if f"m{i}.npy" in sizes else None
            ties = _like(stored[f"t{i}"], np.empty(shape, np.int32)) if f"t{i}.npy" in sizes else None
            holds[str(name)] = Hold(mask=mask, ties=ties)
    return Saved(
        progress=plain.from_plain(meta["progress"], Progress), weights=found["w"], optimizer=found["o"],
        best=found["b"], holds=holds,
    )


def _like(array: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    if array.shape != wanted.shape or array.dtype != wanted.dtype:
        raise _Unfit(f"it holds an array {array.dtype}{list(array.shape)} for {wanted.dtype}{list(wanted.shape)}")
    return array


def digest(task: FitTask, initial: Mapping[str, np.ndarray], replicas: int) -> str:
    """sha256 of all that decides a training's result; where its files lie does not.

    Of a holder it knows the class and how often it is asked: what it will say follows from settings of a step, and
    those who train with another one take another folder.
    """
    whole = hashlib.sha256()
    here = Path()
    told = replace(
        task, samples=here, validation=None, teachers=None, checkpoints=here, checkpoint_every_s=0.0, logs=None,
        track="", holder=None, strategy=Strategy.AUTO,
    )
    whole.update(json.dumps(plain.to_plain(told), sort_keys=True).encode())
    whole.update(" ".join(type(loss).__name__ for loss in task.losses).encode())     # some have the same fields
    holder = task.holder
    whole.update(f"{replicas} {type(holder).__qualname__} {getattr(holder, 'every', 0)}".encode())
    for folder in (task.samples, task.validation):
        if folder is not None:
            _add_samples(whole, Samples.open(folder))
    if task.teachers is not None:
        for teacher in task.teachers.live:
            whole.update(json.dumps(plain.to_plain(teacher.identity), sort_keys=True).encode())
        if task.teachers.outputs is not None:
            for file in sorted(task.teachers.outputs.glob("*.npy")):
                _add_rows(whole, file.name, np.load(file, mmap_mode="r", allow_pickle=False))
    for name, array in sorted(initial.items()):
        whole.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


def _add_samples(whole: Any, samples: Samples) -> None:
    whole.update(f"{samples.count} {samples.scale} {samples.offset} {sorted(samples.unscaled)}".encode())
    for name, array in sorted(samples.inputs.items()):
        _add_rows(whole, name, array)
    if samples.labels is not None:
        _add_rows(whole, "labels", samples.labels)


def _add_rows(whole: Any, name: str, array: np.ndarray) -> None:
    rows = np.unique(np.linspace(0, max(0, len(array) - 1), min(len(array), _DIGEST_ROWS)).astype(np.int64))
    whole.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array[rows]).tobytes())
