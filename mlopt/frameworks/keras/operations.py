"""What stands in a `tf_keras` graph for an operation of `keras.ops`: TensorFlow's function of the same meaning.

Each takes the Keras 3 operation, whose attributes are its settings, and then what it is called with.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mlopt.frameworks.keras.quiet import tf


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda operation, *tensors: function(*tensors)


def _over_axes(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda operation, x: function(x, axis=operation.axis, keepdims=operation.keepdims)


def _reshape(operation: Any, x: Any) -> Any:
    return tf.reshape(x, [-1 if size is None else size for size in operation.newshape])


def _concatenate(operation: Any, tensors: Any) -> Any:
    return tf.concat(list(tensors), axis=operation.axis)


def _sliced(operation: Any, x: Any, key: Any) -> Any:
    return x[key]


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "Add": _plain(tf.add),
    "Subtract": _plain(tf.subtract),
    "Multiply": _plain(tf.multiply),
    "Divide": _plain(tf.divide),
    "TrueDivide": _plain(tf.divide),
    "Maximum": _plain(tf.maximum),
    "Minimum": _plain(tf.minimum),
    "Power": _plain(tf.pow),
    "Matmul": _plain(tf.matmul),
    "Negative": _plain(tf.negative),
    "Absolute": _plain(tf.abs),
    "Abs": _plain(tf.abs),
    "Square": _plain(tf.square),
    "Sqrt": _plain(tf.sqrt),
    "Rsqrt": _plain(tf.math.rsqrt),
    "Exp": _plain(tf.exp),
    "Log": _plain(tf.math.log),
    "Relu": _plain(tf.nn.relu),
    "Relu6": _plain(tf.nn.relu6),
    "Sigmoid": _plain(tf.sigmoid),
    "Tanh": _plain(tf.tanh),
    "Silu": _plain(tf.nn.silu),
    "Softplus": _plain(tf.math.softplus),
    "Elu": lambda operation, x: tf.where(x > 0, x, operation.alpha * (tf.exp(tf.minimum(x, 0.0)) - 1)),
    "Gelu": lambda operation, x: tf.nn.gelu(x, approximate=operation.approximate),
    "LeakyRelu": lambda operation, x: tf.nn.leaky_relu(x, alpha=operation.negative_slope),
    "Softmax": lambda operation, x: tf.nn.softmax(x, axis=operation.axis),
    "LogSoftmax": lambda operation, x: tf.nn.log_softmax(x, axis=operation.axis),
    "Mean": _over_axes(tf.reduce_mean),
    "Sum": _over_axes(tf.reduce_sum),
    "Max": _over_axes(tf.reduce_max),
    "Min": _over_axes(tf.reduce_min),
    "Prod": _over_axes(tf.reduce_prod),
    "Clip": lambda operation, x: tf.clip_by_value(x, operation.x_min, operation.x_max),
    "Transpose": lambda operation, x: tf.transpose(x, operation.axes),
    "ExpandDims": lambda operation, x: tf.expand_dims(x, operation.axis),
    "Squeeze": lambda operation, x: tf.squeeze(x, operation.axis),
    "Cast": lambda operation, x: tf.cast(x, operation.dtype),
    "Identity": _plain(tf.identity),
    "Reshape": _reshape,
    "Concatenate": _concatenate,
    "GetItem": _sliced,
}
