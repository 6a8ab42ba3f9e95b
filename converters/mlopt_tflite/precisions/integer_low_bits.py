"""int8-mixed-4-8: the mixture of 4 and 8 bits with activations, inputs and outputs in 8-bit integers."""

from pathlib import Path

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt_tflite import full_integer, low_bits, trained_integer
from mlopt_tflite.observe import Observed, observe
from mlopt_tflite.trained import Trained
from mlopt_tflite.written import Written, given, write

_FOUR_BITS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})   # 4-bit kernels on int8 activations
_STORED = frozenset({"int4", "int8"})


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int,
    grid: Grid | None = None,
) -> Made:
    """Write `precision` of `float_file` to `dest`; see `mlopt.convert.protocol.Make`."""
    if grid is not None:
        trained = Trained.of(float_file, grid)
        made = trained_integer.integer_file(
            trained, lambda: observe(float_file, given(samples, precision), seed), four=_FOUR_BITS
        )
        return write(made, dest, precision, stored=_STORED, seed=seed)
    observed = observe(float_file, given(samples, precision), seed)
    return write(_mixed(observed), dest, precision, stored=_STORED, seed=seed, notes=observed.notes)


def _mixed(observed: Observed) -> Written:
    """The mixture that is searched on float activations; the ranges of its activations are searched after it."""
    found = low_bits.mixture(observed)
    model, choices, notes = full_integer.make_integer(found.observed, "int8", weights=found.weights())
    described = {"weights": found.layers_by_bits(), "rounding": low_bits.ROUNDED, "bias": "as trained"}
    return model, choices | described | found.choices, (*found.notes, *notes, *found.missed)
