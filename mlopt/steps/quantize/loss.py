"""How far a network's outputs are from what they were, and what each kernel adds to that when it alone is rounded."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mlopt.frameworks.protocol import TrainableModel
from mlopt.network import Node
from mlopt.outputs import Head, head_of
from mlopt.ranges import fitted_scales, rounded
from mlopt.scheme import Granularity, IntegerFormat
from mlopt.steps.quantize.plan import kernels

LEAST = 1e-7        # probabilities below are taken for it

Arrays = Mapping[str, np.ndarray]


def distance(reference: Arrays, found: Arrays, heads: Mapping[str, Head]) -> float:
    """Sum over outputs: Kullback-Leibler divergence in nats where they are probabilities, else noise over signal.

    Arrays [N, ...] by output name; `heads` say what each output applies last. Means over samples.

    >>> wanted, got = {"y": np.array([[1.0, 0.0]])}, {"y": np.array([[0.5, 0.5]])}
    >>> round(distance(wanted, got, {"y": Head.SOFTMAX}), 4)
    0.6931
    >>> round(distance({"y": np.array([[3.0, 4.0]])}, {"y": np.array([[3.0, 3.0]])}, {"y": Head.PLAIN}), 4)
    0.04
    """
    total = 0.0
    for name, wanted in reference.items():
        p, q = np.asarray(wanted, np.float64), np.asarray(found[name], np.float64)
        if heads[name] is Head.SOFTMAX:
            total += float(_divergence(p, q).sum(axis=-1).mean())
        elif heads[name] is Head.SIGMOID:
            total += float((_divergence(p, q) + _divergence(1 - p, 1 - q)).reshape(len(p), -1).sum(axis=1).mean())
        else:
            total += float(np.square(q - p).sum() / max(np.square(p).sum(), LEAST))
    return max(total, 0.0)


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Terms p * log(p / q)."""
    p, q = np.maximum(p, LEAST), np.maximum(q, LEAST)
    return np.asarray(p * np.log(p / q))


def output_heads(model: TrainableModel, reference: Arrays) -> dict[str, Head]:
    """What each output applies last, by its name in the signature; `reference` holds outputs of the model."""
    outputs = zip(model.signature.outputs, model.output_activations, strict=True)
    return {port.name: head_of(activation, reference[port.name]) for port, activation in outputs}


def sensitivities(
    model: TrainableModel, inputs: Arrays, formats: Mapping[str, Sequence[IntegerFormat]],
    on_done: Callable[[int], None],
) -> dict[str, tuple[float, ...]]:
    """By kernel and each of its formats, the distance of the outputs when that kernel alone is rounded to it.

    The first format is what the others are held against: its distance counts as 0. `inputs` are rows of the validation
    samples. The model has its own weights again afterwards.
    """
    reference = model.predict(inputs)
    heads, weights, found = output_heads(model, reference), model.weights(), {}
    owners = kernels(model.network)
    for number, (name, able) in enumerate(formats.items()):
        lost = [0.0]
        for format in able[1:]:
            model.set_weights({name: rounded_kernel(weights[name], owners[name][1][0], format)})
            lost.append(distance(reference, model.predict(inputs), heads))
        found[name] = tuple(lost)
        model.set_weights({name: weights[name]})
        on_done(number + 1)
    return found


def rounded_kernel(kernel: np.ndarray, node: Node, format: IntegerFormat) -> np.ndarray:
    """A kernel of `node` on its best grid."""
    most = 2 ** (format.bits - 1) - 1
    axes = node.kernel_axes if format.granularity is Granularity.CHANNEL else ()
    scales = fitted_scales(kernel, axes, most)
    return rounded(kernel, scales, 0, -most, most).astype(np.float32)
