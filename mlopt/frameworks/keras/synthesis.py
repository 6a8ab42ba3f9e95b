"""Inputs made from the model itself, where nobody gave data.

A network with batch normalisation has kept, at each of these layers, the mean and variance of what its training data
looked like there. Inputs whose own statistics agree at all of them excite the network as its data did, which is what
calibrating integer ranges needs (the idea: Cai et al., "ZeroQ", 2020). First the scale of the inputs is searched, since
a file does not say whether its pictures run from 0 to 255 or from -1 to 1; then each value is moved downhill.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.frameworks.keras import statistics
from mlopt.frameworks.keras.graph import FlatGraph, activation_of
from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.keras.starts import Start, along, in_range, noise, starts
from mlopt.frameworks.keras.statistics import Range, Site
from mlopt.model import Signature, TensorSpec

WORK = 350e9                 # multiply-accumulates for the descent; about 15 CPU seconds
ELEMENT_WORK = 50            # a normalised number, read and written many times a step, in multiply-accumulates
STEP_COST = 3                # one step downhill costs about three forward passes
FEWEST_STEPS, MOST_STEPS = 20, 100
FEWEST_SAMPLES = 8           # fewer have no statistics worth the name
ROUGH_SAMPLES, FINE_SAMPLES = 6, 48      # all starts are tried on few samples, the best ones again on many
FINALISTS = 8
SEARCH_SITES = 4             # the scale of the input shows in the first few normalisations
FINE_WORK = 20e9
RATE = 0.08                  # of a spread, a step
LABEL_WEIGHT = 0.02          # pull towards clear-cut classes, so that the last layer sees its real range
SHIFT = 2                    # pixels of jitter
KEPT = 1.15                  # a known convention is kept unless a free scale fits this much better


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be found: values for the inputs `moved`, beside fixed ones for `still`, that match `sites`."""

    flat: FlatGraph
    sites: tuple[Site, ...]
    moved: tuple[TensorSpec, ...]
    still: Mapping[str, np.ndarray]


def synthesise(
    flat: FlatGraph, signature: Signature, macs: int, *, count: int, seed: int
) -> tuple[dict[str, np.ndarray], str]:
    """Inputs [count, ...] by input name, and one sentence on how and how far to trust them.

    `flat` takes any batch; the work of one sample (`macs`, activations) sets how many and how long, never the clock.
    """
    random = np.random.default_rng(seed)
    sites = tuple(statistics.normalisations(flat))
    reached = _reached(flat, sites)
    moved = tuple(s for s in signature.inputs if s.dtype == "float32" and s.name in reached)
    made = {s.name: _untouched(flat, s, count, random) for s in signature.inputs if s not in moved}
    if not moved:
        return made, _say_noise(flat, signature)
    work = macs + ELEMENT_WORK * sum(math.prod(size or 1 for size in site.tensor.shape) for site in sites)
    distinct, steps = effort(work, count)
    task = Task(flat=flat, sites=sites, moved=moved, still={name: values[:distinct] for name, values in made.items()})
    chosen = _search(task, work, random)
    unit = {s.name: noise(random, s, distinct, chosen[s.name].fall) for s in moved}
    found, trace = _descend(task, chosen, unit, steps, random)
    for s in moved:
        made[s.name] = _stretched(found[s.name], s, count, random)
    scales = ", ".join(f"{s.name} {_describe(chosen[s.name].range)}" for s in moved)
    copies = f", {distinct} of them distinct," if distinct < count else ""
    return made, (
        f"{count} samples{copies} were made from the model's own {len(sites)} batch-norm statistics in {steps} steps "
        f"(mismatch {trace[0]:.3g} to {min(trace):.3g}; inputs found: {scales}): good for calibrating ranges and "
        "comparing files, no measure of accuracy on real data."
    )


def effort(work: int, count: int) -> tuple[int, int]:
    """(distinct samples, steps downhill) for a network of that much work a sample, in multiply-accumulates.

    >>> effort(16_000_000, 128), effort(1_000_000, 128), effort(4_000_000_000, 128)
    ((128, 56), (128, 100), (8, 20))
    """
    each = STEP_COST * max(work, 1)
    distinct = min(count, max(FEWEST_SAMPLES, int(WORK / (each * FEWEST_STEPS))))
    return distinct, int(min(max(WORK / (each * distinct), FEWEST_STEPS), MOST_STEPS))


