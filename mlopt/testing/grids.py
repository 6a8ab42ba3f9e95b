"""Tiny networks on hand-made grids, and the graph that training would have rounded, in TensorFlow's own arithmetic.

Imports TensorFlow: for worker processes and tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from mlopt.grid import ActivationGrid, Grid, WeightGrid, before, write_probes
from mlopt.scheme import INT8, MIXED_4_8
from mlopt.testing.tiny import TinyModel

layers = tf_keras.layers
PROBES = 3
SQUASHING = ("softmax", "sigmoid")
UNIT = ActivationGrid(low=0.0, high=255 / 256)     # what a sigmoid's kernel prescribes in LiteRT


def residual() -> tf_keras.Model:
    """Convolutions with their ReLU inside and behind, a sum, pooling, dense with softmax; a layer without a bias."""
    image = tf_keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="inner")(stem)
    x = layers.ReLU(name="inner_relu")(x)
    x = layers.Conv2D(8, 3, padding="same", name="last")(x)
    x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([x, stem]))
    x = layers.Flatten(name="flat")(layers.AveragePooling2D(4, name="pool")(x))
    return tf_keras.Model(image, layers.Dense(4, activation="softmax", name="label")(x))


def depthwise() -> tf_keras.Model:
    """Depthwise (one with a multiplier) and pointwise with ReLU6, a mean over all places, a plain number out."""
    image = tf_keras.Input((12, 6, 1), name="features")
    x = layers.Conv2D(6, (5, 3), strides=2, padding="same", activation="relu6", name="stem")(image)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu6", name="wide")(x)
    x = layers.Conv2D(7, 1, activation="relu", name="point")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="narrow")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return tf_keras.Model(image, layers.Dense(3, name="word")(x))


def branches() -> tf_keras.Model:
    """Two branches joined, squeeze-and-excite, max pooling, 1-D convolution after a reshape."""
    image = tf_keras.Input((8, 8, 2), name="image")
    left = layers.Conv2D(4, 3, padding="same", activation="relu", name="left")(image)
    right = layers.Conv2D(4, 1, name="right")(image)
    x = layers.Concatenate(name="joined")([left, right])
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = layers.Conv2D(3, 1, activation="relu", name="narrow")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="gate")(gate)
    x = layers.MaxPooling2D(2, name="pool")(layers.Multiply(name="excite")([x, gate]))
    x = layers.Reshape((16, 8), name="frames")(x)
    x = layers.Conv1D(5, 3, padding="same", activation="relu", name="time")(x)
    return tf_keras.Model(image, layers.Dense(3, name="out")(layers.Flatten(name="flat")(x)))


NETWORKS = {f.__name__: f for f in (residual, depthwise, branches)}
UNROUNDED = {"inner", "sum"}                                      # a ReLU follows alone: one operation with it
SAME_RANGE: tuple[dict[str, str], ...] = {"pool": "sum_relu", "flat": "sum_relu"}, {}, {
    "left": "joined", "right": "joined", "pool": "excite", "frames": "excite", "flat": "time",
}
KEPT = dict(zip(NETWORKS, SAME_RANGE, strict=True))


@dataclass(frozen=True, kw_only=True)
class Case:
    model: TinyModel
    grid: Grid
    whole: Mapping[str, np.ndarray]       # the trained whole numbers, in the framework's shape
    inputs: Mapping[str, np.ndarray]

    def trained(self) -> np.ndarray:
        """Outputs of the graph that rounds, for `inputs`."""
        return _walk(self.model.model, next(iter(self.inputs.values())), self.grid.activations)[1]


def case(
    name: str, folder: Path, *, bits: tuple[int, ...] = (8,), clip: float = 0.9, shared: bool = True
) -> Case:
    """Kernels rounded to `bits` in turn; inside, ranges are `clip` of what random inputs reach, and some are cut off.

    Without `shared` each node has its own range, also where integer kernels want one for inputs and outputs.
    """
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(7)
    model, random = NETWORKS[name](), np.random.default_rng(5)
    weights, whole = {}, {}
    owners = [layer for layer in model.layers if layer.weights]
    for place, layer in enumerate(owners):
        weights[layer.name], whole[layer.name] = _round_kernel(layer, bits[place % len(bits)], random)
    shape = (PROBES + 200, *model.inputs[0].shape[1:])
    image = random.normal(size=shape).astype(np.float32)
    values = _walk(model, image, {})[0]
    spans = {}
    for node, array in values.items():
        kept = 1.05 if node.startswith(model.output_names[0]) else clip
        low, high = float(min(array.min() * kept, 0.0)), float(max(array.max() * kept, 0.0))
        if node not in UNROUNDED:
            spans[node] = ActivationGrid(low=low, high=high)
    for node, source in KEPT[name].items() if shared else ():
        spans[node] = spans[source]
    spans |= {layer.name: UNIT for layer in model.layers if _squashes(layer)}
    folder.mkdir(parents=True)
    grid = Grid(scheme=INT8 if bits == (8,) else MIXED_4_8, activations=spans, weights=weights, folder=folder)
    probes = {model.input_names[0]: image[:PROBES]}
    write_probes(folder, probes, {node: array[:PROBES] for node, array in values.items() if node in spans})
    grid.write()
    return Case(
        model=TinyModel(model), grid=Grid.read(folder), whole=whole, inputs={model.input_names[0]: image[PROBES:]}
    )


def _round_kernel(
    layer: tf_keras.layers.Layer, bits: int, random: np.random.Generator
) -> tuple[WeightGrid, np.ndarray]:
    """Whole numbers in place of the layer's kernel, on steps that its largest weight does not tell."""
    kernel = layer.weights[0]
    axis = 2 if "depthwise" in kernel.name else len(kernel.shape) - 1
    limit, channels = 2 ** (bits - 1) - 1, kernel.shape[axis]
    whole = np.clip(np.rint(random.normal(0, limit / 2.5, kernel.shape)), -limit, limit)
    fan_in = whole.size / channels
    steps = (random.uniform(1.5, 4.5, channels) / limit / np.sqrt(fan_in)).astype(np.float32)
    kernel.assign(whole.astype(np.float32) * steps.reshape([-1 if i == axis else 1 for i in range(whole.ndim)]))
    for bias in layer.weights[1:]:
        bias.assign(random.normal(0, 0.3, bias.shape))
    return WeightGrid(bits=bits, axis=axis, steps=tuple(float(s) for s in steps)), whole.astype(np.int8)


