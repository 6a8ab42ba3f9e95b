"""What samples look like, in numbers: a digest that names them, and distributions that drift is measured against."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlopt.data.samples import Samples
from mlopt.data.source import chosen_between
from mlopt.data.storing import octets

BINS = 64
MOST_CHANNELS = 16              # with more, the last axis is features or tokens: one distribution for all of it
QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
_QUANTILE_VALUES = 1 << 21      # values a channel that quantiles are taken from; more rows than that are thinned evenly
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Values of one channel as the model sees them, after scale and offset.

    `edges` are 65 equal steps from the 0.1 % to the 99.9 % quantile; the first and the last bin also count what lies
    beyond. `quantiles` are those of `QUANTILES`, over `quantile_rows` samples spread evenly where there are very many.
    """

    count: int
    mean: float
    std: float                  # of the population
    min: float
    max: float
    quantiles: tuple[float, ...]
    quantile_rows: int
    edges: tuple[float, ...]
    histogram: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class InputFingerprint:
    shape: tuple[int, ...]      # of one sample
    dtype: str                  # as stored
    channels: tuple[Distribution, ...]      # per channel of the last axis where there are at most 16, else one


@dataclass(frozen=True, kw_only=True)
class SampleFingerprint:
    """Independent of how the samples were read or written; JSON-able."""

    sha256: str
    count: int
    inputs: dict[str, InputFingerprint]
    label_counts: dict[str, int]            # class number -> samples; empty without class labels
    label_values: Distribution | None       # where labels are values
    schema: int = 1


def digest(samples: Samples) -> str:
    """sha256 over the arrays as stored and the labels: for each, name, dtype, shape and bytes."""
    whole = hashlib.sha256()
    arrays = {f"inputs/{name}": array for name, array in samples.inputs.items()}
    if samples.labels is not None:
        arrays["labels"] = samples.labels
    for name, array in sorted(arrays.items()):
        one = hashlib.sha256()
        for block in _blocks(array):
            one.update(octets(block))
        whole.update(json.dumps([name, array.dtype.str, list(array.shape), one.hexdigest()]).encode())
    return whole.hexdigest()


def fingerprint(samples: Samples) -> SampleFingerprint:
    """Distributions of every input and of the labels; each array is read in pieces."""
    inputs = {}
    for name, stored in samples.inputs.items():
        channels = stored.shape[-1] if stored.ndim > 2 and stored.shape[-1] <= MOST_CHANNELS else 1
        found = tuple(_distribution(_Values(samples, name, channel, channels)) for channel in range(channels))
        inputs[name] = InputFingerprint(shape=tuple(stored.shape[1:]), dtype=stored.dtype.name, channels=found)
    counts: dict[str, int] = {}
    values = None
    if samples.labels is not None and samples.labels.dtype.kind in "iu":
        classes, numbers = np.unique(samples.labels, return_counts=True)
        counts = {str(c): int(n) for c, n in zip(classes, numbers, strict=True)}
    elif samples.labels is not None:
        values = _distribution(_Values(samples, None, 0, 1))
    return SampleFingerprint(
        sha256=digest(samples), count=samples.count, inputs=inputs, label_counts=counts, label_values=values
    )


class _Values:
    """One channel of one input (or all label values), as float64 rows [n, values a sample]."""

    def __init__(self, samples: Samples, name: str | None, channel: int, channels: int) -> None:
        self.samples, self.name, self.channel, self.channels = samples, name, channel, channels
        self.stored = samples.labels if name is None else samples.inputs[name]
        assert self.stored is not None
        self.rows = len(self.stored)
        self.row_values = math.prod(self.stored.shape[1:]) // channels

    def between(self, start: int, stop: int) -> np.ndarray:
        if self.name is None:
            assert self.samples.labels is not None
            real = self.samples.labels[start:stop]
        else:
            real = self.samples.real(self.name, start, stop)
        return real.reshape(stop - start, self.row_values, self.channels)[..., self.channel].astype(np.float64)

    def __iter__(self) -> Iterator[np.ndarray]:
        step = max(1, _CHUNK_BYTES // max(1, 8 * self.row_values * self.channels))
        for start in range(0, self.rows, step):
            yield self.between(start, min(start + step, self.rows))


def _distribution(values: _Values) -> Distribution:
    """Sums are kept a row and added exactly (`math.fsum`), so that no way of cutting rows into pieces shows."""
    count = values.rows * values.row_values
    thinned = min(values.rows, max(1, _QUANTILE_VALUES // values.row_values))
    chosen = np.linspace(0, values.rows - 1, thinned).astype(np.int64)
    sums, kept, low, high = [], [], math.inf, -math.inf
    start = 0
    for block in values:
        sums += block.sum(axis=1).tolist()
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        kept.append(block[chosen_between(chosen, start, start + len(block))])
        start += len(block)
    mean = math.fsum(sums) / count
    quantiles = np.quantile(np.concatenate(kept), QUANTILES)
    first, last = float(quantiles[0]), float(quantiles[-1])
    edges = np.linspace(first, last, BINS + 1) if first < last else np.linspace(first - 0.5, first + 0.5, BINS + 1)
    squares: list[float] = []
    histogram = np.zeros(BINS, dtype=np.int64)
    for block in values:
        squares += np.square(block - mean).sum(axis=1).tolist()
        histogram += np.bincount(np.searchsorted(edges[1:-1], block.ravel(), side="right"), minlength=BINS)
    return Distribution(
        count=count, mean=mean, std=math.sqrt(math.fsum(squares) / count), min=low, max=high,
        quantiles=tuple(quantiles.tolist()), quantile_rows=thinned, edges=tuple(edges.tolist()),
        histogram=tuple(histogram.tolist()),
    )


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield array[start : start + step]
