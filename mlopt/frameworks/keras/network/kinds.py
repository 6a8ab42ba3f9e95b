"""What each Keras layer does to channels. What is not known here is `Kind.OTHER`, with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.frameworks.keras.architecture.names import words
from mlopt.frameworks.keras.network.plan import Call, Ref
from mlopt.frameworks.keras.quiet import tf, tf_keras
from mlopt.network import Kind

CONVOLUTIONS = words("Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose Dense")
DEPTHWISE = words("DepthwiseConv1D DepthwiseConv2D")
NORMALIZATIONS = words("BatchNormalization SyncBatchNormalization")
ADDS = words("Add Subtract Average Maximum Minimum")
# each channel alone, whatever their settings
PASSES = words(
    """
    RepeatVector PReLU ZeroPadding1D Cropping1D UpSampling1D ReLU LeakyReLU ELU ThresholdedReLU
    """
)
# nothing at inference
IDENTITIES = words(
    """
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianNoise GaussianDropout AlphaDropout
    ActivityRegularization
    """
)
# each channel alone where channels are last
SPATIAL = words(
    """
    MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D ZeroPadding2D ZeroPadding3D Cropping2D Cropping3D UpSampling2D UpSampling3D
    """
)
# gives the values of its input at inference, zeros beside them, or means of a few
KEEPING_RANGE = words(
    """
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianNoise GaussianDropout AlphaDropout
    ActivityRegularization RepeatVector Flatten Reshape Permute Concatenate Maximum Minimum
    MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D
    """
)
KEEPING_RANGE_OPERATIONS = words(
    """
    reshape transpose squeeze expand_dims reduce_max reduce_min maximum minimum concat stack identity stop_gradient
    pad tile max_pool2d avg_pool2d resize_images
    """
)
ACTIVATIONS = words(
    """
    linear relu relu6 sigmoid tanh elu selu softplus softsign swish silu gelu exponential hard_sigmoid mish leaky_relu
    """
)
MIXING = words("softmax log_softmax")       # activations over all channels
ACTIVATION_LAYERS = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "PReLU": "prelu", "Softmax": "softmax",
                     "ThresholdedReLU": "thresholded_relu"}      # fmt: skip
PAIRS = {"add": Kind.ADD, "subtract": Kind.ADD, "sub": Kind.ADD, "maximum": Kind.ADD, "minimum": Kind.ADD,
         "multiply": Kind.MULTIPLY, "mul": Kind.MULTIPLY}        # fmt: skip
WITH_NUMBER = {*PAIRS, *words("truediv divide div_no_nan divide_no_nan pow clip_by_value")}
ELEMENTWISE = words(
    """
    relu relu6 sigmoid tanh elu selu softplus softsign silu swish gelu leaky_relu hard_sigmoid exp abs square sqrt
    negative neg identity cast stop_gradient
    """
)
REDUCTIONS = words("reduce_mean reduce_max reduce_sum reduce_min")


@dataclass(frozen=True, kw_only=True)
class Role:
    kind: Kind
    activation: str = "linear"
    multiplier: int = 1
    note: str = ""


def other(note: str, activation: str = "linear") -> Role:
    return Role(kind=Kind.OTHER, note=note, activation=activation)


def role(call: Call, layer: Any, ins: Sequence[tuple[int, ...]], out: tuple[int, ...], *, last: bool) -> Role:
    """Of one call, from its shapes without the batch; `last` where nothing but the model's caller reads its output."""
    name = type(layer).__name__
    if len(call.nodes) > 1:
        return other("it has several outputs")
    if name in ("TFOpLambda", "SlicingOpLambda"):
        return _operation(call, layer, ins, out)
    if not type(layer).__module__.startswith("tf_keras."):
        return other(f"{name} is not a layer of Keras")
    if getattr(layer, "data_format", None) == "channels_first":
        return other("its channels come first")
    activation = activation_name(layer)
    if activation in MIXING and not last:
        return other(f"{activation} mixes channels", activation)
    if activation not in MIXING and activation not in ACTIVATIONS and activation not in ACTIVATION_LAYERS.values():
        return other(f"the activation {activation} is not known", activation)
    return _layer(call, layer, ins, out, activation)


