"""How far a network's outputs are from what they were, and what each kernel adds to that when it alone has 4 bits."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mlopt.frameworks.protocol import TrainableModel
from mlopt.network import Node
from mlopt.outputs import Head, head_of
from mlopt.ranges import fitted_scales, rounded
from mlopt.techniques.quantize_plan import kernels

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
    model: TrainableModel, inputs: Arrays, names: Sequence[str], on_done: Callable[[int], None]
) -> dict[str, float]:
    """By kernel of `names`, the distance of the outputs when that kernel alone is rounded to 4 bits.

    `inputs` are rows of the validation samples. The model has its own weights again afterwards.
    """
    reference = model.predict(inputs)
    heads, weights, found = output_heads(model, reference), model.weights(), {}
    owners = kernels(model.network)
    for number, name in enumerate(names):
        model.set_weights({name: rounded_kernel(weights[name], owners[name][1][0], 4)})
        found[name] = distance(reference, model.predict(inputs), heads)
        model.set_weights({name: weights[name]})
        on_done(number + 1)
    return found


def rounded_kernel(kernel: np.ndarray, node: Node, bits: int) -> np.ndarray:
    """A kernel of `node` on its best grid, a step for each output channel."""
    most = 2 ** (bits - 1) - 1
    scales = fitted_scales(kernel, node.kernel_axes, most)
    return rounded(kernel, scales, 0, -most, most).astype(np.float32)