def _squashes(layer: tf_keras.layers.Layer) -> bool:
    return getattr(getattr(layer, "activation", None), "__name__", "") in SQUASHING


def _walk(
    model: tf_keras.Model, image: np.ndarray, spans: Mapping[str, ActivationGrid]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """By node what each layer gives, rounded to `spans` on the way; and the output."""

    def rounded(name: str, value: tf.Tensor) -> tf.Tensor:
        span = spans.get(name)
        return value if span is None else tf.quantization.fake_quant_with_min_max_vars(value, span.low, span.high)

    values: dict[str, tf.Tensor] = {}
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            values[layer.name] = rounded(layer.name, tf.constant(image))
            continue
        came = [values[node.layer.name] for node in _sources(layer)]
        if _squashes(layer):
            function, layer.activation = layer.activation, tf_keras.activations.linear
            inner = before(layer.name)
            values[inner] = rounded(inner, layer(came[0]))
            layer.activation = function
            values[layer.name] = function(values[inner])
            if layer.name != model.output_names[0]:
                values[layer.name] = rounded(layer.name, values[layer.name])
        else:
            values[layer.name] = rounded(layer.name, layer(came if len(came) > 1 else came[0]))
    return {name: value.numpy() for name, value in values.items()}, values[model.output_names[0]].numpy()


def _sources(layer: tf_keras.layers.Layer) -> list:
    return list(layer.inbound_nodes[0].parent_nodes)
