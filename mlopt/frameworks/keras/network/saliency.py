"""First-order importance of every weight, from gradients over some samples."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import LabelKind, LabelLoss
from mlopt.frameworks.keras.quiet import tf, tf_keras

if TYPE_CHECKING:
    from mlopt.frameworks.keras.network.model import KerasNetwork

BATCH = 64


def saliency(
    model: "KerasNetwork", samples: Path, losses: Sequence[LabelLoss], *, count: int, seed: int
) -> dict[str, np.ndarray]:
    """Mean over batches of (gradient * weight) ** 2, float32, by name of each trainable weight in its shape.

    Source: Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", equation 8. `count` rows drawn by
    `seed`, 64 a batch. Without losses: the gradient of the sum of squares of the outputs before their softmax or
    sigmoid, mean over the batch.
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
            loss = _loss(before_activation(model, inputs), labels, losses)
        found = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [tf.convert_to_tensor(one) for one in found]

    sums = [np.zeros(variable.shape, np.float64) for variable in variables]
    batches = 0
    for start in range(0, len(rows), BATCH):
        picked = rows[start : start + BATCH]
        inputs = {name: tf.constant(stored.as_seen(name, stored.inputs[name][picked])) for name in stored.inputs}
        labels = tf.constant(np.asarray(stored.labels[picked])) if losses and stored.labels is not None else None
        for i, (gradient, variable) in enumerate(zip(gradients(inputs, labels), variables, strict=True)):
            sums[i] += np.square(gradient.numpy().astype(np.float64) * variable.numpy())
        batches += 1
    return {name: (total / batches).astype(np.float32) for name, total in zip(names, sums, strict=True)}


def before_activation(
    model: "KerasNetwork", inputs: Mapping[str, Any], *, training: bool = False
) -> dict[str, tuple[Any, str]]:
    """Outputs by name before their final softmax or sigmoid, where the output's own layer applies it, and its name.

    The name is "linear" where nothing was left out.
    """
    ends = set(model.plan.outputs)
    left_out: dict[str, str] = {}

    def around(node: str, layer: Any, call: Callable[[], Any]) -> Any:
        name = getattr(getattr(layer, "activation", None), "__name__", "")
        if node not in ends or name not in ("softmax", "sigmoid"):
            return call()
        left_out[node] = name
        kept, layer.activation = layer.activation, tf_keras.activations.linear
        try:
            return call()
        finally:
            layer.activation = kept

    values = model.forward(inputs, training=training, around=around)
    return {
        port.name: (values[node], left_out.get(node, "linear"))
        for port, node in zip(model.signature.outputs, model.plan.outputs, strict=True)
    }


def _loss(outputs: Mapping[str, tuple[Any, str]], labels: Any, losses: Sequence[LabelLoss]) -> Any:
    """A scalar, mean over the batch."""
    if not losses:
        return tf.add_n([tf.reduce_sum(tf.square(value)) / _rows(value) for value, _ in outputs.values()])
    return tf.add_n([loss.weight * _label_loss(*outputs[loss.output], labels, loss) for loss in losses])


def _label_loss(value: Any, left_out: str, labels: Any, loss: LabelLoss) -> Any:
    """Cross-entropy from scores where the activation was left out, else from probabilities."""
    if loss.kind is LabelKind.CATEGORIES:
        classes = tf.cast(tf.reshape(labels, tf.shape(value)[:-1]), tf.int32)
        wanted = tf.one_hot(classes, value.shape[-1]) * (1 - loss.smoothing) + loss.smoothing / value.shape[-1]
        each = tf_keras.losses.categorical_crossentropy(wanted, value, from_logits=left_out == "softmax")
        if loss.class_weights:
            each *= tf.gather(tf.constant(loss.class_weights, tf.float32), classes)
        return tf.reduce_mean(each)
    wanted = tf.cast(tf.reshape(labels, tf.shape(value)), tf.float32)
    if loss.kind is LabelKind.BINARY:
        return tf.reduce_mean(tf_keras.losses.binary_crossentropy(wanted, value, from_logits=left_out == "sigmoid"))
    value = tf.sigmoid(value) if left_out == "sigmoid" else tf.nn.softmax(value) if left_out == "softmax" else value
    return tf.reduce_mean(tf.square(wanted - value))


def _rows(value: Any) -> Any:
    return tf.cast(tf.shape(value)[0], tf.float32)
