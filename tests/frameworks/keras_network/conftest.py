"""Small models of the shapes that people bring, with weights and statistics that are not at their first values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mlopt.frameworks.keras.model import named, tensor_spec
from mlopt.frameworks.keras.network.model import KerasNetwork, trainable
from mlopt.model import Signature
from mlopt.testing import tiny

L = tf_keras.layers


def inverted_residuals():
    """MobileNetV2: expansion, depthwise, linear bottleneck, addition; ReLU6; a depth multiplier in the middle."""
    image = tf_keras.Input((10, 10, 3), name="image")
    x = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(image)))
    for stride, width in ((1, 6), (2, 8)):
        y = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(12, 1, use_bias=False)(x)))
        y = L.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(y)
        y = L.ReLU(6.0)(L.BatchNormalization()(y))
        y = L.BatchNormalization()(L.Conv2D(width, 1, use_bias=False)(y))
        x = L.Add()([x, y]) if stride == 1 else y
    x = L.BatchNormalization()(L.DepthwiseConv2D(3, depth_multiplier=2)(x))
    x = L.Dropout(0.1)(L.GlobalAveragePooling2D()(x))
    return tf_keras.Model(image, L.Dense(3, activation="softmax", name="person")(x))


def squeeze_excite():
    """Gates by Dense and Reshape, by vectors that Keras spreads itself, and a hard swish of plain operations."""
    image = tf_keras.Input((6, 6, 2), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="swish")(image)
    gate = L.Dense(8, activation="sigmoid")(L.Dense(3, activation="relu")(L.GlobalAveragePooling2D()(x)))
    x = L.Multiply()([x, L.Reshape((1, 1, 8))(gate)])
    x = L.Conv2D(6, 3, padding="same")(x)
    x = x * tf.nn.relu6(x + 3.0) / 6.0
    x = L.Multiply()([x, L.Dense(6, activation="hard_sigmoid")(L.GlobalMaxPooling2D()(x))])
    x = L.Reshape((-1, 6))(L.Conv2D(6, 1)(x))
    return tf_keras.Model(image, L.Dense(2, name="score")(L.Flatten()(x)))


def unet():
    """Down, up by transposed convolution, joined with what went past; resizing and padding."""
    image = tf_keras.Input((8, 8, 1), name="image")
    high = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(image)))
    low = L.Conv2D(6, 3, padding="same", activation="relu")(L.MaxPooling2D(2)(high))
    up = L.ReLU()(L.BatchNormalization()(L.Conv2DTranspose(4, 2, strides=2, use_bias=False)(low)))
    x = L.Conv2D(5, 3, activation="relu")(L.ZeroPadding2D(1)(L.Concatenate()([high, up])))
    x = L.Concatenate()([x, L.UpSampling2D(2)(low)])
    return tf_keras.Model(image, L.Conv2D(2, 1, activation="softmax", name="mask")(x))


def densenet():
    """Normalization before activation, every layer reading all before it; the last norm stands before a Dense."""
    image = tf_keras.Input((6, 6, 3), name="image")
    x = L.Conv2D(4, 3, padding="same")(image)
    for _ in range(2):
        y = L.Activation("relu")(L.BatchNormalization()(x))
        y = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(6, 1, use_bias=False)(y)))
        x = L.Concatenate()([x, L.Conv2D(3, 3, padding="same", use_bias=False)(y)])
    x = L.BatchNormalization()(L.AveragePooling2D(2)(x))
    x = L.Conv2D(5, 1, activation="tanh")(x)
    x = L.BatchNormalization(scale=False)(L.Flatten()(x))
    return tf_keras.Model(image, L.Dense(3, activation="softmax", name="label")(x))


def siamese():
    """One encoder for two images, called as a nested model; its layers are used twice."""
    left, right = tf_keras.Input((6, 6, 1), name="left"), tf_keras.Input((6, 6, 1), name="right")
    encoder = tf_keras.Sequential(
        [
            tf_keras.Input((6, 6, 1)), L.Conv2D(4, 3, use_bias=False), L.BatchNormalization(), L.ReLU(),
            tf_keras.Sequential([L.Conv2D(5, 3, activation="relu"), L.Flatten()], name="inner"), L.Dense(6),
        ],
        name="encoder",
    )  # fmt: skip
    distance = L.Subtract()([encoder(left), encoder(right)])
    return tf_keras.Model([left, right], L.Dense(1, activation="sigmoid", name="same")(distance))


def nested_outputs():
    """Outputs straight out of a nested model of two outputs, of which a plain layer reads one too."""
    inner_in = tf_keras.Input((5,))
    hidden = L.Dense(4, activation="relu")(inner_in)
    inner = tf_keras.Model(inner_in, [L.Dense(3, activation="softmax")(hidden), L.Dense(2)(hidden)], name="heads")
    vector = tf_keras.Input((5,), name="vector")
    first, second = inner(L.Dense(5, activation="relu")(vector))
    return tf_keras.Model(vector, [first, second, L.Dense(1, name="extra")(second)])


def by_dict():
    """Inputs and outputs by key, an integer input, a recurrent layer that gives its state as well."""
    tokens = tf_keras.Input((6,), dtype="int32", name="token_layer")
    level = tf_keras.Input((4,), name="level_layer")
    x = L.Embedding(10, 4)(tokens)
    sequence, state, _ = L.LSTM(5, return_sequences=True, return_state=True)(x)
    y = L.Conv1D(6, 3, activation="relu")(sequence)
    y = L.Concatenate()([L.GlobalMaxPooling1D()(y), state, L.Dense(3, activation="relu")(level)])
    out = L.Dense(2, name="two")(L.Dense(7, activation="relu")(y))
    return tf_keras.Model({"tokens": tokens, "level": level}, {"scores": out})


def oddities():
    """Grouped convolution, layer norm, PReLU of both kinds, 1-D transposed and depthwise, repeated vectors."""
    sequence = tf_keras.Input((8, 4), name="frames")
    x = L.Conv1D(8, 3, padding="causal", dilation_rate=2)(sequence)
    x = L.PReLU(shared_axes=[1])(L.BatchNormalization(center=False)(x))
    x = L.BatchNormalization()(L.Conv1D(6, 3, groups=2)(x))
    x = L.Conv1D(6, 1, activation="relu")(L.LayerNormalization()(x))
    x = L.PReLU()(L.BatchNormalization()(L.DepthwiseConv1D(3, depth_multiplier=2)(x)))
    x = L.Conv1DTranspose(5, 2, strides=2, activation="elu")(x)
    x = L.SeparableConv1D(6, 3, depth_multiplier=2, padding="causal", dilation_rate=2, activation="relu")(x)
    y = L.RepeatVector(8)(L.Dense(6, activation=tf_keras.layers.LeakyReLU(0.1))(L.GlobalAveragePooling1D()(x)))
    x = L.Average()([x, y])
    x = L.Permute((2, 1))(L.Conv1D(3, 1)(x))
    return tf_keras.Model(sequence, L.Dense(2, name="out")(L.Flatten()(x)))


def volumes():
    """Three dimensions, where normalization after an activation has no depthwise form."""
    volume = tf_keras.Input((4, 6, 6, 1), name="volume")
    x = L.BatchNormalization()(L.Conv3D(4, 3, padding="same", activation="relu")(volume))
    x = L.BatchNormalization()(L.Conv3DTranspose(3, 2, strides=2)(L.MaxPooling3D(2)(x)))
    return tf_keras.Model(volume, L.Dense(2, name="out")(L.GlobalAveragePooling3D()(x)))


MODELS: dict[str, Callable[[], Any]] = {
    **tiny.TINY,
    **{
        f.__name__: f
        for f in (
            inverted_residuals, squeeze_excite, unet, densenet, siamese, nested_outputs, by_dict, oddities, volumes,
        )
    },
}  # fmt: skip


def shaken(model, seed: int = 0):
    """Every weight away from its first value: what is left out or put in the wrong place then shows."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        values = weight.numpy()
        if "variance" in weight.name:
            values = random.uniform(0.3, 2.0, values.shape)
        elif "gamma" in weight.name:
            values = random.uniform(0.5, 1.5, values.shape)
        elif values.ndim == 1 or "alpha" in weight.name:
            values = random.normal(0, 0.3, values.shape)
        weight.assign(values)
    return model


