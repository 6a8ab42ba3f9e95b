"""The search for whether evening out channels pays: plain files with and without it, held to the output error.

The factors are powers of two, so that the float network gives the same bits as before.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mlopt.convert import equalize
from mlopt.convert.equalize import Link
from mlopt_tflite import ranges, weight_files
from mlopt_tflite.observe import Observed, again
from mlopt_tflite.pairs import INPUT_AXIS, Pair, pairs
from mlopt_tflite.scales import Range
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import bias_of, weight_of

Trial = Callable[[Model, Mapping[int, Range]], bytes]   # a float model and its min-max ranges -> a quantized file

JUDGED = 64      # samples per trial
GAIN = 0.9       # the output error must fall this far: a trial decides before ranges and rounding are searched


def link(observed: Observed, pair: Pair) -> Link:
    writer, reader = (weight_of(observed.model, layer) for layer in (pair.writer, pair.reader))
    peaks = np.max([np.abs(observed.spans[t]).max(axis=0) for t in pair.tensors], axis=0)
    if pair.reader.kind == "DEPTHWISE_CONV_2D":
        read, shares = equalize.weight_peaks(reader, 3).reshape(len(peaks), -1).max(axis=1), None
    else:
        axis = INPUT_AXIS[pair.reader.kind]
        read, shares = equalize.weight_peaks(reader, axis), equalize.weight_shares(reader, pair.reader.axis, axis)
    written = equalize.weight_peaks(writer, pair.writer.axis)
    return Link(writer=pair.writer.op, reader=pair.reader.op, peaks=peaks, written=written, read=read, shares=shares)


def rescaled(model: Model, chosen: Sequence[Pair], factors: Sequence[np.ndarray]) -> Model:
    """The float model with each pair's tensor divided by its factors [channels]; powers of two change no bit."""
    weights: dict[int, np.ndarray] = {}
    biases: dict[int, np.ndarray] = {}
    for pair, factor in zip(chosen, factors, strict=True):
        writer, reader = pair.writer, pair.reader
        written = weights.get(writer.op, weight_of(model, writer))
        weights[writer.op] = equalize.scaled(written, 1 / factor, writer.axis)
        if writer.bias is not None:
            biases[writer.op] = bias_of(model, writer) / factor
        read = weights.get(reader.op, weight_of(model, reader))
        if reader.kind == "DEPTHWISE_CONV_2D":
            weights[reader.op] = equalize.scaled(read, np.repeat(factor, reader.shape[3] // len(factor)), 3)
        else:
            weights[reader.op] = equalize.scaled(read, factor, INPUT_AXIS[reader.kind])
    return weight_files.replaced(model, weights, biases)


def _rescaled_ranges(
    observed: Observed, chosen: Sequence[Pair], factors: Sequence[np.ndarray]
) -> dict[int, Range]:
    """Min-max ranges of the rescaled model, without running it."""
    found = ranges.ranges_of(observed, "min-max")
    for pair, factor in zip(chosen, factors, strict=True):
        for tensor in pair.tensors:
            low, high = observed.spans[tensor] / factor
            found[tensor] = float(low.min()), float(high.max())
    return found


def search(observed: Observed, trial: Trial) -> tuple[Observed, str]:
    """What was observed, of the model with equalized channels where that lowers the output error; and what was found.

    Each way of choosing factors is tried on one plain file, and only the one that is kept costs a new pass of samples.
    """
    every = [p for p in pairs(observed.model) if all(t in observed.spans for t in p.tensors)]
    links = [link(observed, pair) for pair in every]
    if not every:
        return observed, "left: no layer alone reads another's channels behind a homogeneous activation (ReLU6 is none)"
    if not equalize.worth_trying(links):
        return observed, f"left: the {len(links)} tensors between two layers are even already"
    judge = observed.judge().first(JUDGED)
    start = judge.distance(trial(observed.model, ranges.ranges_of(observed, "min-max"))).noise
    best, least, chosen = "", start * GAIN, observed.model
    for name, way in equalize.WAYS.items():
        factors = way(links)
        model = rescaled(observed.model, every, factors)
        noise = judge.distance(trial(model, _rescaled_ranges(observed, every, factors))).noise
        if noise < least:
            best, least, chosen = name, noise, model
    if not best:
        return observed, f"left: evening out {len(every)} tensors did not lower the output error"
    fell = f"a trial's noise fell from {start:.3g} to {least:.3g}"
    return again(observed, chosen), f"{len(every)} tensors evened out by {best}: {fell}"

