"""Tiny real models, one for each shape of network that people bring; weights are seeded, nothing is trained.

Importing this imports TensorFlow: for worker processes and the project's own tests.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from mlopt.model import Signature, SourceModel, TensorSpec

layers = tf_keras.layers


def small_convnet() -> tf_keras.Model:
    """Residual, batch norm, softmax over 4 classes; image [8, 8, 3]."""
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    stem = layers.ReLU()(x)
    x = layers.Conv2D(8, 3, padding="same")(stem)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(layers.Add()([x, stem]))
    x = layers.AveragePooling2D(4)(x)
    x = layers.Flatten()(x)
    return tf_keras.Model(image, layers.Dense(4, activation="softmax", name="label")(x))


def depthwise_convnet() -> tf_keras.Model:
    """Depthwise separable with strides and ReLU6, as the keyword and visual-wake-word models; image [12, 6, 1]."""
    image = tf_keras.Input((12, 6, 1), name="features")
    x = layers.Conv2D(8, (5, 3), strides=2, padding="same")(image)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.Conv2D(12, 1)(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(0.2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(image, layers.Dense(3, activation="softmax", name="word")(x))


def autoencoder() -> tf_keras.Model:
    """Dense with batch norm; its output is its input's shape, not class scores; vector [24]."""
    vector = tf_keras.Input((24,), name="spectrum")
    x = vector
    for width in (16, 4, 16):
        x = layers.Dense(width)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
    return tf_keras.Model(vector, layers.Dense(24, name="reconstruction")(x))


def streaming_conv1d() -> tf_keras.Model:
    """1-D convolutions over time, causal and dilated; sequence [16, 5]."""
    sequence = tf_keras.Input((16, 5), name="frames")
    x = layers.Conv1D(8, 3, padding="causal", activation="relu")(sequence)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv1D(8, 3, dilation_rate=2, padding="same", activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    return tf_keras.Model(sequence, layers.Dense(1, activation="sigmoid", name="wake")(x))


def two_inputs_two_outputs() -> tf_keras.Model:
    """An image and a vector in, classes and a value out; with a nested model inside."""
    image = tf_keras.Input((8, 8, 1), name="image")
    extra = tf_keras.Input((3,), name="extra")
    inner_in = tf_keras.Input((8, 8, 1))
    inner_out = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inner_in))
    inner = tf_keras.Model(inner_in, inner_out, name="encoder")
    x = layers.Concatenate()([inner(image), layers.Dense(4, activation="tanh")(extra)])
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    size = layers.Dense(1, name="size")(x)
    return tf_keras.Model([image, extra], [kind, size])


def small_transformer() -> tf_keras.Model:
    """One attention block with layer norm and GELU over 6 tokens of width 8."""
    tokens = tf_keras.Input((6, 8), name="tokens")
    x = layers.LayerNormalization()(tokens)
    x = layers.MultiHeadAttention(num_heads=2, key_dim=4)(x, x)
    x = layers.Add()([x, tokens])
    y = layers.Dense(16, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([layers.Dense(8)(y), x])
    x = layers.GlobalAveragePooling1D()(x)
    return tf_keras.Model(tokens, layers.Dense(4, activation="softmax", name="topic")(x))


def mobile_block() -> tf_keras.Model:
    """Inverted residual with squeeze-and-excite, swish, hard-swish, padding, resize and transposed convolution."""
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    x = layers.Conv2D(8, 3, strides=2, padding="valid")(x)
    x = x * tf.nn.relu6(x + 3.0) / 6.0
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="swish")(gate)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(6, 3, padding="same")(x))
    return tf_keras.Model(image, layers.Conv2D(2, 1, activation="softmax", name="mask")(x))


TINY: Mapping[str, Callable[[], tf_keras.Model]] = {
    f.__name__: f
    for f in (
        small_convnet,
        depthwise_convnet,
        autoencoder,
        streaming_conv1d,
        two_inputs_two_outputs,
        small_transformer,
        mobile_block,
    )
}


def build(name: str, seed: int = 0) -> tf_keras.Model:
    """The tiny model of that name, with batch-norm statistics and biases that are not their initial zeros and ones."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    model = TINY[name]()
    random = np.random.default_rng(seed)
    for weight in model.weights:
        values = weight.numpy()
        if "variance" in weight.name or "gamma" in weight.name:
            values = random.uniform(0.5, 1.5, values.shape)
        elif any(part in weight.name for part in ("bias", "beta", "mean", "alpha")):
            values = random.normal(0, 0.1, values.shape)
        weight.assign(values)
    return model


class TinyModel:
    """A `TensorFlowModel` over a tf_keras model, for tests of exporters that should not depend on file opening."""

    def __init__(self, model: tf_keras.Model) -> None:
        self.model = self.trackable = model
        self.signature = Signature(
            inputs=tuple(_spec(name, t) for name, t in zip(model.input_names, model.inputs, strict=True)),
            outputs=tuple(_spec(name, t) for name, t in zip(model.output_names, model.outputs, strict=True)),
        )
        self.source = SourceModel(
            path=Path(model.name), framework="keras", container="keras-h5", loaded_by="tf_keras", digest="0" * 64,
            file_bytes=0, weight_bytes=4 * model.count_params(), optimizer_bytes=0, parameters=model.count_params(),
            macs=0, signature=self.signature, output_activations=("unknown",) * len(model.outputs), layers=(),
        )

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self.model([tf.constant(inputs[s.name]) for s in self.signature.inputs], training=False)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        return {s.name: o.numpy() for s, o in zip(self.signature.outputs, outputs, strict=True)}

    def concrete_function(self, batch: int | None) -> Any:
        specs = [tf.TensorSpec((batch, *s.shape[1:]), s.dtype, s.name) for s in self.signature.inputs]

        @tf.function(input_signature=specs, autograph=False)
        def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = self.model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)
            outputs = outputs if isinstance(outputs, list) else [outputs]
            return {s.name: o for s, o in zip(self.signature.outputs, outputs, strict=True)}

        return serve.get_concrete_function()


def inputs_for(model: TinyModel, count: int, seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {s.name: (count, *(d or 1 for d in s.shape[1:])) for s in model.signature.inputs}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _spec(name: str, tensor: Any) -> TensorSpec:
    rank = len(tensor.shape)
    layout = {4: "NHWC", 3: "NTC", 2: "NC"}.get(rank, "N" + "?" * (rank - 1))
    return TensorSpec(name=name, shape=(None, *tensor.shape[1:]), dtype=tensor.dtype.name, layout=layout)
