"""The scores of an output before its final softmax or sigmoid, where cross-entropy is stable."""

from collections.abc import Mapping
from typing import Any

from mlopt.frameworks.keras.quiet import tf
from mlopt.outputs import Head

SMALLEST = 1e-7         # a probability below it is cut where scores cannot be had: float32 has no more near 1


_OPS: Mapping[str, Head] = {"Softmax": Head.SOFTMAX, "Sigmoid": Head.SIGMOID}
_PASSING = ("Identity", "EnsureShape", "PreventGradient", "CheckNumerics", "FakeQuantWithMinMaxVars")


def head_of(output: Any) -> Head:
    """Of a tensor in a graph, by the operation that made it."""
    return _behind(output)[0]


def scores(output: Any, head: Head) -> Any:
    """What `head` was applied to. Where another operation hides it, from clipped probabilities."""
    found, inner = _behind(output)
    if head is Head.PLAIN or found is head:
        return inner if found is head else output
    clipped = tf.clip_by_value(output, SMALLEST, 1.0 - SMALLEST)
    return tf.math.log(clipped) - tf.math.log1p(-clipped) if head is Head.SIGMOID else tf.math.log(clipped)


def _behind(output: Any) -> tuple[Head, Any]:
    """The head and its input, past operations that change nothing; (PLAIN, output) where there is none."""
    tensor = output
    while not isinstance(tensor, tf.__internal__.EagerTensor):
        op = tensor.op
        if op.type in _OPS:
            return _OPS[op.type], op.inputs[0]
        if op.type in _PASSING:
            tensor = op.inputs[0]
        elif op.type == "AddV2" and op.inputs[1].op.type == "StopGradient":
            tensor = op.inputs[0]           # x + stop_gradient(rounded(x) - x): a straight-through rounding
        elif op.type == "Cast" and op.inputs[0].dtype.is_floating:
            tensor = op.inputs[0]
        else:
            break
    return Head.PLAIN, output
