"""The room behind the door: each function is the TFLite converter's, with gzip around the file."""

import gzip
import tempfile
from pathlib import Path
from typing import Any

from mlopt import plain, plugins
from mlopt.artifact import Made, Storage
from mlopt.convert.protocol import Runtime
from mlopt.data.samples import Samples
from mlopt.errors import ModelUnreadable
from mlopt.model import Signature

TFLITE = plugins.load_converter("tflite")      # its door: the functions behind it are resolved where they are needed
PLAIN = {precision.name: precision for precision in TFLITE.precisions}


def export(model: Any, signature: Signature, dest: Path) -> Made:
    """Runs in the framework's worker."""
    with tempfile.TemporaryDirectory() as folder:
        made = plain.resolve(TFLITE.exporters["keras"].function)(model, signature, Path(folder) / "plain.tflite")
        return _zipped(made, dest)


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int
) -> Made:
    """Runs in a worker that sees no training framework."""
    with tempfile.TemporaryDirectory() as folder:
        unzipped = _unzipped(float_file, Path(folder) / "float.tflite")
        made = plain.resolve(PLAIN[precision].make)(
            unzipped, precision, Path(folder) / "made.tflite", signature=signature, samples=samples, seed=seed
        )
        return _zipped(made, dest)


def open_runtime(file: Path, signature: Signature) -> Runtime:
    with tempfile.TemporaryDirectory() as folder:
        unzipped = _unzipped(file, Path(folder) / "unzipped.tflite")
        runtime: Runtime = plain.resolve(TFLITE.open_runtime)(unzipped, signature)
        return runtime


def read_storage(file: Path) -> Storage:
    with tempfile.TemporaryDirectory() as folder:
        unzipped = _unzipped(file, Path(folder) / "unzipped.tflite")
        storage: Storage = plain.resolve(TFLITE.read_storage)(unzipped)
        return storage


def operations(file: Path) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        unzipped = _unzipped(file, Path(folder) / "unzipped.tflite")
        names: list[str] = plain.resolve(TFLITE.inventory)(str(unzipped))
        return names


def _zipped(made: Made, dest: Path) -> Made:
    dest.write_bytes(gzip.compress(made.path.read_bytes(), mtime=0))    # no time inside: the same bytes each time
    return Made(path=dest, choices=made.choices, notes=made.notes)


def _unzipped(file: Path, dest: Path) -> Path:
    try:
        dest.write_bytes(gzip.decompress(file.read_bytes()))
    except (OSError, EOFError) as err:
        raise ModelUnreadable(file, f"not a deflated file ({err})") from err
    return dest