def signature_of(model) -> Signature:
    def specs(structure, names):
        keyed = [(key, structure[key]) for key in sorted(structure)] if isinstance(structure, dict) else list(
            zip(names, tf.nest.flatten(structure), strict=True)
        )
        plain = named([name for name, _ in keyed])
        return tuple(tensor_spec(n, t.shape, t.dtype.name) for n, (_, t) in zip(plain, keyed, strict=True))

    return Signature(
        inputs=specs(model.input, model.input_names), outputs=specs(model.output, model.output_names)
    )


def rows_for(signature: Signature, count: int = 4, seed: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        port.name: random.normal(size=(count, *port.shape[1:])).astype(np.float32)
        if port.dtype == "float32"
        else random.integers(0, 10, (count, *port.shape[1:])).astype(port.dtype)
        for port in signature.inputs
    }


@pytest.fixture(scope="session")
def opened() -> Callable[[str], tuple[Any, KerasNetwork, dict[str, np.ndarray]]]:
    """(the Keras model, taken apart, rows) by name; built once, so that nobody may change it."""
    made: dict[str, Any] = {}

    def get(name: str):
        if name not in made:
            tf_keras.backend.clear_session()
            tf_keras.utils.set_random_seed(0)
            model = shaken(MODELS[name]())
            signature = signature_of(model)
            made[name] = (model, trainable(model, signature), rows_for(signature))
        return made[name]

    return get


@pytest.fixture(scope="session")
def shake():
    return shaken


@pytest.fixture(scope="session")
def ports():
    return signature_of


@pytest.fixture(scope="session")
def rows():
    return rows_for
