"""What a model's outputs are: decided once, from what is applied last, the values seen and the labels, for everybody.

Training, the proof of files, the teachers' answers and the manifest all ask here, so that none can see scores where
another sees an embedding.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlopt.errors import DataMismatch
from mlopt.model import Signature

PROBED = 256            # rows that show what an output of unknown activation is
TOLERANCE = 1e-3        # of a sum or a length that is to be 1: float16 keeps each share to half of it
UNKNOWN_ACTIVATION = "unknown"


class Head(enum.StrEnum):
    """What an output applies last, as far as scores before it can be had from it."""

    SOFTMAX = "softmax"         # probabilities along the last axis
    SIGMOID = "sigmoid"         # a probability each
    PLAIN = "plain"             # scores or values, as they are


_HEADS = {"softmax": Head.SOFTMAX, "sigmoid": Head.SIGMOID, "hard_sigmoid": Head.SIGMOID}


class OutputKind(enum.StrEnum):
    """What an output holds, which decides when a sample agrees with the source."""

    CLASSES = "classes"         # scores of C >= 2 classes along an axis; agrees: the same top class
    BINARY = "binary"           # a yes-or-no score each; agrees: on the same side of the threshold
    VALUES = "values"           # numbers; agrees: an error of at most a tenth of the output's own size (20 dB)
    EMBEDDING = "embedding"     # a direction: vectors of length 1 along an axis; agrees as VALUES do


class LabelKind(enum.StrEnum):
    """What labels say of an output, which decides the loss and the metric."""

    CATEGORIES = "categories"   # one class of several: its number, or a one-hot row
    BINARY = "binary"           # 0 or 1 for each value
    VALUES = "values"           # numbers of the output's shape
    ANOMALIES = "anomalies"     # 0 or 1 a sample beside an output that gives back the input: normal, or not


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output, decided."""

    name: str
    kind: OutputKind
    head: Head
    axis: int = -1              # along which classes, or the parts of a vector, lie
    classes: int = 0            # C of CLASSES, 2 of BINARY, else 0
    mirrors: str = ""           # the input whose shape this output has, as an autoencoder's

    @property
    def threshold(self) -> float:
        """Where yes begins, should its values be yes or no: 0.5 for probabilities, 0 for scores."""
        return 0.0 if self.head is Head.PLAIN else 0.5

    def of(self, kind: OutputKind, classes: int) -> "Output":
        return replace(self, kind=kind, classes=classes)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """All outputs; `main` is the one that the labels belong to, the first one where there are none."""

    every: tuple[Output, ...]
    main: Output
    labels: LabelKind | None = None
    notes: tuple[str, ...] = ()         # how labels were read, where that is not plain


def decide(
    signature: Signature, activations: Sequence[str], values: Mapping[str, np.ndarray],
    labels: np.ndarray | None = None,
) -> Outputs:
    """What each output is, and which of them the labels belong to.

    `activations` say what each output of the signature applies last, "unknown" where nothing tells; `values` holds
    outputs [N, ...] by name, on the samples that the labels are for. The main output is the first that the labels fit:
    integers in 0..C-1 (or one-hot rows) for class scores, 0 and 1 for a yes-or-no score, floats of the output's shape
    for values. 0 and 1 beside an output that has an input's shape mark normal and anomalous samples. Raises
    `DataMismatch` when the labels fit no output.
    """
    found = tuple(
        _unlabelled(spec.name, activation, values[spec.name], signature)
        for spec, activation in zip(signature.outputs, activations, strict=True)
    )
    if labels is None:
        return Outputs(every=found, main=found[0])
    given = np.asarray(labels)
    for output in found:
        fitted = _fit(output, values[output.name], given)
        if fitted:
            main, kind, note = fitted
            every = tuple(main if output.name == main.name else output for output in found)
            return Outputs(every=every, main=main, labels=kind, notes=(note,) if note else ())
    raise DataMismatch(
        "labels", "; ".join(_wanted(o, values[o.name]) for o in found), _described(given),
        "Fix the labels, or leave them out to compare with the source model alone.",
    )


def head_of(activation: str, values: np.ndarray | None = None) -> Head:
    """What an output applies last: by its activation's name, and where that is "unknown" by sample values [N, ...].

    >>> head_of("softmax"), head_of("linear", np.array([[0.25, 0.75]]))
    (<Head.SOFTMAX: 'softmax'>, <Head.PLAIN: 'plain'>)
    """
    if activation == UNKNOWN_ACTIVATION and values is not None:
        return looks_like(values)
    return _HEADS.get(activation, Head.PLAIN)


def looks_like(values: np.ndarray) -> Head:
    """What sample outputs [N, ...] are, where nothing else says it. Looks at the first 256.

    >>> looks_like(np.array([[0.25, 0.75], [1.0, 0.0]])), looks_like(np.array([[0.3], [0.9]])).value
    (<Head.SOFTMAX: 'softmax'>, 'sigmoid')
    >>> looks_like(np.array([[2.0, -1.0]])).value
    'plain'
    """
    rows = np.asarray(values[:PROBED], dtype=np.float64)
    if not rows.size or not np.isfinite(rows).all() or rows.min() < 0 or rows.max() > 1 + TOLERANCE:
        return Head.PLAIN
    if rows.ndim > 1 and rows.shape[-1] > 1 and np.abs(rows.sum(axis=-1) - 1).max() <= TOLERANCE:
        return Head.SOFTMAX
    return Head.SIGMOID


