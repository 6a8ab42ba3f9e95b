"""One pass of samples through the float file: what each tensor holds, and what each layer sees.

The pass is shared by all precisions that one worker process makes of a file: it is kept for the last file and samples.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

import numpy as np

from mlopt import ranges
from mlopt.data.samples import Samples
from mlopt.distribution import Distribution
from mlopt.errors import DataMismatch
from mlopt_tflite import flatfile
from mlopt_tflite.engine import Engine
from mlopt_tflite.judge import Judge
from mlopt_tflite.packing import pack
from mlopt_tflite.pairs import pairs
from mlopt_tflite.patches import patches
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import Layer, layers

OBSERVED = 192          # samples for ranges and second moments; more changed no choice on the networks tried
HELD_OUT = 256          # samples that only judge
PATCHES = 4096          # input patches per layer for its second moments
WIDEST = 2304           # inputs per output (kernel height * width * channels) up to which second moments are kept


@dataclass(kw_only=True)
class Moments:
    """What enters a layer: patches [n, K] summed to their mean and covariance."""

    count: int = 0
    total: np.ndarray | None = None         # [K]
    squares: np.ndarray | None = None       # [K, K]

    def add(self, rows: np.ndarray) -> None:
        rows = rows.astype(np.float64)
        if self.total is None or self.squares is None:
            self.total, self.squares = np.zeros(rows.shape[1]), np.zeros((rows.shape[1], rows.shape[1]))
        self.count += len(rows)
        self.total += rows.sum(axis=0)
        self.squares += rows.T @ rows

    def covariance(self) -> np.ndarray:
        """[K, K]; what a bias cannot repair of an error in the weights."""
        assert self.total is not None and self.squares is not None
        mean = self.total / self.count
        return self.squares / self.count - np.outer(mean, mean)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """`ranges`, `distributions` and `means` are by tensor, `moments` by operation; inputs by name, [N, ...]."""

    model: Model
    content: bytes
    distributions: Mapping[int, Distribution]
    means: Mapping[int, np.ndarray]                # per channel (last axis), of the inputs of layers
    spans: Mapping[int, np.ndarray]                # [2, channels]: least and largest, between pairs of layers
    moments: Mapping[int, Moments]
    exact_inputs: Mapping[int, tuple[float, float]]   # ranges of inputs that are known beyond the samples
    observed: Mapping[str, np.ndarray]
    held_out: Mapping[str, np.ndarray]
    reference: Mapping[str, np.ndarray]            # the float file's outputs on held_out
    decisions: frozenset[str]                      # outputs that say yes or no
    synthesised: bool
    seed: int
    notes: tuple[str, ...] = field(default=())

    def judge(self) -> Judge:
        return Judge(inputs=self.held_out, reference=self.reference, decisions=self.decisions)


_last: dict[tuple[str, ...], Observed] = {}
_again: dict[str, Observed] = {}      # by content, of the models that were made of the last file


Observe = Callable[[], Observed]       # runs the samples; called where a trained grid lacks a range


def observe(float_file: Path, samples: Samples, seed: int) -> Observed:
    """The pass over `samples` through `float_file`, from memory where it was the last one made."""
    content = float_file.read_bytes()
    key = (hashlib.sha256(content).hexdigest(), _fingerprint(samples), str(seed))
    if key not in _last:
        _last.clear()
        _again.clear()
        _last[key] = _pass(content, flatfile.parse(content, float_file), samples, seed)
    return _last[key]


def again(observed: Observed, model: Model) -> Observed:
    """The same samples through `model`, a float model with the same tensors; from memory where it was seen before."""
    content = pack(model)
    key = hashlib.sha256(content + observed.content).hexdigest()
    if key not in _again:
        watched = _watch(content, model, observed.observed, observed.seed)
        _again[key] = replace(observed, model=model, content=content, **watched)
    return _again[key]


def _fingerprint(samples: Samples) -> str:
    digest = hashlib.sha256(repr((samples.count, samples.scale, samples.offset, samples.origin)).encode())
    for name, array in sorted(samples.inputs.items()):
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _pass(content: bytes, model: Model, samples: Samples, seed: int) -> Observed:
    fast = Engine(content)
    missing = [n for n in fast.inputs if n not in samples.inputs]
    if missing or samples.count == 0:
        wanted = ", ".join(f"{n} {list(s[1:])}" for n, (s, _) in fast.inputs.items())
        found = f"{', '.join(samples.inputs) or 'no input'}, {samples.count} samples"
        raise DataMismatch(samples.folder, wanted, found)
    seen, judged, notes = split(samples.count, seed)
    rows = {name: {which: _take(samples, name, index) for which, index in (("seen", seen), ("judged", judged))}
            for name in fast.inputs}
    observed = {name: r["seen"] for name, r in rows.items()}
    held_out = {name: r["judged"] for name, r in rows.items()}
    watched = _watch(content, model, observed, seed)
    hidden = len(activations(model)) - len(watched["distributions"])
    if hidden:
        notes = (*notes, f"{hidden} tensors of control flow cannot be watched: operations around them stay in float")
    return Observed(
        model=model, content=content, **watched,
        exact_inputs=_exact_inputs(model, samples, observed), observed=observed, held_out=held_out,
        reference=fast.predict(held_out), decisions=_decisions(model), synthesised=samples.origin != "given", seed=seed,
        notes=notes,
    )


def _decisions(model: Model) -> frozenset[str]:
    """Outputs of one number that a sigmoid makes."""
    made = {op.outputs[0] for op in flatfile.ops(model) if op.name == "LOGISTIC"}
    shapes = {name: flatfile.shape_of(model.subgraphs[0].tensors[i])
              for name, i in flatfile.output_names(model).items() if i in made}
    return frozenset(name for name, shape in shapes.items() if shape == (1, 1))


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Indices of the samples for ranges and of those that judge; disjoint wherever there are eight or more."""
    order = np.random.default_rng(seed).permutation(count)
    if count < 8:
        return order, order, (f"only {count} samples: the choice of ranges was judged on the samples that gave them",)
    judged = min(HELD_OUT, count // 2)
    return np.sort(order[judged : judged + OBSERVED]), np.sort(order[:judged]), ()


def _take(samples: Samples, name: str, index: np.ndarray) -> np.ndarray:
    return np.concatenate([samples.rows(int(i), int(i) + 1)[name] for i in index])


def _exact_inputs(
    model: Model, samples: Samples, observed: Mapping[str, np.ndarray]
) -> dict[int, tuple[float, float]]:
    """Bytes and whole numbers of 0..255 have a range that is known: the integer input then loses nothing."""
    found = {}
    for name, tensor in flatfile.input_names(model).items():
        stored, seen = samples.inputs[name], observed[name]
        if stored.dtype == np.uint8:
            ends = samples.offset, 255 * samples.scale + samples.offset
            found[tensor] = (min(ends), max(ends))
        elif seen.size and seen.min() >= 0 and 16 < seen.max() <= 255 and np.array_equal(seen, np.rint(seen)):
            found[tensor] = (0.0, 255.0)
    return found


class _Watched(TypedDict):
    """What `Observed` holds of the tensors, by its field names."""

    distributions: Mapping[int, Distribution]
    means: Mapping[int, np.ndarray]
    spans: Mapping[int, np.ndarray]
    moments: Mapping[int, Moments]


def _watch(
    content: bytes, model: Model, inputs: Mapping[str, np.ndarray], seed: int
) -> _Watched:
    engine = Engine(content, keep_all=True)
    engine.stage({name: array[:1] for name, array in inputs.items()})
    engine.invoke()
    tensors = [i for i in activations(model) if engine.readable(i)]
    owners = [layer for layer in layers(model) if layer.input in tensors]
    distributions = {i: ranges.observed() for i in tensors}
    sums: dict[int, np.ndarray] = {}
    spans: dict[int, np.ndarray] = {}
    moments: dict[int, Moments] = {}
    collected: dict[int, list[np.ndarray]] = {layer.op: [] for layer in owners if _has_moments(layer)}
    random = np.random.default_rng(seed)
    count = len(next(iter(inputs.values())))
    each = -(-PATCHES // count)
    passing = {tensor for pair in pairs(model) for tensor in pair.tensors}
    entering = {layer.input for layer in owners}
    for row in range(count):
        engine.stage({name: array[row : row + 1] for name, array in inputs.items()})
        engine.invoke()
        values = {i: engine.tensor(i) for i in tensors}
        for i, value in values.items():
            distributions[i].add(value)
            if i in passing:
                spans[i] = widened(spans.get(i), value)
            if i in entering:
                sums[i] = sums.get(i, 0.0) + channel_mean(value)
        for layer in owners:
            if layer.op in collected:
                collected[layer.op].append(patches(model, layer, values[layer.input], each, random))
        if row % 32 == 31 or row == count - 1:
            for op, rows in collected.items():
                moments.setdefault(op, Moments()).add(np.concatenate(rows))
                rows.clear()
    means = {i: total / count for i, total in sums.items()}
    return {"distributions": distributions, "means": means, "spans": spans, "moments": moments}


def _has_moments(layer: Layer) -> bool:
    inputs = int(np.prod(layer.shape[1:]))
    return layer.kind in ("CONV_2D", "FULLY_CONNECTED") and inputs <= WIDEST


def activations(model: Model) -> list[int]:
    """Float tensors that operations compute or that come from outside."""
    graph = model.subgraphs[0]
    made = {int(i) for i in graph.inputs} | {i for op in flatfile.ops(model) for i in op.outputs}
    return [i for i in sorted(made) if flatfile.type_name(graph.tensors[i]) == "float32"]


def widened(span: np.ndarray | None, value: np.ndarray) -> np.ndarray:
    """[2, channels]: the least and the largest of each channel, of `value` and of what `span` holds already."""
    rows = value.reshape(-1, value.shape[-1] if value.ndim else 1)
    new = np.stack([rows.min(axis=0), rows.max(axis=0)])
    return new if span is None else np.stack([np.minimum(span[0], new[0]), np.maximum(span[1], new[1])])


def channel_mean(value: np.ndarray) -> np.ndarray:
    """[channels]: the mean over all axes but the last."""
    return value.reshape(-1, value.shape[-1] if value.ndim else 1).mean(axis=0, dtype=np.float64)