def mismatch(sites: Sequence[Site], tensors: Sequence[Any]) -> Any:
    """How far tensors are from the statistics that the network expects of them: 0 is a perfect match.

    Mean over sites and channels of ((mean - expected) / deviation)^2 + (deviation / expected deviation - 1)^2.
    """
    total = tf.constant(0.0)
    for site, tensor in zip(sites, tensors, strict=True):
        over = [i for i, size in enumerate(site.mean.shape) if size == 1]
        mean, variance = tf.nn.moments(tf.cast(tensor, tf.float32), over, keepdims=True)
        floor = site.variance + 1e-3 * site.variance.mean() + 1e-8     # channels that never vary
        spread = tf.sqrt(variance + 1e-8) / np.sqrt(floor) - 1
        total += tf.reduce_mean((mean - site.mean) ** 2 / floor + spread**2)
    return total / len(sites)


def _search(task: Task, work: int, random: np.random.Generator) -> dict[str, Start]:
    """The start that fits the first normalisations best, for one input after the other; twice round where many."""
    first = task.sites[:SEARCH_SITES]
    probe = task.flat.function.prune(list(task.flat.inputs.values()), [site.tensor for site in first])
    options = {s.name: starts(s, statistics.stated_range(task.flat, s.name)) for s in task.moved}
    fine = min(FINE_SAMPLES, max(ROUGH_SAMPLES, int(FINE_WORK / (max(work, 1) * FINALISTS))))
    given = {name: np.resize(values, (fine, *values.shape[1:])) for name, values in task.still.items()}
    unit = {
        (s.name, fall): noise(random, s, fine, fall)
        for s in task.moved
        for fall in sorted({option.fall for option in options[s.name]})
    }

    @tf.function(reduce_retracing=True)
    def loss(*tensors: Any) -> Any:
        return mismatch(first, probe(*tensors))

    def put(s: TensorSpec, start: Start) -> None:
        given[s.name] = in_range(unit[s.name, start.fall], s, start.range)

    def score(s: TensorSpec, start: Start, samples: int) -> float:
        put(s, start)
        value = float(loss(*(tf.constant(given[name][:samples]) for name in task.flat.inputs)))
        return value if math.isfinite(value) else math.inf

    chosen = {s.name: min(options[s.name], key=lambda o: abs(math.log(o.range.spread.mean()))) for s in task.moved}
    for s in task.moved:
        put(s, chosen[s.name])
    for _ in range(min(len(task.moved), 2)):
        for s in task.moved:
            rough = {option: score(s, option, ROUGH_SAMPLES) for option in options[s.name]}
            finalists = sorted(rough, key=rough.__getitem__)[:FINALISTS]
            finalists += [o for o in rough if math.isfinite(o.range.low) and o not in finalists]
            scores = {option: score(s, option, fine) for option in finalists}
            best = min(scores, key=scores.__getitem__)
            known = min((o for o in scores if math.isfinite(o.range.low)), key=scores.__getitem__, default=best)
            chosen[s.name] = known if scores[known] <= KEPT * scores[best] else best
            put(s, chosen[s.name])
    return chosen


