"""A full-integer file made in a moment: its speed is that of the final one, its numbers are not."""

from pathlib import Path

from mlopt.data.samples import Samples
from mlopt_tflite import ranges
from mlopt_tflite.observe import observe
from mlopt_tflite.packing import pack
from mlopt_tflite.settle import settle
from mlopt_tflite.static import lower
from mlopt_tflite.weights import in_8_bits

_SAMPLES = 16       # enough for ranges that are of the right size


def draft(float_file: Path, dest: Path, samples: Samples) -> None:
    """Write an int8 file with ranges of a few samples and rounded weights, nothing searched."""
    observed = observe(float_file, samples.first(_SAMPLES), seed=0)
    found = ranges.ranges_of(observed, "min-max")
    weights = in_8_bits(observed.model)
    model, _ = settle(
        observed.model,
        lambda in_float: lower(observed.model, "int8", ranges=found, weights=weights, in_float=in_float).model,
    )
    dest.write_bytes(pack(model))
