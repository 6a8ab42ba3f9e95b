"""int8 and int16x8: weights, activations, inputs and outputs in integers."""

from collections.abc import Mapping
from pathlib import Path

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt_tflite import trained_integer
from mlopt_tflite.full_integer import make_integer
from mlopt_tflite.observe import observe
from mlopt_tflite.trained import Trained
from mlopt_tflite.written import given, write

_ACTIVATIONS: Mapping[str, str] = {"int8": "int8", "int16x8": "int16"}
_STORED = frozenset({"int8"})


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int,
    grid: Grid | None = None,
) -> Made:
    """Write `precision` of `float_file` to `dest`; see `mlopt.convert.protocol.Make`."""
    if grid is not None:
        if precision != "int8":
            raise ValueError(f"{precision} is not decided by a trained grid; int8 is")
        trained = Trained.of(float_file, grid)
        made = trained_integer.integer_file(
            trained, lambda: observe(float_file, given(samples, precision), seed), four=frozenset()
        )
        return write(made, dest, precision, stored=_STORED, seed=seed)
    kind = _ACTIVATIONS[precision]
    observed = observe(float_file, given(samples, precision), seed)
    # int16 activations run in slow reference kernels: one input proves as much there
    return write(
        make_integer(observed, kind), dest, precision, stored=_STORED, seed=seed, tries=4 if kind == "int8" else 1,
        notes=observed.notes,
    )