def _descend(
    task: Task, chosen: Mapping[str, Start], unit: Mapping[str, np.ndarray], steps: int, random: np.random.Generator
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Move `unit` downhill by Adam (Kingma and Ba, 2015); the inputs that it gives, and the mismatch at each step."""
    flat, sites = task.flat, task.sites
    classes = [n for n, t in flat.outputs.items() if t.shape.rank == 2 and activation_of(flat, n) == "softmax"]
    fetched = [*(site.tensor for site in sites), *(flat.outputs[name] for name in classes)]
    network = flat.function.prune(list(flat.inputs.values()), fetched)
    count = next(iter(unit.values())).shape[0]
    labels = [tf.constant(_balanced(count, flat.outputs[name].shape[-1], random)) for name in classes]
    values = [tf.Variable(unit[s.name]) for s in task.moved]
    slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in values]
    frames = [_frame(s, chosen[s.name].range) for s in task.moved]

    def inputs(shift: Any) -> list[Any]:
        given = {name: tf.constant(value) for name, value in task.still.items()}
        for s, value, frame in zip(task.moved, values, frames, strict=True):
            axes = [i for i, letter in enumerate(s.layout) if letter in "HW" and (s.shape[i] or 0) >= 8 * SHIFT]
            x = frame.center + frame.spread * value
            given[s.name] = tf.roll(x, [shift[i % 2] for i in axes], axes) if axes else x
        return [given[name] for name in flat.inputs]

    @tf.function
    def step(index: Any, rate: Any, shift: Any) -> Any:
        with tf.GradientTape() as tape:
            got = network(*inputs(shift))
            matched = loss = mismatch(sites, got[: len(sites)])
            for wanted, scores in zip(labels, got[len(sites) :], strict=True):
                loss -= LABEL_WEIGHT * tf.reduce_mean(tf.reduce_sum(wanted * tf.math.log(scores + 1e-6), axis=-1))
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        for value, gradient, (mean, square), frame in zip(values, gradients, slots, frames, strict=True):
            mean.assign(0.9 * mean + 0.1 * gradient)
            square.assign(0.99 * square + 0.01 * gradient**2)
            move = mean / (1 - 0.9**index) / (tf.sqrt(square / (1 - 0.99**index)) + 1e-12)
            value.assign(tf.clip_by_value(value - rate * move, frame.low, frame.high))
        return matched

    trace: list[float] = []
    calm, best, kept = 1.0, math.inf, [value.numpy() for value in values]
    for index in range(1, steps + 1):
        rate = calm * RATE * 0.5 * (1 + math.cos(math.pi * (index - 1) / steps))
        shift = random.integers(-SHIFT, SHIFT + 1, 2) if index % 2 and index < steps else np.zeros(2)
        before = [value.numpy() for value in values]
        now = float(step(np.float32(index), np.float32(rate), tf.constant(shift, tf.int32)))
        trace.append(now)
        if now < best:
            best, kept = now, before
        elif not now < 2 * best:                       # lost its way, as deep networks do: back, with smaller steps
            calm /= 2
            _put(values, kept)
    _put(values, kept)
    made = dict(zip(flat.inputs, inputs(tf.constant([0, 0])), strict=True))
    return {s.name: np.clip(made[s.name], *_ends(chosen[s.name].range)) for s in task.moved}, trace


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A range in the shape of one input: real = center + spread * unit, with unit kept in low..high."""

    center: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _frame(spec: TensorSpec, where: Range) -> Frame:
    center, spread = along(where.center, spec), along(where.spread, spec)
    low, high = ((np.float32(end) - center) / spread for end in (where.low, where.high))
    return Frame(center=center, spread=spread, low=low, high=high)


def _ends(where: Range) -> tuple[np.float32, np.float32]:
    return np.float32(where.low), np.float32(where.high)


def _put(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _balanced(count: int, classes: int, random: np.random.Generator) -> np.ndarray:
    """One-hot targets [count, classes], each class as often as any other, in random order."""
    return np.eye(classes, dtype=np.float32)[random.permutation(np.arange(count) % classes)]


def _stretched(found: np.ndarray, spec: TensorSpec, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` samples out of fewer: the rest are the same ones, shifted and mirrored where there is space or time."""
    rows = [found]
    width = spec.layout.find("W")
    axes = tuple(i for i, letter in enumerate(spec.layout) if letter in "HWT")
    missing = count - found.shape[0]
    while missing > 0:
        more = np.roll(found, random.integers(-4, 5, len(axes)), axes) if axes else found
        more = np.flip(more, width) if width > 0 and random.integers(2) else more
        rows.append(more[:missing])
        missing -= found.shape[0]
    return np.concatenate(rows).astype(spec.dtype)


def _untouched(flat: FlatGraph, spec: TensorSpec, count: int, random: np.random.Generator) -> np.ndarray:
    """Noise for an input that no normalisation looks at, or that takes whole numbers."""
    kind = np.dtype(spec.dtype).kind
    shape = (count, *(int(size or 1) for size in spec.shape[1:]))
    if kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        top = 256 if spec.dtype == "uint8" else statistics.rows_looked_up(flat, spec.name) or 2
        return random.integers(0, top, shape).astype(spec.dtype)
    stated = statistics.stated_range(flat, spec.name)
    where = stated or Range(center=np.array(0.0), spread=np.array(1.0))
    fall = 1.0 if spec.layout in ("NHWC", "NCHW") else 0.0
    return in_range(noise(random, spec, count, fall), spec, where).astype(spec.dtype)


def _reached(flat: FlatGraph, sites: Sequence[Site]) -> set[str]:
    """Names of the inputs that some site depends on."""
    pending, seen = [site.tensor.op for site in sites], set()
    while pending:
        op = pending.pop()
        if op.name not in seen:
            seen.add(op.name)
            pending.extend(tensor.op for tensor in op.inputs)
    return {name for name, tensor in flat.inputs.items() if tensor.op.name in seen}


def _say_noise(flat: FlatGraph, signature: Signature) -> str:
    stated = [s.name for s in signature.inputs if statistics.stated_range(flat, s.name) is not None]
    scale = f"the scale that the network states for {', '.join(stated)}" if stated else "a guessed scale"
    return (
        f"The model has no batch-norm statistics to match, so its samples are noise at {scale}: they prove that files "
        "run and agree on noise, not how they do on real inputs; integer ranges calibrated on them may be wrong."
    )


def _describe(where: Range) -> str:
    if math.isfinite(where.low):
        return f"{where.low:g}..{where.high:g}"
    return f"around {float(where.center.mean()):.3g} with deviation {float(where.spread.mean()):.3g}"
