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
from mlopt.outputs import PROBED, UNKNOWN_ACTIVATION, Head, head_of

BATCH = 256          # rows of one inference


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
    first = stored.rows(0, min(PROBED, stored.count))
    heads = [heads_in_order(one, student, first) for one in opened]
    terms = [common_terms(found) for found in zip(map(head_of, activations), *heads, strict=True)]
    with worker.result(dest) as folder:
        arrays = {}
        for number, teacher in enumerate(opened):
            start = 0
            for batch in stored.batches(BATCH):
                answers = in_common_terms(asked(teacher, batch, student), heads[number], terms)
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


def asked(teacher: Opened, inputs: Mapping[str, np.ndarray], student: Signature) -> dict[str, np.ndarray]:
    """The teacher's outputs, float32 [N, ...], by the student's names in the student's order."""
    ports = paired(teacher.signature.inputs, student.inputs)
    found = teacher.model.predict({theirs.name: inputs[ours.name] for theirs, ours in ports})
    return {
        ours.name: np.asarray(found[theirs.name], np.float32)
        for theirs, ours in paired(teacher.signature.outputs, student.outputs)
    }


def in_common_terms(
    answers: Mapping[str, np.ndarray], heads: Sequence[Head], terms: Sequence[Head]
) -> dict[str, np.ndarray]:
    found = zip(answers.items(), heads, terms, strict=True)
    return {name: in_terms_of(values, has, wants) for (name, values), has, wants in found}


def paired(theirs: Sequence[TensorSpec], ours: Sequence[TensorSpec]) -> list[tuple[TensorSpec, TensorSpec]]:
    """Theirs beside ours, in our order: by name where all of our names are there, else by order."""
    by_name = {spec.name: spec for spec in theirs}
    named = all(spec.name in by_name for spec in ours)
    return [(by_name[spec.name] if named else theirs[i], spec) for i, spec in enumerate(ours)]


def heads_in_order(teacher: Opened, student: Signature, sample: Mapping[str, np.ndarray]) -> list[Head]:
    """What each of the teacher's outputs applies last, in the student's order; asks `sample` where only values tell."""
    last = dict(zip((spec.name for spec in teacher.signature.outputs), teacher.applied, strict=True))
    applied = [last[theirs.name] for theirs, _ in paired(teacher.signature.outputs, student.outputs)]
    if UNKNOWN_ACTIVATION not in applied:
        return [head_of(name) for name in applied]
    answers = asked(teacher, sample, student).values()
    return [head_of(name, values) for name, values in zip(applied, answers, strict=True)]


def in_terms_of(values: np.ndarray, has: Head, wants: Head) -> np.ndarray:
    """Scores [..., C] as probabilities where those are wanted; what is no plain score stays as it is.

    >>> in_terms_of(np.array([[0.0, np.log(3)]]), Head.PLAIN, Head.SOFTMAX).round(2).tolist()
    [[0.25, 0.75]]
    """
    if has is not Head.PLAIN or wants is Head.PLAIN:
        return values
    if wants is Head.SOFTMAX:
        grown = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True))
    return np.asarray(1 / (1 + np.exp(-values)))


def common_terms(heads: Sequence[Head]) -> Head:
    """What all answers are brought to: the probabilities that one of them gives, else nothing.

    >>> common_terms([Head.PLAIN, Head.SOFTMAX]), common_terms([Head.PLAIN, Head.PLAIN]).value
    (<Head.SOFTMAX: 'softmax'>, 'plain')
    """
    return next((head for head in heads if head is not Head.PLAIN), Head.PLAIN)


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
        other = open_model(location)
        return Opened(model=other, signature=other.source.signature, applied=other.source.output_activations)
    return Opened(model=model, signature=model.signature, applied=model.output_activations)
