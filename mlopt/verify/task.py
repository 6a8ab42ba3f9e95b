"""What a model's outputs are, and which metric the labels allow: read from signature, outputs and labels."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlopt.errors import DataMismatch
from mlopt.model import Signature

_STILL = 1e-3          # of an output's size: below the step of any 8-bit scale, so that no file could show a difference
_FEW = 8               # samples that may well have one answer
_PROBED_ROWS = 256     # enough to see whether an output of unknown activation is a distribution


class TaskKind(enum.StrEnum):
    """What an output holds, which decides when a sample agrees with the source."""

    CLASSES = "classes"    # scores of C >= 2 classes along the last axis; agrees: the same top class
    BINARY = "binary"      # a yes-or-no score; agrees: on the same side of the threshold
    VALUES = "values"      # numbers; agrees: an error of at most a tenth of the output's own size (20 dB)


class Scoring(enum.Enum):
    """How labels and the main output become per-sample scores."""

    NONE = "none"                          # no labels
    TOP_CLASS = "top class"                # metric top1
    DECISION = "decision"                  # metric top1, over the positions of a mask or over several flags
    SCORE = "score"                        # metric auc, on the output
    RECONSTRUCTION = "reconstruction"      # metric auc, on the mean squared distance of the output to the input
    VARIANCE = "variance"                  # metric r2


METRICS: Mapping[Scoring, str] = {
    Scoring.NONE: "none",
    Scoring.TOP_CLASS: "top1",
    Scoring.DECISION: "top1",
    Scoring.SCORE: "auc",
    Scoring.RECONSTRUCTION: "auc",
    Scoring.VARIANCE: "r2",
}


@dataclass(frozen=True, kw_only=True)
class OutputTask:
    name: str
    kind: TaskKind
    threshold: float = float("nan")    # of a BINARY output: 0.5 for probabilities, 0 for logits
    mirrors: str = ""                  # the input whose shape this output has, as an autoencoder's


@dataclass(frozen=True, kw_only=True)
class Task:
    """How to read the outputs; `main` is the output that the labels belong to, the first one where there are none."""

    outputs: tuple[OutputTask, ...]
    main: OutputTask
    scoring: Scoring = Scoring.NONE
    notes: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        return METRICS[self.scoring]


def identify_task(
    signature: Signature,
    output_activations: Sequence[str],
    reference: Mapping[str, np.ndarray],
    labels: np.ndarray | None = None,
) -> Task:
    """Decide what each output is and which metric the labels allow.

    `reference` holds the source's outputs [N, ...] by name. The main output is the first that the labels fit:
    integers in 0..C-1 (or one-hot rows) for class scores, 0 and 1 for a yes-or-no score, floats of the output's
    shape for values. 0 and 1 beside an output that has an input's shape mark normal and anomalous samples: the
    score is then the reconstruction error. Raises `DataMismatch` when the labels fit no output.
    """
    outputs = tuple(
        _identify_output(spec.name, activation, reference[spec.name], signature)
        for spec, activation in zip(signature.outputs, output_activations, strict=True)
    )
    dull = tuple(_dull(o) for o in outputs if _hardly_moves(reference[o.name]))
    if labels is None:
        unsure = [o for o in outputs if o.kind is TaskKind.VALUES and not o.mirrors and reference[o.name].shape[-1] > 1]
        return Task(
            outputs=outputs, main=outputs[0], notes=(*dull, *(_unsure(o, reference[o.name]) for o in unsure))
        )
    for output in outputs:
        fitted = _fit(output, reference[output.name], np.asarray(labels))
        if fitted:
            main, scoring, note = fitted
            return Task(
                outputs=tuple(main if o.name == main.name else o for o in outputs),
                main=main,
                scoring=scoring,
                notes=(*dull, *((note,) if note else ())),
            )
    raise DataMismatch(
        "labels", "; ".join(_wanted(o, reference[o.name]) for o in outputs), _described(np.asarray(labels)),
        "Fix the labels, or leave them out to compare with the source model alone.",
    )


def _hardly_moves(reference: np.ndarray) -> bool:
    """Whether no value of an output [N, ...] differs between samples by more than a thousandth of its largest."""
    if len(reference) < _FEW:
        return False
    moved = float(np.max(reference.max(axis=0) - reference.min(axis=0)))
    return moved <= _STILL * float(np.max(np.abs(reference)))


def _dull(output: OutputTask) -> str:
    return (
        f"the source answers the same for every sample ({output.name} moves by less than {_STILL:.1%} of its size): "
        "that files agree or disagree proves little. Is it trained, and are the inputs in the range that it takes?"
    )


def prepare_labels(task: Task, labels: np.ndarray | None, reference: np.ndarray) -> np.ndarray | None:
    """The labels in the shape that scoring takes: class indices or 0/1 by position, or the output's values [N, ...]."""
    if labels is None or task.scoring is Scoring.NONE:
        return None
    labels = np.asarray(labels)
    if task.scoring is Scoring.TOP_CLASS and labels.shape == reference.shape:
        return labels.argmax(axis=-1)
    if task.scoring is Scoring.VARIANCE:
        return labels.reshape(reference.shape)
    by_position = {Scoring.TOP_CLASS: reference.shape[:-1], Scoring.DECISION: reference.shape}
    fitted = labels.reshape(by_position.get(task.scoring, (len(reference),)))
    return fitted if fitted.dtype.kind in "iu" else fitted.astype(np.int64)


