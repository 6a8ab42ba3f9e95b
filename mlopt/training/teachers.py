"""A teacher's answers to every training sample, computed once and kept by content: of one model, or averaged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlopt import files
from mlopt.data.samples import Samples, file_name
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import OnEvent
from mlopt.model import Signature, TensorSpec

BATCH = 256          # rows of one inference
_SQUASHING = ("softmax", "sigmoid")
_SMALLEST = 1e-30    # of a probability, before its logarithm; float32 reaches 1e-38
_PROBED_ROWS = 256


class Answering(Protocol):
    """A model, whatever it can do beside answering."""

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A teacher."""

    model: Answering
    signature: Signature
    applied: tuple[str, ...]        # what each output applies last: "softmax", "linear", ...; "unknown"


Open = Callable[[Path], Opened]


def write_outputs(
    teachers: Sequence[Path], samples: Path, dest: Path, *, student: Signature, activations: Sequence[str], open_: Open,
    on_event: OnEvent,
) -> None:
    """Write NAME.npy float32 [N, ...] for each output of the student into the new folder `dest`, whole or not at all.

    Several teachers are averaged in the student's own terms: `activations` says what each of its outputs applies last,
    and a teacher that stops one operation earlier or later is brought there. Raises `BadRequest` for a teacher with
    other inputs or outputs. Runs where the teachers' framework can be imported.
    """
    stored = Samples.open(samples)
    opened = [open_(path) for path in teachers]
    for path, one in zip(teachers, opened, strict=True):     # all of them before the long part
        check_teacher(path, one.signature, student)
    with files.new_folder(dest) as folder:
        arrays = {}
        for number, teacher in enumerate(opened):
            start = 0
            for batch in stored.batches(BATCH):
                answers = _answers(teacher, batch, student, activations)
                for name, answer in answers.items():
                    if name not in arrays:
                        shape = (stored.count, *answer.shape[1:])
                        arrays[name] = np.lib.format.open_memmap(
                            folder / file_name(name), mode="w+", dtype=np.float32, shape=shape
                        )
                    arrays[name][start : start + len(answer)] += answer / len(opened)
                start += len(next(iter(batch.values())))
                on_event({"doing": "asking the teacher", "done": number * stored.count + start,
                          "total": len(opened) * stored.count})
        for array in arrays.values():
            array.flush()


def check_teacher(path: Path, teacher: Signature, student: Signature) -> None:
    """Raise `BadRequest`, naming both, where a teacher's inputs or outputs are not the student's, in their order."""
    pairs = (("inputs", teacher.inputs, student.inputs), ("outputs", teacher.outputs, student.outputs))
    for what, theirs, ours in pairs:
        if len(theirs) != len(ours) or any(not _fits(a, b) for a, b in zip(theirs, ours, strict=True)):
            raise BadRequest(
                f"the teacher {path} has other {what} than the student: {_described(theirs)} against "
                f"{_described(ours)}. Give a teacher of the same task, or `teacher: source`."
            )


def _answers(
    teacher: Opened, batch: Mapping[str, np.ndarray], student: Signature, wanted: Sequence[str]
) -> dict[str, np.ndarray]:
    """The teacher's outputs for one batch, by the student's names and in its terms."""
    ports = zip(teacher.signature.inputs, student.inputs, strict=True)
    outputs = teacher.model.predict({theirs.name: batch[ours.name] for theirs, ours in ports})
    return {
        ours.name: in_terms_of(np.asarray(outputs[theirs.name], np.float32), has, wants)
        for theirs, ours, has, wants in zip(
            teacher.signature.outputs, student.outputs, teacher.applied, wanted, strict=True
        )
    }


def in_terms_of(values: np.ndarray, has: str, wants: str) -> np.ndarray:
    """Scores [..., C] as probabilities, or the other way round, where one model has what the other leaves out.

    Scores out of probabilities are known up to a constant, which no softmax sees.

    >>> in_terms_of(np.array([[0.0, np.log(3)]]), "linear", "softmax").round(2).tolist()
    [[0.25, 0.75]]
    >>> in_terms_of(np.array([[0.5]]), "sigmoid", "linear").tolist()
    [[0.0]]
    """
    if has == "unknown":
        has = _looks_like(values)
    if has == wants or {has, wants} - {"linear", *_SQUASHING} or {has, wants} <= set(_SQUASHING):
        return values
    if wants == "softmax":
        grown = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True))
    if wants == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-values)))
    logs = np.log(np.maximum(values, _SMALLEST))
    return np.asarray(logs - np.log(np.maximum(1 - values, _SMALLEST)) if has == "sigmoid" else logs)


def _looks_like(values: np.ndarray) -> str:
    """What a SavedModel does not say: rows that sum to 1 are a softmax's."""
    rows = values[:_PROBED_ROWS].astype(np.float64)
    several = rows.ndim > 1 and rows.shape[-1] > 1
    return "softmax" if several and (rows >= 0).all() and np.allclose(rows.sum(axis=-1), 1, atol=1e-3) else "linear"


def _fits(theirs: TensorSpec, ours: TensorSpec) -> bool:
    pairs = zip(theirs.shape, ours.shape, strict=False)
    return len(theirs.shape) == len(ours.shape) and all(a is None or b is None or a == b for a, b in pairs)


def _described(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(spec.describe() for spec in specs) or "none"


def opener(open_trainable: Callable[[Path], Any]) -> Open:
    """How teachers of this process's framework are opened; a SavedModel answers, and cannot be taken apart."""

    def open_(path: Path) -> Opened:
        if (path / "saved_model.pb").is_file():
            from mlopt.frameworks import open_model

            asked = open_model(path)
            return Opened(model=asked, signature=asked.source.signature, applied=asked.source.output_activations)
        model = open_trainable(path)
        applied = tuple(model.network.node(name).activation for name in model.network.outputs)
        return Opened(model=model, signature=model.signature, applied=applied)

    return open_
