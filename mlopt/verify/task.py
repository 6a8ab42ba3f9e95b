"""Which metric the labels allow, on outputs as `mlopt.outputs` decides what they are."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlopt import outputs
from mlopt.model import Signature
from mlopt.outputs import LabelKind, Output, OutputKind

_STILL = 1e-3          # of an output's size: below the step of any 8-bit scale, so that no file could show a difference
_FEW = 8               # samples that may well have one answer


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
class Task:
    """How to read the outputs; `main` is the output that the labels belong to, the first one where there are none."""

    outputs: tuple[Output, ...]
    main: Output
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
    """Decide what each output is and which metric the labels allow, as `mlopt.outputs.decide` reads both.

    `reference` holds the source's outputs [N, ...] by name. Where labels mark anomalies the score is the
    reconstruction error. Raises `DataMismatch` when the labels fit no output.
    """
    found = outputs.decide(signature, output_activations, reference, labels)
    notes = [_dull(o) for o in found.every if _hardly_moves(reference[o.name])]
    if labels is None:
        unsure = [o for o in found.every if o.kind is OutputKind.VALUES and not o.mirrors]
        notes += [_unsure(o, reference[o.name]) for o in unsure if reference[o.name].shape[-1] > 1]
    return Task(
        outputs=found.every, main=found.main, scoring=_scoring(found.labels, labels), notes=(*notes, *found.notes)
    )


def _scoring(kind: LabelKind | None, labels: np.ndarray | None) -> Scoring:
    if kind is None or labels is None:
        return Scoring.NONE
    if kind is LabelKind.BINARY:
        return Scoring.SCORE if np.size(labels) == len(labels) else Scoring.DECISION
    return {
        LabelKind.CATEGORIES: Scoring.TOP_CLASS, LabelKind.VALUES: Scoring.VARIANCE,
        LabelKind.ANOMALIES: Scoring.RECONSTRUCTION,
    }[kind]


def _hardly_moves(reference: np.ndarray) -> bool:
    """Whether no value of an output [N, ...] differs between samples by more than a thousandth of its largest."""
    if len(reference) < _FEW:
        return False
    moved = float(np.max(reference.max(axis=0) - reference.min(axis=0)))
    return moved <= _STILL * float(np.max(np.abs(reference)))


def _dull(output: Output) -> str:
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


def _unsure(output: Output, reference: np.ndarray) -> str:
    return (
        f"without labels {output.name} {list(reference.shape[1:])} may be class scores or an embedding: a sample "
        "agrees when its error is at most a tenth of the output's size"
    )
