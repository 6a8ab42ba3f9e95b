"""One precision out of the float TFLite file, in a worker process without TensorFlow.

What is lowered is the float file's own graph; what was chosen on the way stands in `choices`, what was left alone in
`notes`, and every file is slimmed with a proof and read back before it counts.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.errors import MloptError
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt_tflite import flatfile, slim, weight_files
from mlopt_tflite.full_integer import Written, make_integer
from mlopt_tflite.low_bits import make_int4, make_integer_mixed, make_mixed
from mlopt_tflite.observe import Observed, observe
from mlopt_tflite.settle import settle
from mlopt_tflite.storage import read_storage
from mlopt_tflite.tables import Model
from mlopt_tflite.trained import BY_GRID, Trained
from mlopt_tflite.weights import in_8_bits


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int,
    grid: Grid | None = None,
) -> Made:
    """Write `precision` of `float_file` to `dest`; the door's `precisions` say what each one is.

    Where a `grid` is given the file's numbers are its own.
    """
    if grid is not None:
        if precision not in BY_GRID:
            raise ValueError(f"{precision} is not decided by a trained grid; these are: {', '.join(BY_GRID)}")
        trained = Trained.of(float_file, grid, lambda: observe(float_file, _given(samples, precision), seed))
        model, choices, notes = BY_GRID[precision](trained)
    elif precision in WITHOUT_SAMPLES:
        model, choices, notes = WITHOUT_SAMPLES[precision](flatfile.read(float_file))
    elif precision in WITH_SAMPLES:
        observed = observe(float_file, _given(samples, precision), seed)
        model, choices, notes = WITH_SAMPLES[precision](observed)
        notes = (*observed.notes, *notes)
    else:
        known = ", ".join([*WITHOUT_SAMPLES, *WITH_SAMPLES])
        raise ValueError(f"{precision} is no precision that is made from a TFLite file; these are: {known}")
    # int16 activations run in slow reference kernels: one input proves as much there
    slim.write_slim(model, dest, seed=seed, tries=1 if precision == "int16x8" else 4)
    return Made(path=dest, choices=choices, notes=(*notes, *_check_stored(dest, precision)))


def _given(samples: Samples | None, precision: str) -> Samples:
    if samples is None:
        raise ValueError(f"{precision} is made with samples; none were given")
    return samples


def _check_stored(dest: Path, precision: str) -> tuple[str, ...]:
    """The file holds what was asked for: read back, since a quantizer that did nothing would also write a file.

    Returns a note on what is left in float.
    """
    storage = read_storage(dest)
    wanted, found = STORED[precision], {layer.weight_dtype for layer in storage.layers}
    if storage.layers and not found & wanted:
        raise MloptError(f"{dest}: asked for {precision}, but the weights are stored as {', '.join(sorted(found))}")
    left = storage.weights_by_dtype.get("float32", 0)
    if left and precision != "float16":
        return (f"{left} numbers in small constants, or constants of operations without such a form, stay float32",)
    return ()


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


STORED: Mapping[str, frozenset[str]] = {
    "float16": frozenset({"float16", "float32"}),   # weights too few to pay for their unpacking stay float32
    "int8": frozenset({"int8"}),
    "int8-dynamic": frozenset({"int8"}),
    "int8-weights": frozenset({"int8"}),
    "int16x8": frozenset({"int8"}),
    "int4-weights": frozenset({"int4"}),
    "mixed-4-8": frozenset({"int4", "int8"}),
    "int8-mixed-4-8": frozenset({"int4", "int8"}),
}
WITHOUT_SAMPLES: Mapping[str, Callable[[Model], Written]] = {
    "float16": _float16,
    "int8-dynamic": _int8_dynamic,
    "int8-weights": _int8_weights,
}
WITH_SAMPLES: Mapping[str, Callable[[Observed], Written]] = {
    "int8": lambda observed: make_integer(observed, "int8"),
    "int16x8": lambda observed: make_integer(observed, "int16"),
    "int4-weights": make_int4,
    "mixed-4-8": make_mixed,
    "int8-mixed-4-8": make_integer_mixed,
}
