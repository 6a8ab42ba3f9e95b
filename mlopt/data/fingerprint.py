"""What samples look like, in numbers: a digest that names them, and distributions that drift is measured against."""

import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.data.samples import Samples, file_name
from mlopt.data.source import chosen_between

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
    arrays = {f"inputs/{n}": (a, samples.folder / "inputs" / file_name(n)) for n, a in samples.inputs.items()}
    if samples.labels is not None:
        arrays["labels"] = (samples.labels, samples.folder / "labels.npy")
    for name, (array, file) in sorted(arrays.items()):
        whole.update(json.dumps([name, array.dtype.str, list(array.shape), _digest_of_file(file)]).encode())
    return whole.hexdigest()


def fingerprint(samples: Samples) -> SampleFingerprint:
    """Distributions of every input and of the labels; each array is read in pieces."""
    inputs = {}
    for name, stored in samples.inputs.items():
        channels = stored.shape[-1] if stored.ndim > 2 and stored.shape[-1] <= MOST_CHANNELS else 1
        values = _Values(stored, functools.partial(samples.as_seen, name), channels)
        inputs[name] = InputFingerprint(
            shape=tuple(stored.shape[1:]), dtype=stored.dtype.name, channels=_distributions(values)
        )
    counts: dict[str, int] = {}
    of_labels = None
    if samples.labels is not None and samples.labels.dtype.kind in "iu":
        classes, numbers = np.unique(samples.labels, return_counts=True)
        counts = {str(c): int(n) for c, n in zip(classes, numbers, strict=True)}
    elif samples.labels is not None:
        of_labels = _distributions(_Values(samples.labels, np.asarray, 1))[0]
    return SampleFingerprint(
        sha256=digest(samples), count=samples.count, inputs=inputs, label_counts=counts, label_values=of_labels
    )


class _Values:
    """The channels of an array, read in pieces [n, values a sample, channels]."""

    def __init__(self, stored: np.ndarray, as_seen: Callable[[np.ndarray], np.ndarray], channels: int) -> None:
        self.stored, self.as_seen, self.channels = stored, as_seen, channels
        self.rows = len(stored)
        self.row_values = math.prod(stored.shape[1:]) // channels

    def pieces(self) -> Iterator[np.ndarray]:
        step = max(1, _CHUNK_BYTES // max(1, 8 * self.row_values * self.channels))
        for start in range(0, self.rows, step):
            block = self.stored[start : start + step]
            yield block.reshape(len(block), self.row_values, self.channels)

    def seen_pieces(self) -> Iterator[np.ndarray]:
        for block in self.pieces():
            yield self.as_seen(block).astype(np.float64)


def _distributions(values: _Values) -> tuple[Distribution, ...]:
    if values.stored.dtype in (np.uint8, np.int8):
        return _of_bytes(values)
    return _of_numbers(values)


def _of_bytes(values: _Values) -> tuple[Distribution, ...]:
    """From how often each of the 256 values comes: exact, and one pass."""
    counts = np.zeros((values.channels, 256), dtype=np.int64)
    for block in values.pieces():
        octets = block.view(np.uint8)
        for channel in range(values.channels):
            counts[channel] += np.bincount(octets[..., channel].ravel(), minlength=256)
    seen = values.as_seen(np.arange(256, dtype=np.uint8).view(values.stored.dtype)).astype(np.float64)
    ascending = np.argsort(seen, kind="stable")
    return tuple(_of_counts(seen[ascending], of_channel[ascending], values.rows) for of_channel in counts)


def _of_counts(seen: np.ndarray, counts: np.ndarray, rows: int) -> Distribution:
    there = counts > 0
    seen, counts = seen[there], counts[there]
    count = int(counts.sum())
    mean = math.fsum(seen * counts) / count
    at = np.array(QUANTILES) * (count - 1)
    below, above = (seen[np.searchsorted(np.cumsum(counts), edge(at), side="right")] for edge in (np.floor, np.ceil))
    quantiles = below + (above - below) * (at - np.floor(at))
    edges = _edges(quantiles)
    return Distribution(
        count=count, mean=mean, std=math.sqrt(math.fsum(np.square(seen - mean) * counts) / count),
        min=float(seen[0]), max=float(seen[-1]), quantiles=tuple(quantiles.tolist()), quantile_rows=rows,
        edges=tuple(edges.tolist()), histogram=tuple(_histogram(edges, seen, counts).astype(np.int64).tolist()),
    )


def _of_numbers(values: _Values) -> tuple[Distribution, ...]:
    """Sums are kept a row and added exactly (`math.fsum`), so that no way of cutting rows into pieces shows."""
    count = values.rows * values.row_values
    thinned = min(values.rows, max(1, _QUANTILE_VALUES // values.row_values))
    chosen = np.linspace(0, values.rows - 1, thinned).astype(np.int64)
    sums, lows, highs, kept = [], [], [], []
    start = 0
    for block in values.seen_pieces():
        sums.append(_row_sums(block))
        lows.append(block.min(axis=(0, 1)))
        highs.append(block.max(axis=(0, 1)))
        kept.append(block[chosen_between(chosen, start, start + len(block))])
        start += len(block)
    means = np.array([math.fsum(of_channel) / count for of_channel in np.concatenate(sums).T])
    quantiles = np.quantile(np.concatenate(kept), QUANTILES, axis=(0, 1)).T
    edges = [_edges(of_channel) for of_channel in quantiles]
    squares = []
    histograms = np.zeros((values.channels, BINS), dtype=np.int64)
    for block in values.seen_pieces():
        squares.append(_row_sums(np.square(block - means)))
        for channel in range(values.channels):
            histograms[channel] += _histogram(edges[channel], block[..., channel].ravel())
    spreads = [math.sqrt(math.fsum(of_channel) / count) for of_channel in np.concatenate(squares).T]
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return tuple(
        Distribution(
            count=count, mean=float(means[c]), std=spreads[c], min=float(low[c]), max=float(high[c]),
            quantiles=tuple(quantiles[c].tolist()), quantile_rows=thinned, edges=tuple(edges[c].tolist()),
            histogram=tuple(histograms[c].tolist()),
        )
        for c in range(values.channels)
    )


def _row_sums(block: np.ndarray) -> np.ndarray:
    """[n, values, channels] -> [n, channels], each row summed by itself in the same way whatever n is."""
    return np.ascontiguousarray(block.transpose(0, 2, 1)).sum(axis=2)


def _edges(quantiles: np.ndarray) -> np.ndarray:
    first, last = float(quantiles[0]), float(quantiles[-1])
    return np.linspace(first, last, BINS + 1) if first < last else np.linspace(first - 0.5, first + 0.5, BINS + 1)


def _histogram(edges: np.ndarray, values: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Counts a bin; a value on an edge lies in the bin above, one beyond the ends in the first or last bin.

    >>> _histogram(np.linspace(0, 64, 65), np.array([-9.0, 0.5, 2.0, 99.0]))[[0, 1, 2, 63]].tolist()
    [2, 0, 1, 1]
    """
    return np.bincount(np.searchsorted(edges[1:-1], values, side="right"), weights=counts, minlength=BINS)


def _digest_of_file(path: Path) -> str:
    """sha256 of an array's bytes, read and not mapped, so that they do not count as this process's memory."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        read(file)
        while piece := file.read(_CHUNK_BYTES):
            whole.update(piece)
    return whole.hexdigest()