def _identify_output(name: str, activation: str, reference: np.ndarray, signature: Signature) -> OutputTask:
    shape = reference.shape[1:]
    classes = shape[-1] if shape else 1
    mirrors = next((s.name for s in signature.inputs if shape and _same_shape(s.shape[1:], shape)), "")
    if classes > 1 and ("softmax" in activation or (activation == "unknown" and _is_distribution(reference))):
        return OutputTask(name=name, kind=TaskKind.CLASSES)
    if "sigmoid" in activation and classes == 1 and not mirrors:
        return OutputTask(name=name, kind=TaskKind.BINARY, threshold=0.5)
    return OutputTask(name=name, kind=TaskKind.VALUES, mirrors=mirrors, threshold=_threshold(activation, reference))


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """What can be seen of labels before any output is looked at."""

    array: np.ndarray
    whole: bool          # integers, whatever their dtype
    low: int
    high: int

    @classmethod
    def read(cls, labels: np.ndarray) -> "_Labels":
        whole = labels.dtype.kind in "iub" or bool((labels == np.floor(labels)).all())
        low, high = (int(labels.min()), int(labels.max())) if whole and labels.size else (0, 0)
        return cls(array=labels, whole=whole, low=low, high=high)

    @property
    def flags(self) -> bool:
        return self.whole and self.low >= 0 and self.high <= 1


def _fit(output: OutputTask, reference: np.ndarray, labels: np.ndarray) -> tuple[OutputTask, Scoring, str] | None:
    """The output as these labels explain it, how to score it, and a note; None when they do not fit."""
    if len(labels) != len(reference) or labels.dtype.kind not in "iufb":
        return None
    seen = _Labels.read(labels)
    if (note := _marks_anomalies(output, reference, seen)) is not None:
        return output, Scoring.RECONSTRUCTION, note
    classes = reference.shape[-1] if reference.ndim > 1 else 1
    if classes > 1 and (fitted := _fit_classes(output, reference, seen)):
        return fitted
    if output.kind is not TaskKind.CLASSES and _positions(labels) == _positions(reference):
        return _fit_numbers(output, reference, seen)
    return None


def _marks_anomalies(output: OutputTask, reference: np.ndarray, seen: _Labels) -> str | None:
    """A note, when one 0 or 1 a sample stands beside an output that has an input's shape.

    With two values a sample they are taken for the scores of two classes.
    """
    values = int(np.prod(reference.shape[1:]))
    if not (output.mirrors and seen.flags and seen.array.size == len(reference) and values > 2):
        return None
    return (
        f"labels 0 and 1 beside {output.name}, which has the shape of the input {output.mirrors}, are read as normal "
        "and anomalous; a sample's score is its mean squared reconstruction error"
    )


