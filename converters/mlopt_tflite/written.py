"""From a quantized model to a file: slimmed with a proof, and read back before it counts."""

from collections.abc import Set
from pathlib import Path

from mlopt.artifact import Made
from mlopt.errors import MloptError
from mlopt_tflite import slim
from mlopt_tflite.storage import read_storage
from mlopt_tflite.tables import Model

Written = tuple[Model, dict[str, str], tuple[str, ...]]   # the model, what was chosen on the way, what was left alone


def write(
    written: Written, dest: Path, precision: str, *, stored: Set[str], seed: int, tries: int = 4,
    notes: tuple[str, ...] = (),
) -> Made:
    """`stored` are the types of which the file's weights must have one. `tries` inputs prove that slimming is exact."""
    model, choices, own = written
    slim.write_slim(model, dest, seed=seed, tries=tries)
    return Made(path=dest, choices=choices, notes=(*notes, *own, *_check_stored(dest, precision, stored)))


def _check_stored(dest: Path, precision: str, wanted: Set[str]) -> tuple[str, ...]:
    """The file holds what was asked for: read back, since a quantizer that did nothing would also write a file.

    Returns a note on what is left in float.
    """
    storage = read_storage(dest)
    found = {layer.weight_dtype for layer in storage.layers}
    if storage.layers and not found & wanted:
        raise MloptError(f"{dest}: asked for {precision}, but the weights are stored as {', '.join(sorted(found))}")
    left = storage.weights_by_dtype.get("float32", 0)
    if left and "float32" not in wanted:
        return (f"{left} numbers in small constants, or constants of operations without such a form, stay float32",)
    return ()
