"""8-bit kernels out of the float file. Runs in a worker that sees no training framework."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.model import Signature
from mlopt.ranges import symmetric_scales
from mlopt_dense.file import Layer, read, write


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int
) -> Made:
    """`precision` is int8-weights, the only one beside the float file; it needs no samples."""
    write(dest, [_in_8_bits(layer) for layer in read(float_file)])
    return Made(path=dest, choices={"weights": "symmetric, one scale per output"})


def _in_8_bits(layer: Layer) -> Layer:
    scale = symmetric_scales(layer.kernel, 1, 127)
    return replace(layer, kernel=np.rint(layer.kernel / scale).astype(np.int8), scale=scale)
