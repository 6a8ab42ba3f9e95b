"""The parts of an objective, each a loss for every sample of a batch: float32 [B] from tensors [B, ...]."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlopt.frameworks.fitting import LabelLoss
from mlopt.frameworks.keras.fitting.heads import scores
from mlopt.frameworks.keras.quiet import tf
from mlopt.outputs import Head, LabelKind


def over_positions(values: Any) -> Any:
    """The mean of everything that belongs to a sample; [B, ...] to [B]."""
    return tf.reduce_mean(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1)


def label_loss(loss: LabelLoss, output: Any, head: Head, labels: Any) -> Any:
    """Of one output against its labels."""
    if loss.kind is LabelKind.VALUES:
        return over_positions(tf.square(output - tf.reshape(tf.cast(labels, tf.float32), tf.shape(output))))
    if loss.kind is LabelKind.BINARY:
        wanted = tf.reshape(tf.cast(labels, tf.float32), tf.shape(output))
        soft = wanted * (1 - loss.smoothing) + loss.smoothing / 2
        each = tf.nn.sigmoid_cross_entropy_with_logits(labels=soft, logits=scores(output, _binary(head)))
        if loss.class_weights:
            each *= tf.gather(tf.constant(loss.class_weights, tf.float32), tf.cast(wanted > 0.5, tf.int32))
        return over_positions(each)
    return over_positions(_categories(loss, output, head, labels))


def _binary(head: Head) -> Head:
    return Head.SIGMOID if head is Head.SOFTMAX else head


def _categories(loss: LabelLoss, output: Any, head: Head, labels: Any) -> Any:
    """Cross-entropy at each position; with a sigmoid a class, the sum of their binary cross-entropies."""
    classes = output.shape[-1]
    whole = labels.shape.rank == output.shape.rank and labels.shape[-1] == classes and classes > 1
    wanted = tf.cast(labels, tf.float32) if whole else None
    index = tf.argmax(labels, -1, tf.int32) if whole else tf.reshape(tf.cast(labels, tf.int32), tf.shape(output)[:-1])
    values = scores(output, head)
    if head is Head.SIGMOID:
        wanted = tf.one_hot(index, classes) if wanted is None else wanted
        soft = wanted * (1 - loss.smoothing) + loss.smoothing / 2
        each = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=soft, logits=values), -1)
    else:
        if wanted is None:
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=index, logits=values)
        else:
            each = tf.nn.softmax_cross_entropy_with_logits(labels=wanted, logits=values)
        if loss.smoothing:
            even = -tf.reduce_mean(tf.nn.log_softmax(values), -1)
            each = (1 - loss.smoothing) * each + loss.smoothing * even
    if loss.class_weights:
        each *= tf.gather(tf.constant(loss.class_weights, tf.float32), index)
    return each


def teacher_loss(output: Any, head: Head, kind: Head, said: Any, temperature: float) -> Any:
    """T**2 * KL(teacher || student), both softened by T; `said` as `teachers.agreed` gives it for `kind`.

    Source: Hinton, Vinyals and Dean 2015. Squared error where the output holds values.
    """
    if kind is Head.PLAIN:
        return over_positions(tf.square(output - said))
    mine = scores(output, head) / temperature
    if kind is Head.SOFTMAX:
        wanted = tf.nn.log_softmax(said / temperature)
        each = tf.reduce_sum(tf.exp(wanted) * (wanted - tf.nn.log_softmax(mine)), -1)
    else:
        wanted = tf.sigmoid(said / temperature)
        cross = tf.nn.sigmoid_cross_entropy_with_logits
        each = cross(labels=wanted, logits=mine) - cross(labels=wanted, logits=said / temperature)
    return temperature**2 * over_positions(each)


def hint_loss(student: Any, teacher: Any, projection: Any) -> Any:
    """Mean squared distance of features, the student's by `projection` [its channels, the teacher's].

    Source: Romero et al. 2014. Where the pictures differ in size, the larger one is averaged to the smaller.
    """
    student, teacher = same_places(tf.cast(student, tf.float32), tf.cast(teacher, tf.float32))
    return over_positions(tf.square(tf.tensordot(student, projection, 1) - teacher))


def attention_loss(student: Any, teacher: Any) -> Any:
    """Squared distance of the maps of squared activations, summed over channels, each of length 1; from 0 to 2.

    Source: Zagoruyko and Komodakis 2017.
    """
    student, teacher = same_places(tf.cast(student, tf.float32), tf.cast(teacher, tf.float32))
    maps = []
    for features in (student, teacher):
        energy = tf.reduce_sum(tf.square(features), -1)
        maps.append(tf.math.l2_normalize(tf.reshape(energy, [tf.shape(energy)[0], -1]), axis=1))
    return tf.reduce_sum(tf.square(maps[0] - maps[1]), axis=1)


def same_places(a: Any, b: Any) -> tuple[Any, Any]:
    """Features [B, ..., channels] at the smaller size of the two along each axis between."""
    for axis in range(1, a.shape.rank - 1):
        size = min(a.shape[axis], b.shape[axis])
        a, b = _averaged(a, axis, size), _averaged(b, axis, size)
    return a, b


def _averaged(features: Any, axis: int, size: int) -> Any:
    if features.shape[axis] == size:
        return features
    matrix = tf.constant(averaging(features.shape[axis], size))
    order = [i for i in range(features.shape.rank) if i != axis] + [axis]
    back = list(np.argsort(order))
    return tf.transpose(tf.tensordot(tf.transpose(features, order), matrix, 1), back)


def averaging(size: int, to: int) -> np.ndarray:
    """float32 [size, to]: the mean of each of `to` spans that cover `size` places, as adaptive pooling has them.

    >>> averaging(4, 2).tolist()
    [[0.5, 0.0], [0.5, 0.0], [0.0, 0.5], [0.0, 0.5]]
    """
    matrix = np.zeros((size, to), np.float32)
    for i in range(to):
        start, stop = i * size // to, -(-(i + 1) * size // to)
        matrix[start:stop, i] = 1 / (stop - start)
    return matrix


def average(per_sample: Any, of: int) -> Any:
    """A replica's share of the mean over the samples of all replicas: shares are summed, and so are gradients."""
    return tf.nn.compute_average_loss(per_sample, global_batch_size=of)


def correct(output: Any, head: Head, kind: LabelKind, labels: Any) -> Any:
    """float32 [B]: the share of a sample's positions that are right."""
    if kind is LabelKind.BINARY:
        yes = output > 0.5 if head is not Head.PLAIN else output > 0
        wanted = tf.reshape(tf.cast(labels, tf.float32), tf.shape(output)) > 0.5
        return over_positions(tf.cast(yes == wanted, tf.float32))
    whole = labels.shape.rank == output.shape.rank and labels.shape[-1] == output.shape[-1] and output.shape[-1] > 1
    index = tf.argmax(labels, -1) if whole else tf.reshape(tf.cast(labels, tf.int64), tf.shape(output)[:-1])
    return over_positions(tf.cast(tf.argmax(output, -1) == index, tf.float32))


def names_of(parts: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    """Different names in order, "total" last.

    >>> names_of([("labels", 1.0), ("hints", 0.5), ("hints", 0.5)])
    ('labels', 'hints', 'total')
    """
    return (*dict.fromkeys(name for name, _ in parts), "total")
