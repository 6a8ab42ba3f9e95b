"""What samples and outputs look like, in numbers: a digest that names them, and distributions for drift checks."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.data.samples import Samples, file_name
from mlopt.distribution import Distribution, DistributionState
from mlopt.outputs import Head, OutputKind
from mlopt.quantities import Count

MOST_CHANNELS = 16              # with more, the last axis is features or tokens: one distribution for all of it
OCCUPIED = 256                  # bins of a distribution that hold something: each byte of a picture has its own
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class InputFingerprint:
    shape: tuple[int, ...]                      # of one sample
    dtype: str                                  # as stored
    channels: tuple[DistributionState, ...]     # as the model sees them; of the last axis where there are at most 16


@dataclass(frozen=True, kw_only=True)
class SampleFingerprint:
    """Independent of how the samples were read or written; JSON-able."""

    sha256: str
    count: Count
    inputs: dict[str, InputFingerprint]
    label_counts: dict[str, Count]              # class number -> samples; empty without class labels
    label_values: DistributionState | None      # where labels are values
    schema: int = 2


@dataclass(frozen=True, kw_only=True)
class OutputFingerprint:
    """What one output of a model, or of a file, was on samples."""

    kind: OutputKind
    head: Head                                  # what is applied last
    axis: int
    classes: Count
    count: Count                                # samples
    channels: tuple[DistributionState, ...]     # of the last axis where it has at most 16
    top_classes: dict[str, Count]               # the answer at each position -> how often; empty for values
    confidence: DistributionState | None        # the probability of that answer; None for values


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
        values = Channels.of(stored.shape)
        if stored.dtype in (np.uint8, np.int8):
            octets = np.arange(256, dtype=np.uint8).view(stored.dtype)
            values.add_counted(samples.as_seen(name, octets), _octet_counts(stored, len(values.each)))
        else:
            for start, stop in _pieces(stored):
                values.add(samples.as_seen(name, stored[start:stop]))
        inputs[name] = InputFingerprint(
            shape=tuple(stored.shape[1:]), dtype=stored.dtype.name, channels=values.states()
        )
    counts: dict[str, int] = {}
    of_labels = None
    if samples.labels is not None and samples.labels.dtype.kind in "iu":
        classes, numbers = np.unique(samples.labels, return_counts=True)
        counts = {str(c): int(n) for c, n in zip(classes, numbers, strict=True)}
    elif samples.labels is not None:
        labels = Distribution(occupied=OCCUPIED)
        for start, stop in _pieces(samples.labels):
            labels.add(samples.labels[start:stop])
        of_labels = labels.state()
    return SampleFingerprint(
        sha256=digest(samples), count=samples.count, inputs=inputs, label_counts=counts, label_values=of_labels
    )


class Channels:
    """A distribution for each channel of the last axis where it has at most 16, else one for all values.

    Arrays of fewer axes than `least_axes`, the samples' own counted, have no channels.
    """

    def __init__(self, channels: int) -> None:
        self.each = [Distribution(occupied=OCCUPIED) for _ in range(channels)]

    @classmethod
    def of(cls, shape: tuple[int, ...], *, least_axes: int = 3) -> "Channels":
        return cls(shape[-1] if len(shape) >= least_axes and 0 < shape[-1] <= MOST_CHANNELS else 1)

    def add(self, values: np.ndarray) -> None:
        by_channel = values.reshape(-1, len(self.each))
        for channel, distribution in enumerate(self.each):
            distribution.add(by_channel[:, channel])

    def add_counted(self, values: np.ndarray, counts: np.ndarray) -> None:
        """`counts` [channels, n] of `values` [n]."""
        for distribution, of_channel in zip(self.each, counts, strict=True):
            distribution.add_counted(values, of_channel)

    def states(self) -> tuple[DistributionState, ...]:
        return tuple(distribution.state() for distribution in self.each)


def _octet_counts(stored: np.ndarray, channels: int) -> np.ndarray:
    """How often each of the 256 values comes, int64 [channels, 256]."""
    counts = np.zeros((channels, 256), dtype=np.int64)
    for start, stop in _pieces(stored):
        octets = np.ascontiguousarray(stored[start:stop]).view(np.uint8).reshape(-1, channels)
        for channel in range(channels):
            counts[channel] += np.bincount(octets[:, channel], minlength=256)
    return counts


def _pieces(stored: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of rows that are small as float64."""
    step = max(1, _CHUNK_BYTES // max(1, 8 * math.prod(stored.shape[1:])))
    return [(start, min(start + step, len(stored))) for start in range(0, len(stored), step)]


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
