"""What each weight adds to the loss to first order, batch by batch, from gradients over some samples."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import LabelLoss
from mlopt.frameworks.keras.fitting.heads import head_of, scores
from mlopt.frameworks.keras.fitting.losses import label_loss
from mlopt.frameworks.keras.quiet import tf

if TYPE_CHECKING:
    from mlopt.frameworks.keras.network.model import KerasNetwork

BATCH = 64


def first_order_terms(
    model: "KerasNetwork", samples: Path, losses: Sequence[LabelLoss], *, count: int, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """For each batch gradient * weight, float64, by name of each trainable weight in its shape.

    `count` rows drawn by `seed`, 64 a batch. Without losses: the gradient of the sum of squares of the outputs before
    their softmax or sigmoid, mean over the batch.
    """
    stored = Samples.open(samples)
    if losses and stored.labels is None:
        raise BadRequest(f"{samples} has no labels, and the loss on {losses[0].output} needs them")
    rows = np.sort(np.random.default_rng(seed).permutation(stored.count)[: min(count, stored.count)])
    if len(rows) == 0:
        raise BadRequest(f"{samples} has no samples to measure the importance of weights on")
    trainable = {w.name for node in model.network.nodes for w in node.weights if w.trainable}
    names = [name for name in model.variables if name in trainable]
    variables = [model.variables[name] for name in names]

    @tf.function(autograph=False, reduce_retracing=True)
    def gradients(inputs: Mapping[str, Any], labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = _loss(model.outputs_of(model.forward(inputs)), labels, losses)
        found = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [tf.convert_to_tensor(one) for one in found]

    for start in range(0, len(rows), BATCH):
        picked = rows[start : start + BATCH]
        inputs = {name: tf.constant(stored.as_seen(name, stored.inputs[name][picked])) for name in stored.inputs}
        labels = tf.constant(np.asarray(stored.labels[picked])) if losses and stored.labels is not None else None
        yield {
            name: gradient.numpy().astype(np.float64) * variable.numpy()
            for name, gradient, variable in zip(names, gradients(inputs, labels), variables, strict=True)
        }


def _loss(outputs: Mapping[str, Any], labels: Any, losses: Sequence[LabelLoss]) -> Any:
    """A scalar, mean over the batch."""
    if not losses:
        values = [scores(output, head_of(output)) for output in outputs.values()]
        return tf.add_n([tf.reduce_sum(tf.square(value)) / _rows(value) for value in values])
    return tf.add_n([
        loss.weight * tf.reduce_mean(label_loss(loss, outputs[loss.output], head_of(outputs[loss.output]), labels))
        for loss in losses
    ])


def _rows(value: Any) -> Any:
    return tf.cast(tf.shape(value)[0], tf.float32)
