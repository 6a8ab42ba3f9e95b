"""Move biases so that the mean of each output channel stays where it was in float.

Rounding is not neutral: over the inputs that really come, each channel's rounding errors add up to a constant that a
bias can take back (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction";
here the means are measured).
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlopt_tflite.engine import Engine, to_real
from mlopt_tflite.observe import Observed, channel_mean
from mlopt_tflite.weights import Layer, Quantized, bias_of, layers, weight_of

if TYPE_CHECKING:
    from mlopt_tflite.static import Lowered

DRIFT_SAMPLES = 32


def for_rounding(observed: Observed, chosen: Mapping[int, Quantized]) -> dict[int, np.ndarray]:
    """Biases by operation that take back the mean of (weights - rounded weights) times input.

    Exact over the observed inputs where patches were kept; from channel means for depthwise layers, where the border is
    taken to look like the rest. Layers of other kinds keep their bias.
    """
    found = {}
    for layer in layers(observed.model):
        if layer.op not in chosen:
            continue
        lost = weight_of(observed.model, layer).astype(np.float64) - chosen[layer.op].real()
        shift = _response(layer, lost, observed)
        if shift is not None:
            found[layer.op] = (bias_of(observed.model, layer) + shift).astype(np.float32)
    return found


def _response(layer: Layer, weights: np.ndarray, observed: Observed) -> np.ndarray | None:
    """[outputs]: the mean over inputs of weights times input."""
    moments = observed.moments.get(layer.op)
    if moments is not None and moments.total is not None:
        return weights.reshape(len(weights), -1) @ (moments.total / moments.count)
    means = observed.means.get(layer.input)
    return None if means is None else through_channels(layer, weights, means)


def through_channels(layer: Layer, weights: np.ndarray, means: np.ndarray) -> np.ndarray | None:
    """[outputs]: weights times an input that is constant in each channel.

    >>> layer = Layer(op=0, kind="CONV_2D", input=0, weight=1, bias=None, output=2, axis=0, shape=(1, 1, 2, 3))
    >>> through_channels(layer, np.ones((1, 1, 2, 3)), np.array([1.0, 10.0, 100.0])).tolist()
    [222.0]
    """
    if layer.kind == "DEPTHWISE_CONV_2D":
        return weights.sum(axis=(0, 1, 2)) * np.repeat(means, weights.shape[3] // len(means))
    if layer.kind == "CONV_2D" and weights.shape[-1] == len(means):   # a grouped convolution sees part of the channels
        return weights.sum(axis=(1, 2)) @ means
    if layer.kind == "FULLY_CONNECTED" and weights.shape[1] == len(means):
        return weights @ means
    return None


def for_drift(
    observed: Observed,
    biases: Mapping[int, np.ndarray],
    build: Callable[[Mapping[int, np.ndarray]], tuple["Lowered", bytes]],
) -> dict[int, np.ndarray]:
    """Biases that also take back what rounding the activations did to the mean of each layer's input.

    Layer by layer in running order: each is corrected on inputs that come out of the corrected layers before it.
    `build` makes the integer file for given biases.
    """
    rows = {name: array[:DRIFT_SAMPLES] for name, array in observed.observed.items()}
    inputs = {layer.input: layer.input for layer in layers(observed.model) if layer.input in observed.means}
    float_means = _input_means(Engine(observed.content, keep_all=True), rows, inputs)
    current = dict(biases)
    for layer in layers(observed.model):
        lowered, content = build(current)
        if layer.input not in lowered.tensors or layer.input not in float_means:
            continue
        means = _input_means(
            Engine(content, keep_all=True), rows, {layer.input: lowered.tensors[layer.input]}
        )
        weights = weight_of(observed.model, layer).astype(np.float64)
        shift = through_channels(layer, weights, float_means[layer.input] - means[layer.input])
        if shift is not None:
            current[layer.op] = (current.get(layer.op, bias_of(observed.model, layer)) + shift).astype(np.float32)
    return current


def _input_means(engine: Engine, rows: Mapping[str, np.ndarray], where: Mapping[int, int]) -> dict[int, np.ndarray]:
    """By float tensor, the mean of each channel of the tensor that holds it in the engine's file."""
    details = {d["index"]: d["quantization"] for d in engine.interpreter.get_tensor_details()}
    sums: dict[int, np.ndarray] = {}
    count = len(next(iter(rows.values())))
    for row in range(count):
        engine.stage({name: array[row : row + 1] for name, array in rows.items()})
        engine.invoke()
        for source, index in where.items():
            value = to_real(engine.tensor(index), *details[index])
            sums[source] = sums.get(source, 0.0) + channel_mean(value)
    return {source: total / count for source, total in sums.items()}
