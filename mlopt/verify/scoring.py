"""From outputs and labels to the task's metric, its interval, and the drop against the source on the same samples."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlopt.outputs import OutputKind
from mlopt.report import UNKNOWN, Interval
from mlopt.verify.intervals import REPLICATES, bootstrap, paired_drop_interval, share_interval
from mlopt.verify.metrics import auc, decisions, per_sample, r2, top_classes, weighted_auc
from mlopt.verify.task import Scoring, Task, prepare_labels

LARGEST_CONFUSION = 100    # classes
NOWHERE = Interval()
_SHARES = (Scoring.TOP_CLASS, Scoring.DECISION)
ANSWERS = (Scoring.TOP_CLASS, Scoring.DECISION, Scoring.SCORE)      # each position has an answer that is right or not
_RANKS = (Scoring.SCORE, Scoring.RECONSTRUCTION)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The labels as scoring takes them, for all samples."""

    labels: np.ndarray | None
    spread: np.ndarray | None     # [N] squared distance of each label to the mean label; for r2 alone

    @classmethod
    def of(cls, task: Task, labels: np.ndarray | None, reference: np.ndarray) -> "Truth":
        prepared = prepare_labels(task, labels, reference)
        spread = None
        if prepared is not None and task.scoring is Scoring.VARIANCE and len(prepared):
            spread = _spread(prepared)
        return cls(labels=prepared, spread=spread)

    def subset(self, rows: np.ndarray) -> "Truth":
        """Only these samples; their spread is around their own mean, as for a data set of its own."""
        if self.labels is None:
            return self
        labels = self.labels[rows]
        if self.spread is None:
            return Truth(labels=labels, spread=None)
        return Truth(labels=labels, spread=_spread(labels))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The metric of the source and of the file on the same samples."""

    source: float = UNKNOWN
    source_interval: Interval = NOWHERE
    value: float = UNKNOWN
    interval: Interval = NOWHERE
    drop: float = UNKNOWN
    drop_interval: Interval = NOWHERE


def sample_scores(
    task: Task, labels: np.ndarray | None, output: np.ndarray, inputs: Mapping[str, np.ndarray] | None
) -> np.ndarray:
    """One float64 for each sample of the main output's batch.

    The share of its positions that is right, its score for an AUC, or its squared error for an R2. `inputs` are
    needed for reconstruction errors alone.
    """
    n = len(output)
    if task.scoring is Scoring.NONE or labels is None:
        return np.full(n, UNKNOWN)
    if task.scoring is Scoring.TOP_CLASS:
        return per_sample(top_classes(output) == labels)
    if task.scoring is Scoring.DECISION:
        return per_sample(decisions(output, task.main.threshold) == labels)
    if task.scoring is Scoring.SCORE:
        return output.reshape(n).astype(np.float64)
    if task.scoring is Scoring.VARIANCE:
        return ((output.astype(np.float64).reshape(labels.shape) - labels) ** 2).reshape(n, -1).sum(axis=1)
    if inputs is None:
        raise ValueError("a reconstruction error needs the inputs that were reconstructed")
    difference = output.astype(np.float64) - inputs[task.main.mirrors]
    return (difference**2).reshape(n, -1).mean(axis=1)


def measure(
    task: Task, truth: Truth, source: np.ndarray, file: np.ndarray, *, seed: int, level: float = 0.95, rounds: int = 1
) -> Measured:
    """The metric of both score vectors [N] and the drop between them, with intervals over samples.

    `rounds` multiplies the bootstrap's replicates, for a `level` near 1.
    """
    if truth.labels is None or len(source) == 0:
        return Measured()
    if task.scoring in _SHARES:
        drops = source - file
        return Measured(
            source=float(source.mean()), source_interval=share_interval(source, level),
            value=float(file.mean()), interval=share_interval(file, level),
            drop=float(drops.mean()), drop_interval=paired_drop_interval(drops, level),
        )
    values = _ranked(truth, source, file) if task.scoring in _RANKS else _explained(truth, source, file)
    if not np.isfinite(values).all():
        return Measured(source=values[0], value=values[1], drop=values[0] - values[1])
    labels, spread = truth.labels, truth.spread

    def both_aucs(weights: np.ndarray) -> np.ndarray:
        a, b = (weighted_auc(labels, scores, weights) for scores in (source, file))
        return np.stack([a, b, a - b], axis=1)

    def both_r2s(weights: np.ndarray) -> np.ndarray:
        assert spread is not None
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (1 - weights @ errors / (weights @ spread) for errors in (source, file))
            return np.stack([a, b, a - b], axis=1)

    ranked = task.scoring in _RANKS
    strata = labels if ranked else np.zeros(len(source), dtype=np.int8)
    of_source, of_file, of_drop = bootstrap(
        both_aucs if ranked else both_r2s, strata, seed=seed, level=level, replicates=REPLICATES * rounds
    )
    return Measured(
        source=values[0], source_interval=of_source, value=values[1], interval=of_file,
        drop=values[0] - values[1], drop_interval=of_drop,
    )


def confusion_counts(task: Task, labels: np.ndarray | None, output: np.ndarray) -> np.ndarray:
    """Counts [C, C], rows the label and columns the prediction, over all positions; [0, 0] where it does not apply.

    A prediction that is not finite stands in no column.
    """
    if labels is None or confusion_size(task, output) == 0:
        return np.zeros((0, 0), dtype=np.int64)
    if task.scoring is Scoring.TOP_CLASS:
        predicted, classes = top_classes(output), output.shape[-1]
    else:
        predicted, classes = decisions(output, task.main.threshold), 2
    predicted, wanted = predicted.ravel(), labels.ravel().astype(np.int64)
    cells = wanted[predicted >= 0] * classes + predicted[predicted >= 0]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def confusion_size(task: Task, output: np.ndarray) -> int:
    """The number of classes in a confusion matrix of this task; 0 where there is none, or there are too many."""
    if task.scoring is Scoring.TOP_CLASS:
        return output.shape[-1] if output.shape[-1] <= LARGEST_CONFUSION else 0
    yes_no = task.main.kind is OutputKind.BINARY and task.scoring in (Scoring.SCORE, Scoring.DECISION)
    return 2 if yes_no else 0


def _spread(labels: np.ndarray) -> np.ndarray:
    """Squared distance of each sample's label [N, ...] to the mean label, summed over its values: [N]."""
    from_mean = labels.reshape(len(labels), -1) - labels.reshape(len(labels), -1).mean(axis=0, dtype=np.float64)
    return np.einsum("nd,nd->n", from_mean, from_mean)


def _ranked(truth: Truth, source: np.ndarray, file: np.ndarray) -> tuple[float, float]:
    assert truth.labels is not None
    return auc(truth.labels, source), auc(truth.labels, file)


def _explained(truth: Truth, source: np.ndarray, file: np.ndarray) -> tuple[float, float]:
    assert truth.spread is not None
    return r2(source, truth.spread), r2(file, truth.spread)
