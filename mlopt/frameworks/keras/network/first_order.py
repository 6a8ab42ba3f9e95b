"""What each weight adds to the loss to first order, batch by batch, from gradients over some samples."""

from collections.abc import Iterator, Mapping
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

BATCH = 32
STATISTICS = ("mean", "variance")


def first_order_terms(
    model: "KerasNetwork", samples: Path, output: str, loss: LabelLoss | None, *, count: int, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """For each batch gradient * weight, float64, by name of each weight that is no statistic, in its shape.

    `count` rows drawn by `seed`, 32 a batch. Without a loss on labels: the gradient of the sum of squares of `output`
    before its softmax or sigmoid, mean over the batch.
    """
    stored = Samples.open(samples)
    if loss is not None and stored.labels is None:
        raise BadRequest(f"{samples} has no labels, and the loss on {loss.output} needs them")
    rows = np.sort(np.random.default_rng(seed).permutation(stored.count)[: min(count, stored.count)])
    if len(rows) == 0:
        raise BadRequest(f"{samples} has no samples to measure the importance of weights on")
    weights = model.network.weights()
    names = [name for name in model.variables if name in weights and weights[name].role not in STATISTICS]
    variables = [model.variables[name] for name in names]

    @tf.function(autograph=False, reduce_retracing=True)
    def gradients(inputs: Mapping[str, Any], labels: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(variables)           # those of frozen layers too: they read channels as others do
            value = _loss(model.outputs_of(model.forward(inputs))[output], labels, loss)
        found = tape.gradient(value, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [tf.convert_to_tensor(one) for one in found]

    for start in range(0, len(rows), BATCH):
        picked = rows[start : start + BATCH]
        inputs = {name: tf.constant(stored.as_seen(name, stored.inputs[name][picked])) for name in stored.inputs}
        labels = tf.constant(np.asarray(stored.labels[picked])) if loss and stored.labels is not None else None
        yield {
            name: gradient.numpy().astype(np.float64) * variable.numpy()
            for name, gradient, variable in zip(names, gradients(inputs, labels), variables, strict=True)
        }


def _loss(output: Any, labels: Any, loss: LabelLoss | None) -> Any:
    """A scalar, mean over the batch."""
    if loss is not None:
        return tf.reduce_mean(label_loss(loss, output, head_of(output), labels))
    value = scores(output, head_of(output))
    return tf.reduce_sum(tf.square(value)) / tf.cast(tf.shape(value)[0], tf.float32)
