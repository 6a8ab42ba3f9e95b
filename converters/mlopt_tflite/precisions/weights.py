"""float16, int8-weights and int8-dynamic: weights alone are stored in fewer bits, and no samples are looked at."""

from collections.abc import Callable, Mapping
from pathlib import Path

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt_tflite import flatfile, trained, weight_files
from mlopt_tflite.settle import settle
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import in_8_bits
from mlopt_tflite.written import Written, write


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int,
    grid: Grid | None = None,
) -> Made:
    """Write `precision` of `float_file` to `dest`; see `mlopt.convert.protocol.Make`."""
    if grid is not None:
        if precision not in _BY_GRID:
            raise ValueError(f"{precision} is not decided by a trained grid; these are: {', '.join(_BY_GRID)}")
        made = _BY_GRID[precision](trained.Trained.of(float_file, grid))
    else:
        made = _MAKERS[precision](flatfile.read(float_file))
    return write(made, dest, precision, stored=_STORED[precision], seed=seed)


def _float16(model: Model) -> Written:
    halved, notes = weight_files.half(model)
    return halved, {"weights": "rounded to 16-bit floats"}, notes


def _int8_weights(model: Model) -> Written:
    chosen, tables = in_8_bits(model), weight_files.tables(model)
    kinds = {"weights": "8 bits, a scale for each output channel", "activations": "float"}
    return weight_files.with_tables(weight_files.unpacked(model, chosen, {}), tables), kinds, ()


def _int8_dynamic(model: Model) -> Written:
    chosen, tables = in_8_bits(model), weight_files.tables(model)
    model, notes = settle(
        model, lambda in_float: weight_files.with_tables(weight_files.dynamic(model, chosen, in_float), tables)
    )
    kinds = {"weights": "8 bits, a scale for each output channel", "activations": "rounded to 8 bits at run time"}
    return model, kinds, notes


_MAKERS: Mapping[str, Callable[[Model], Written]] = {
    "float16": _float16,
    "int8-dynamic": _int8_dynamic,
    "int8-weights": _int8_weights,
}
_BY_GRID: Mapping[str, Callable[[trained.Trained], Written]] = {
    "int8-dynamic": lambda found: trained.dynamic_file(found, four=frozenset()),
    "int8-weights": trained.weights_file,
}
_STORED: Mapping[str, frozenset[str]] = {
    "float16": frozenset({"float16", "float32"}),   # weights too few to pay for their unpacking stay float32
    "int8-dynamic": frozenset({"int8"}),
    "int8-weights": frozenset({"int8"}),
}
