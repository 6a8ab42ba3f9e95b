"""What is made small: the task's losses bound to a student, its teachers and what the labels are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.frameworks.fitting import AttentionLoss, HintLoss, LabelLoss, Loss, TeacherLoss
from mlopt.frameworks.keras.fitting import losses as numerics
from mlopt.frameworks.keras.fitting.augment import Mix
from mlopt.frameworks.keras.fitting.heads import SMALLEST
from mlopt.frameworks.keras.fitting.teachers import Teacher, agreed, as_scores
from mlopt.frameworks.keras.quiet import tf
from mlopt.outputs import Head, LabelKind

PARTS: Mapping[type, str] = {
    LabelLoss: "labels", TeacherLoss: "teacher", HintLoss: "hints", AttentionLoss: "attention",
}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Losses for each sample, part by part."""

    losses: tuple[Loss, ...]
    heads: Mapping[str, Head]               # of the student's outputs
    kinds: Mapping[str, Head]               # how a teacher's say on each output is read
    teachers: tuple[Teacher, ...]
    stored: Mapping[str, Head]              # heads of a teacher's stored outputs
    projections: Mapping[int, Any]          # variables by index of the hint loss
    mirrors: str                            # the input that an output without labels is held to; "" for none

    @property
    def parts(self) -> tuple[str, ...]:
        return numerics.names_of([(PARTS[type(loss)], loss.weight) for loss in self.losses])

    @property
    def student_nodes(self) -> tuple[str, ...]:
        return student_nodes(self.losses)

    def said(
        self, inputs: Mapping[str, Any], stored: Mapping[str, Any], mix: Mix | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """By output what the teachers say together of `inputs`, as seen and augmented; by node their features."""
        if not self.teachers:
            spoken = {name: as_scores(value, self.stored[name]) for name, value in stored.items()}
            agreed_on = {n: agreed([v], [self.stored[n]], self.kinds[n]) for n, v in spoken.items()}
            return {n: v if mix is None else _mixed(v, self.kinds[n], mix) for n, v in agreed_on.items()}, {}
        heard = [teacher.run(inputs) for teacher in self.teachers]
        outputs = {
            name: agreed(
                [outputs[name] for outputs, _ in heard], [teacher.heads[name] for teacher in self.teachers], kind
            )
            for name, kind in self.kinds.items()
        }
        return outputs, heard[0][1]

    def __call__(                           # noqa: PLR0917  # what a step has, in the order in which it is made
        self, outputs: Mapping[str, Any], nodes: Mapping[str, Any], labels: Any, inputs: Mapping[str, Any],
        said: tuple[Mapping[str, Any], Mapping[str, Any]], mix: Mix | None,
    ) -> list[tuple[str, float, Any]]:
        """(part, weight, losses of the samples [B]) in the task's order."""
        found = []
        for i, loss in enumerate(self.losses):
            if isinstance(loss, LabelLoss):
                value = self._label(loss, outputs[loss.output], labels, inputs, mix)
            elif isinstance(loss, TeacherLoss):
                name = loss.output
                value = numerics.teacher_loss(
                    outputs[name], self.heads[name], self.kinds[name], said[0][name], loss.temperature
                )
            elif isinstance(loss, HintLoss):
                projection = self.projections[i]
                value = numerics.hint_loss(nodes[loss.student_node], said[1][loss.teacher_node], projection)
            else:
                value = numerics.attention_loss(nodes[loss.student_node], said[1][loss.teacher_node])
            found.append((PARTS[type(loss)], loss.weight, value))
        return found

    def _label(self, loss: LabelLoss, output: Any, labels: Any, inputs: Mapping[str, Any], mix: Mix | None) -> Any:
        if self.mirrors:
            return numerics.label_loss(loss, output, self.heads[loss.output], inputs[self.mirrors])
        if mix is None:
            return numerics.label_loss(loss, output, self.heads[loss.output], labels)
        if loss.kind is LabelKind.VALUES:
            return numerics.label_loss(loss, output, Head.PLAIN, mix.of(tf.cast(labels, tf.float32)))
        own, other = (
            numerics.label_loss(loss, output, self.heads[loss.output], given)
            for given in (labels, tf.roll(labels, 1, axis=0))
        )
        return mix.share * own + (1 - mix.share) * other


def _mixed(said: Any, kind: Head, mix: Mix) -> Any:
    """What teachers said of single samples, mixed as the samples were: the probabilities are."""
    if kind is Head.PLAIN:
        return mix.of(said)
    if kind is Head.SOFTMAX:
        return tf.math.log(tf.maximum(mix.of(tf.exp(said)), SMALLEST))
    mean = tf.clip_by_value(mix.of(tf.sigmoid(said)), SMALLEST, 1 - SMALLEST)
    return tf.math.log(mean) - tf.math.log1p(-mean)


def student_nodes(losses: Sequence[Loss]) -> tuple[str, ...]:
    """Nodes whose features the losses need, each once."""
    return tuple(dict.fromkeys(loss.student_node for loss in losses if isinstance(loss, HintLoss | AttentionLoss)))


def teacher_nodes(losses: Sequence[Loss]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(loss.teacher_node for loss in losses if isinstance(loss, HintLoss | AttentionLoss)))


def kinds_of(losses: Sequence[Loss], heads: Mapping[str, Head]) -> dict[str, Head]:
    """How a teacher's outputs are read: as the student's own are, by the labels' kind where nothing else says it."""
    labelled = {loss.output: loss.kind for loss in losses if isinstance(loss, LabelLoss)}
    by_label = {LabelKind.CATEGORIES: Head.SOFTMAX, LabelKind.BINARY: Head.SIGMOID, LabelKind.VALUES: Head.PLAIN}
    found = {}
    for loss in losses:
        if isinstance(loss, TeacherLoss):
            head = heads[loss.output]
            plain = head is Head.PLAIN and loss.output in labelled
            found[loss.output] = by_label[labelled[loss.output]] if plain else head
    return found


def projection(student_channels: int, teacher_channels: int, seed: int) -> np.ndarray:
    """The start of a learned projection [student's channels, teacher's]: Glorot's uniform."""
    limit = np.sqrt(6 / (student_channels + teacher_channels))
    random = np.random.default_rng([seed, 23])
    return random.uniform(-limit, limit, (student_channels, teacher_channels)).astype(np.float32)
