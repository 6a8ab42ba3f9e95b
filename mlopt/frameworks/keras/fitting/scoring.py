"""The figure that epochs are compared by: accuracy, or minus a loss where there are no classes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlopt.data.samples import Samples
from mlopt.frameworks.fitting import LabelLoss, TeacherLoss
from mlopt.frameworks.keras.fitting import losses as numerics
from mlopt.frameworks.keras.fitting.objective import Objective
from mlopt.frameworks.keras.fitting.pipeline import seen
from mlopt.frameworks.keras.fitting.student import Student
from mlopt.frameworks.keras.quiet import tf
from mlopt.outputs import Head, LabelKind

BATCH = 256         # rows at a time; speed, not memory, decides above it


class Validation:
    """Scores a student on samples that it does not train on; inference mode."""

    def __init__(self, student: Student, objective: Objective, samples: Samples | None) -> None:
        self.samples = samples
        self._rule, self.measures = _rule(student, objective, samples)

        @tf.function(autograph=False)
        def score(stored: Mapping[str, Any], labels: Any) -> Any:
            assert self.samples is not None and self._rule is not None
            inputs = {name: seen(self.samples, name, array) for name, array in stored.items()}
            outputs, _ = student.call(inputs, training=False)
            return tf.reduce_sum(tf.cast(self._rule(outputs, inputs, labels), tf.float64))

        self._score = score
        self._traced: Any = None

    def figure(self) -> float:
        """The mean over all samples; nan where nothing can be measured."""
        if self.samples is None or self._rule is None:
            return float("nan")
        total = 0.0
        if self._traced is None:
            self._traced = self._score.get_concrete_function(*tf.nest.map_structure(_any_rows, self._rows(slice(0, 1))))
        for start in range(0, self.samples.count, BATCH):
            total += float(self._traced(*self._rows(slice(start, start + BATCH))))
        return total / self.samples.count

    def _rows(self, rows: slice) -> tuple[dict[str, Any], Any]:
        """Stored inputs and labels; 0 in place of labels that are not there."""
        assert self.samples is not None
        labels = np.zeros(()) if self.samples.labels is None else np.asarray(self.samples.labels[rows])
        stored = {name: tf.constant(np.asarray(array[rows])) for name, array in self.samples.inputs.items()}
        return stored, tf.constant(labels)


def _any_rows(tensor: Any) -> Any:
    return tf.TensorSpec((None, *tensor.shape[1:]) if tensor.shape.rank else (), tensor.dtype)


Rule = Callable[[Mapping[str, Any], Mapping[str, Any], Any], Any]       # (outputs, inputs, labels) -> [B]


def _rule(student: Student, objective: Objective, samples: Samples | None) -> tuple[Rule | None, str]:
    """How a batch is scored, and the figure's name."""
    heads = objective.heads
    labelled = [loss for loss in objective.losses if isinstance(loss, LabelLoss)]
    classes = [(loss.output, LabelKind(loss.kind)) for loss in labelled if loss.kind is not LabelKind.VALUES]
    if not labelled and samples is not None and samples.labels is not None:
        classes = _by_shape(student, heads, samples.labels)
    has_labels = samples is not None and samples.labels is not None
    if classes and has_labels:
        return lambda outputs, inputs, labels: tf.add_n(
            [numerics.correct(outputs[name], heads[name], kind, labels) for name, kind in classes]
        ) / len(classes), "accuracy"
    if labelled and not classes and (has_labels or objective.mirrors):
        def minus_error(outputs: Mapping[str, Any], inputs: Mapping[str, Any], labels: Any) -> Any:
            wanted = inputs[objective.mirrors] if objective.mirrors else labels
            return -tf.add_n([numerics.label_loss(a, outputs[a.output], heads[a.output], wanted) for a in labelled])

        return minus_error, "minus the loss"
    taught = [loss for loss in objective.losses if isinstance(loss, TeacherLoss)]
    if taught and objective.teachers:
        def minus_distance(outputs: Mapping[str, Any], inputs: Mapping[str, Any], labels: Any) -> Any:
            said, _ = objective.said(inputs, {}, None)
            return -tf.add_n([
                loss.weight * numerics.teacher_loss(
                    outputs[loss.output], heads[loss.output], objective.kinds[loss.output], said[loss.output],
                    loss.temperature,
                ) for loss in taught
            ])

        return minus_distance, "minus the distance to the teacher"
    return None, "nothing"


def _by_shape(student: Student, heads: Mapping[str, Head], labels: np.ndarray) -> list[tuple[str, LabelKind]]:
    """The first output of classes that whole-numbered labels fit, where no loss names one."""
    for spec in student.signature.outputs:
        sizes = tuple(d or 1 for d in spec.shape[1:])
        whole = labels.dtype.kind in "iub"
        if heads[spec.name] is Head.SOFTMAX and whole and tuple(labels.shape[1:]) in (sizes[:-1], (*sizes[:-1], 1)):
            return [(spec.name, LabelKind.CATEGORIES)]
        if heads[spec.name] is Head.SIGMOID and whole and np.prod(labels.shape[1:]) == np.prod(sizes):
            return [(spec.name, LabelKind.BINARY)]
    return []
