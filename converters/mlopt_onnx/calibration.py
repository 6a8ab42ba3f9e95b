"""What the tensors of a float file look like on samples: one distribution each, in one pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlopt import ranges
from mlopt.data.samples import Samples
from mlopt.distribution import Distribution
from mlopt.errors import DataMismatch
from mlopt_onnx.graph import Graph
from mlopt_onnx.runtime import exposed

MOST_AT_ONCE = 32  # samples in one run,
BATCH_BYTES = 1 << 22  # and fewer where their inputs are large: every tensor of a batch is held at once
MOST_CALIBRATION = 512  # samples that ranges are taken from; more change a percentile little
MOST_HELD_OUT = 256  # samples that candidates are compared on, in two halves
LEAST_TO_SPLIT = 16  # fewer samples serve both purposes, and a note says so


@dataclass(frozen=True, kw_only=True)
class Split:
    """Sample numbers by purpose. `shared` says that there were too few to keep them apart."""

    calibration: np.ndarray
    choosing: np.ndarray  # candidates are compared on these
    confirming: np.ndarray  # refinements must hold on these too
    shared: bool


def split(count: int, seed: int) -> Split:
    """Every fourth of the shuffled samples is held out; a seed and a count always give the same split."""
    order = np.random.default_rng(seed).permutation(count)
    if count < LEAST_TO_SPLIT:
        everything = np.sort(order)
        return Split(calibration=everything, choosing=everything, confirming=everything, shared=True)
    held = order[: min(count // 4, MOST_HELD_OUT)]
    half = len(held) // 2
    kept = order[len(held) :][:MOST_CALIBRATION]
    return Split(
        calibration=np.sort(kept), choosing=np.sort(held[:half]), confirming=np.sort(held[half:]), shared=False
    )


def rows(samples: Samples, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Model inputs of the samples with these numbers, [len(numbers), ...]."""
    parts = [samples.rows(int(i), int(i) + 1) for i in numbers]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def batches(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    count = len(next(iter(inputs.values())))
    sample_bytes = sum(array[:1].nbytes for array in inputs.values())
    size = max(1, min(MOST_AT_ONCE, BATCH_BYTES // max(sample_bytes, 1)))
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in inputs.items()}


def distributions(
    graph: Graph, tensors: Sequence[str], inputs: Mapping[str, np.ndarray]
) -> dict[str, Distribution]:
    """One for each tensor, over all batches of `inputs`."""
    found = {tensor: ranges.observed() for tensor in tensors}
    inner = [t for t in tensors if t not in inputs]
    session = exposed(graph, inner, "the float model") if inner else None
    for batch in batches(inputs):
        values = session.run(inner, batch) if session else []
        for tensor, array in (*zip(inner, values, strict=True), *((t, batch[t]) for t in tensors if t in batch)):
            found[tensor].add(array)
            if found[tensor].nonfinite:
                raise DataMismatch(
                    "the samples",
                    "finite values at every layer",
                    f"NaN or infinity at tensor {tensor}",
                    "Look for broken samples, or for a layer that overflows.",
                )
    return found
