"""A teacher's answers to every training sample, computed once and kept by content: of one model, or averaged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mlopt import worker
from mlopt.data.samples import Samples, file_name
from mlopt.errors import BadRequest
from mlopt.frameworks import open_model, open_trainable
from mlopt.frameworks.fitting import OnEvent
from mlopt.location import ModelLocation
from mlopt.model import Signature, TensorSpec

BATCH = 256          # rows of one inference
_SQUASHING = ("softmax", "sigmoid")
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


Open = Callable[[ModelLocation], Opened]


def write_outputs(
    teachers: Sequence[ModelLocation], samples: Path, dest: Path, *, student: Signature, activations: Sequence[str],
    open_: Open, on_event: OnEvent,
) -> None:
    """Write NAME.npy float32 [N, ...] for each output of the student into the new folder `dest`, whole or not at all.

    Several teachers are averaged. `activations` says what each output of the student applies last: where it, or one of
    the teachers, gives probabilities, all answers become probabilities. Raises `BadRequest` for a teacher with
    other inputs or outputs. Runs where the teachers' framework can be imported.
    """
    stored = Samples.open(samples)
    opened = [open_(teacher) for teacher in teachers]
    for location, one in zip(teachers, opened, strict=True):     # all of them before the long part
        check_fits(f"the teacher {location.path}", one.signature, student)
    each = (applied_in_order(one, student) for one in opened)
    terms = [common_terms(applied) for applied in zip(activations, *each, strict=True)]
    with worker.result(dest) as folder:
        arrays = {}
        for number, teacher in enumerate(opened):
            start = 0
            for batch in stored.batches(BATCH):
                answers = _answers(teacher, batch, student, terms)
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


def check_fits(whose: str, other: Signature, ours: Signature) -> None:
    """Raise `BadRequest`, naming both, where inputs or outputs are not those of the model that is trained, in order."""
    pairs = (("inputs", other.inputs, ours.inputs), ("outputs", other.outputs, ours.outputs))
    for what, theirs, own in pairs:
        if len(theirs) != len(own) or any(not _fits(a, b) for a, b in paired(theirs, own)):
            raise BadRequest(
                f"{whose} has other {what} than the model: {_described(theirs)} against {_described(own)}. Give one of "
                "the same task."
            )


def _answers(
    teacher: Opened, batch: Mapping[str, np.ndarray], student: Signature, wanted: Sequence[str]
) -> dict[str, np.ndarray]:
    """The teacher's outputs for one batch, by the student's names, each in the terms that are wanted."""
    ports = paired(teacher.signature.inputs, student.inputs)
    outputs = teacher.model.predict({theirs.name: batch[ours.name] for theirs, ours in ports})
    applied = applied_in_order(teacher, student)
    return {
        ours.name: in_terms_of(np.asarray(outputs[theirs.name], np.float32), has, wants)
        for (theirs, ours), has, wants in zip(
            paired(teacher.signature.outputs, student.outputs), applied, wanted, strict=True
        )
    }


def paired(theirs: Sequence[TensorSpec], ours: Sequence[TensorSpec]) -> list[tuple[TensorSpec, TensorSpec]]:
    """Theirs beside ours, in our order: by name where all of our names are there, else by order."""
    by_name = {spec.name: spec for spec in theirs}
    named = all(spec.name in by_name for spec in ours)
    return [(by_name[spec.name] if named else theirs[i], spec) for i, spec in enumerate(ours)]


def applied_in_order(teacher: Opened, student: Signature) -> list[str]:
    """What each of the teacher's outputs applies last, in the order of the student's."""
    last = dict(zip((spec.name for spec in teacher.signature.outputs), teacher.applied, strict=True))
    return [last[theirs.name] for theirs, _ in paired(teacher.signature.outputs, student.outputs)]


def in_terms_of(values: np.ndarray, has: str, wants: str) -> np.ndarray:
    """Scores [..., C] as probabilities where those are wanted; what is no plain score stays as it is.

    >>> in_terms_of(np.array([[0.0, np.log(3)]]), "linear", "softmax").round(2).tolist()
    [[0.25, 0.75]]
    """
    has = _looks_like(values) if has == "unknown" else has
    if has != "linear" or wants == "linear":
        return values
    if wants == "softmax":
        grown = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True))
    return np.asarray(1 / (1 + np.exp(-values)))


def common_terms(applied: Sequence[str]) -> str:
    """What all answers are brought to: the probabilities that one of them gives, else nothing.

    >>> common_terms(["linear", "softmax"]), common_terms(["linear", "relu"])
    ('softmax', 'linear')
    """
    return next((name for name in applied if name in _SQUASHING), "linear")


def _looks_like(values: np.ndarray) -> str:
    """What a graph does not say: rows that sum to 1 are a softmax's."""
    rows = values[:_PROBED_ROWS].astype(np.float64)
    several = rows.ndim > 1 and rows.shape[-1] > 1
    return "softmax" if several and (rows >= 0).all() and np.allclose(rows.sum(axis=-1), 1, atol=1e-3) else "linear"


def _fits(theirs: TensorSpec, ours: TensorSpec) -> bool:
    pairs = zip(theirs.shape, ours.shape, strict=False)
    return len(theirs.shape) == len(ours.shape) and all(a is None or b is None or a == b for a, b in pairs)


def _described(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(spec.describe() for spec in specs) or "none"


def open_teacher(location: ModelLocation) -> Opened:
    """A teacher of this process's framework; what cannot be taken apart answers all the same."""
    try:
        model = open_trainable(location)
    except BadRequest:
        asked = open_model(location)
        return Opened(model=asked, signature=asked.source.signature, applied=asked.source.output_activations)
    applied = tuple(model.network.node(name).activation for name in model.network.outputs)
    return Opened(model=model, signature=model.signature, applied=applied)