def _unlabelled(name: str, activation: str, values: np.ndarray, signature: Signature) -> Output:
    shape = values.shape[1:]
    size = shape[-1] if shape else 1
    mirrors = next((s.name for s in signature.inputs if shape and _same_shape(s.shape[1:], shape)), "")
    head = head_of(activation, values)
    plain = Output(name=name, kind=OutputKind.VALUES, head=head, mirrors=mirrors)
    if size > 1 and (head is Head.SOFTMAX or activation == "log_softmax"):
        return replace(plain, kind=OutputKind.CLASSES, classes=size, mirrors="")
    if size == 1 and head is Head.SIGMOID and activation != UNKNOWN_ACTIVATION and not mirrors:
        return plain.of(OutputKind.BINARY, 2)
    return plain.of(OutputKind.EMBEDDING, 0) if head is Head.PLAIN and not mirrors and _unit_length(values) else plain


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


_Fitted = tuple[Output, LabelKind, str]


def _fit(output: Output, values: np.ndarray, labels: np.ndarray) -> _Fitted | None:
    """The output as these labels explain it, their kind, and a note; None when they do not fit."""
    if len(labels) != len(values) or labels.dtype.kind not in "iufb":
        return None
    seen = _Labels.read(labels)
    if (note := _marks_anomalies(output, values, seen)) is not None:
        return output, LabelKind.ANOMALIES, note
    classes = values.shape[-1] if values.ndim > 1 else 1
    if classes > 1 and (fitted := _fit_classes(output, values, seen)):
        return fitted
    if output.kind is not OutputKind.CLASSES and positions(labels) == positions(values):
        return _fit_numbers(output, values, seen)
    return None


def _marks_anomalies(output: Output, values: np.ndarray, seen: _Labels) -> str | None:
    """A note, when one 0 or 1 a sample stands beside an output that has an input's shape.

    With two values a sample they are taken for the scores of two classes.
    """
    each = int(np.prod(values.shape[1:]))
    if not (output.mirrors and seen.flags and seen.array.size == len(values) and each > 2):
        return None
    return (
        f"labels 0 and 1 beside {output.name}, which has the shape of the input {output.mirrors}, are read as normal "
        "and anomalous; a sample's score is its mean squared reconstruction error"
    )


def _fit_classes(output: Output, values: np.ndarray, seen: _Labels) -> _Fitted | None:
    labels, classes = seen.array, values.shape[-1]
    scores = replace(output, kind=OutputKind.CLASSES, classes=classes, mirrors="")
    if labels.shape == values.shape and seen.flags:
        if (labels.sum(axis=-1) == 1).all():
            return scores, LabelKind.CATEGORIES, ""
        if output.kind is not OutputKind.CLASSES:
            note = f"{output.name} has several labels a sample: top1 is the share of them that is right"
            return _yes_or_no(output), LabelKind.BINARY, note
    if positions(labels) == positions(values[..., 0]) and seen.whole and seen.low >= 0 and seen.high < classes:
        return scores, LabelKind.CATEGORIES, ""
    return None


def _fit_numbers(output: Output, values: np.ndarray, seen: _Labels) -> _Fitted | None:
    if seen.flags and seen.array.size == len(values):
        note = "" if seen.low != seen.high else f"every label is {seen.low}: with one class there is no AUC"
        return _yes_or_no(output), LabelKind.BINARY, note
    if seen.flags:
        note = f"{output.name} decides for each position: top1 is the share of positions that is right"
        return _yes_or_no(output), LabelKind.BINARY, note
    return None if output.kind is OutputKind.BINARY else (output, LabelKind.VALUES, "")


def _yes_or_no(output: Output) -> Output:
    return replace(output, kind=OutputKind.BINARY, classes=2, mirrors="")


def positions(array: np.ndarray) -> tuple[int, ...]:
    """The shape without axes of size 1 at its end, the batch kept.

    >>> positions(np.zeros((5, 1))), positions(np.zeros((5, 3, 1)))
    ((5,), (5, 3))
    """
    shape = array.shape
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _same_shape(spec: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(spec) == len(shape) and all(a is None or a == b for a, b in zip(spec, shape, strict=True))


def _unit_length(values: np.ndarray) -> bool:
    rows = np.asarray(values[:PROBED], dtype=np.float64)
    if not rows.size or rows.ndim < 2 or rows.shape[-1] < 2:
        return False
    return bool(np.abs(np.linalg.norm(rows, axis=-1) - 1).max() <= TOLERANCE)


def _wanted(output: Output, values: np.ndarray) -> str:
    shape = ", ".join(["N", *map(str, values.shape[1:])])
    n, classes = len(values), values.shape[-1] if values.ndim > 1 else 1
    if output.kind is OutputKind.CLASSES:
        return f"for {output.name} [{shape}] {n} labels, integers from 0 to {classes - 1}"
    if output.kind is OutputKind.BINARY:
        return f"for {output.name} [{shape}] {n} labels, 0 or 1"
    return f"for {output.name} [{shape}] {n} labels: numbers of that shape, or integers from 0 to {max(classes - 1, 1)}"


def _described(labels: np.ndarray) -> str:
    shape = ", ".join(map(str, labels.shape))
    span = f" from {labels.min():g} to {labels.max():g}" if labels.size and labels.dtype.kind in "iufb" else ""
    return f"labels {labels.dtype} [{shape}]{span}"