def _fit_classes(output: OutputTask, reference: np.ndarray, seen: _Labels) -> tuple[OutputTask, Scoring, str] | None:
    labels, classes = seen.array, reference.shape[-1]
    scores = OutputTask(name=output.name, kind=TaskKind.CLASSES)
    if labels.shape == reference.shape and seen.flags:
        if (labels.sum(axis=-1) == 1).all():
            return scores, Scoring.TOP_CLASS, ""
        if output.kind is not TaskKind.CLASSES:
            note = f"{output.name} has several labels a sample: top1 is the share of them that is right"
            return _yes_or_no(output), Scoring.DECISION, note
    if _positions(labels) == _positions(reference[..., 0]) and seen.whole and seen.low >= 0 and seen.high < classes:
        return scores, Scoring.TOP_CLASS, ""
    return None


def _fit_numbers(output: OutputTask, reference: np.ndarray, seen: _Labels) -> tuple[OutputTask, Scoring, str] | None:
    one_each = seen.array.size == len(reference)
    if seen.flags and one_each:
        note = "" if seen.low != seen.high else f"every label is {seen.low}: with one class there is no AUC"
        return _yes_or_no(output), Scoring.SCORE, note
    if seen.flags:
        note = f"{output.name} decides for each position: top1 is the share of positions that is right"
        return _yes_or_no(output), Scoring.DECISION, note
    return (output, Scoring.VARIANCE, "") if output.kind is TaskKind.VALUES else None


def _yes_or_no(output: OutputTask) -> OutputTask:
    return OutputTask(name=output.name, kind=TaskKind.BINARY, threshold=output.threshold)


def _positions(array: np.ndarray) -> tuple[int, ...]:
    """The shape without axes of size 1 at its end, the batch kept.

    >>> _positions(np.zeros((5, 1))), _positions(np.zeros((5, 3, 1)))
    ((5,), (5, 3))
    """
    shape = array.shape
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _same_shape(spec: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(spec) == len(shape) and all(a is None or a == b for a, b in zip(spec, shape, strict=True))


def _is_distribution(reference: np.ndarray) -> bool:
    rows = np.asarray(reference[:_PROBED_ROWS], dtype=np.float64)
    return bool(len(rows)) and bool((rows >= 0).all()) and bool(np.allclose(rows.sum(axis=-1), 1, atol=1e-3))


def _threshold(activation: str, reference: np.ndarray) -> float:
    """Where yes begins, should the labels turn out to be yes or no: 0.5 for probabilities, 0 for logits."""
    if "sigmoid" in activation:
        return 0.5
    rows = np.asarray(reference[:_PROBED_ROWS])
    looks_like_probability = activation == "unknown" and rows.size and rows.min() >= 0 and rows.max() <= 1
    return 0.5 if looks_like_probability else 0.0


def _unsure(output: OutputTask, reference: np.ndarray) -> str:
    return (
        f"without labels {output.name} {list(reference.shape[1:])} may be class scores or an embedding: a sample "
        "agrees when its error is at most a tenth of the output's size"
    )


def _wanted(output: OutputTask, reference: np.ndarray) -> str:
    shape = ", ".join(["N", *map(str, reference.shape[1:])])
    n, classes = len(reference), reference.shape[-1] if reference.ndim > 1 else 1
    if output.kind is TaskKind.CLASSES:
        return f"for {output.name} [{shape}] {n} labels, integers from 0 to {classes - 1}"
    if output.kind is TaskKind.BINARY:
        return f"for {output.name} [{shape}] {n} labels, 0 or 1"
    return f"for {output.name} [{shape}] {n} labels: numbers of that shape, or integers from 0 to {max(classes - 1, 1)}"


def _described(labels: np.ndarray) -> str:
    shape = ", ".join(map(str, labels.shape))
    span = f" from {labels.min():g} to {labels.max():g}" if labels.size and labels.dtype.kind in "iufb" else ""
    return f"labels {labels.dtype} [{shape}]{span}"
