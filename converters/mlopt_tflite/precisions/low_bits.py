"""int4-weights and mixed-4-8: 4-bit weights, unpacked by kernels that round float activations as they run."""

from collections.abc import Callable, Mapping
from pathlib import Path

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt_tflite import trained
from mlopt_tflite.low_bits import make_int4, make_mixed
from mlopt_tflite.observe import Observed, observe
from mlopt_tflite.weights import FOUR_BITS
from mlopt_tflite.written import Written, given, write

_MAKERS: Mapping[str, Callable[[Observed], Written]] = {"int4-weights": make_int4, "mixed-4-8": make_mixed}
_STORED: Mapping[str, frozenset[str]] = {
    "int4-weights": frozenset({"int4"}),
    "mixed-4-8": frozenset({"int4", "int8"}),
}


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int,
    grid: Grid | None = None,
) -> Made:
    """Write `precision` of `float_file` to `dest`; see `mlopt.convert.protocol.Make`."""
    stored = _STORED[precision]
    if grid is None:
        observed = observe(float_file, given(samples, precision), seed)
        return write(_MAKERS[precision](observed), dest, precision, stored=stored, seed=seed, notes=observed.notes)
    if precision != "mixed-4-8":
        raise ValueError(f"{precision} is not decided by a trained grid; mixed-4-8 is")
    made = trained.dynamic_file(trained.Trained.of(float_file, grid), four=FOUR_BITS)
    return write(made, dest, precision, stored=stored, seed=seed)