def _layer(call: Call, layer: Any, ins: Sequence[tuple[int, ...]], out: tuple[int, ...], activation: str) -> Role:
    name = type(layer).__name__
    if name in CONVOLUTIONS:
        if getattr(layer, "groups", 1) != 1:
            return other(f"its channels are in {layer.groups} groups", activation)
        return Role(kind=Kind.CONVOLUTION, activation=activation)
    if name in DEPTHWISE:
        return Role(kind=Kind.DEPTHWISE, activation=activation, multiplier=layer.depth_multiplier)
    if name in NORMALIZATIONS:
        if call.kwargs.get("training") is True:
            return other("it normalizes by its batch at inference too")
        last_axis = list(layer.axis) == [len(out)]
        return Role(kind=Kind.NORMALIZATION) if last_axis else other(f"it normalizes over axis {list(layer.axis)}")
    if name in ADDS or name == "Multiply":
        return Role(kind=Kind.ADD if name in ADDS else Kind.MULTIPLY)
    if name == "Concatenate":
        along = layer.axis in (-1, len(out))
        return Role(kind=Kind.CONCAT) if along else other(f"it joins along axis {layer.axis}")
    if name in ("Flatten", "Reshape"):
        return reshaping(ins[0], out)
    if name in ("Activation", "Softmax") and activation in MIXING:
        return other(f"{activation} mixes channels", activation)
    if name in PASSES or name in IDENTITIES or name in SPATIAL or name == "Activation":
        return Role(kind=Kind.PASS, activation=activation)
    if name == "Rescaling" and np.size(layer.scale) == np.size(layer.offset) == 1:
        return Role(kind=Kind.PASS)
    return other(f"{name} may mix or move channels", activation)


def reshaping(before: tuple[int, ...], after: tuple[int, ...]) -> Role:
    """Of a reshape, from shapes without the batch.

    >>> reshaping((1, 1, 8), (8,)).kind, reshaping((4, 4, 8), (16, 8)).kind, reshaping((4, 4, 8), (128,)).kind
    (<Kind.PASS: 'pass'>, <Kind.PASS: 'pass'>, <Kind.FLATTEN: 'flatten'>)
    """
    if before and after and before[-1] == after[-1]:
        return Role(kind=Kind.PASS)
    if len(after) == 1:
        return Role(kind=Kind.FLATTEN)
    return other("it takes channels apart")


def activation_name(layer: Any) -> str:
    """What a layer applies last: "linear", "relu", "relu6", "softmax", ...

    >>> activation_name(tf_keras.layers.ReLU(6.0)), activation_name(tf_keras.layers.Dense(2, activation="tanh"))
    ('relu6', 'tanh')
    """
    kind = type(layer).__name__
    if kind == "ReLU":
        plain = not layer.threshold and not layer.negative_slope
        if not plain:
            return "leaky_relu"
        limit = layer.max_value
        return "relu" if limit is None else "relu6" if float(limit) == 6.0 else f"relu{float(limit):g}"
    if kind in ACTIVATION_LAYERS:
        return ACTIVATION_LAYERS[kind]
    if kind == "TFOpLambda":
        name = operation_name(layer)
        return name if name in ACTIVATIONS | MIXING else "linear"
    found = getattr(layer, "activation", None)
    if found is None:
        return "linear"
    if isinstance(found, tf_keras.layers.Layer):
        return activation_name(found)
    return str(getattr(found, "__name__", type(found).__name__))


def keeps_range(layer: Any) -> bool:
    """Whether integer kernels give the output the scale of the input."""
    kind = type(layer).__name__
    if kind == "SlicingOpLambda":
        return True
    if kind == "TFOpLambda":
        return operation_name(layer) in KEEPING_RANGE_OPERATIONS
    return kind in KEEPING_RANGE or (kind == "Activation" and activation_name(layer) == "linear")


def operation_name(layer: Any) -> str:
    """The last part of a TensorFlow function's name, "relu6" of "nn.relu6"."""
    return str(layer.get_config()["function"]).rpartition(".")[2]


def _operation(call: Call, layer: Any, ins: Sequence[tuple[int, ...]], out: tuple[int, ...]) -> Role:
    """Of a TensorFlow function in a Keras graph."""
    name = operation_name(layer)
    activation = activation_name(layer)
    unknown = other(f"the operation {name} may mix or move channels", activation)
    if name in MIXING:
        return other(f"{name} mixes channels", activation)
    if len(ins) == 1 and name in ELEMENTWISE:
        return Role(kind=Kind.PASS, activation=activation)
    if len(ins) == 1 and name in WITH_NUMBER and _only_numbers(call):
        return Role(kind=Kind.PASS)
    if len(ins) > 1 and name in PAIRS and len({len(shape) for shape in ins}) == 1:
        return Role(kind=PAIRS[name])
    if name == "concat" and _argument(call, 1, "axis") in (-1, len(out)):
        return Role(kind=Kind.CONCAT)
    if len(ins) == 1 and name in REDUCTIONS:
        axes = _argument(call, 1, "axis")
        axes = axes if isinstance(axes, list | tuple) else [axes]
        rank = len(ins[0]) + 1
        spatial = [isinstance(axis, int) and 0 < axis % rank < rank - 1 for axis in axes]
        return Role(kind=Kind.PASS) if all(spatial) else unknown
    return unknown


def _only_numbers(call: Call) -> bool:
    """Whether everything beside tensors is a single number."""
    leaves = [leaf for leaf in tf.nest.flatten([call.args, dict(call.kwargs)]) if not isinstance(leaf, Ref | str)]
    return all(leaf is None or np.size(leaf) == 1 for leaf in leaves)


def _argument(call: Call, place: int, name: str) -> Any:
    kwargs: Mapping[str, Any] = call.kwargs
    return kwargs.get(name, call.args[place] if len(call.args) > place else None)
