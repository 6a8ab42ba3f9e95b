"""A Core ML package on disk: Data/com.apple.CoreML/{model.mlmodel, weights/weight.bin} and Manifest.json.

coremltools writes random identifiers, the date and its version into a package. Here the identifiers are fixed and the
protobuf is serialised in a fixed order, so that the same model gives the same bytes.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from mlopt import files
from mlopt.documents import content, json_value
from mlopt.errors import ModelUnreadable, OutputUnwritable
from mlopt_coreml.mil.blob import DamagedWeights, WeightFile
from mlopt_coreml.mil.program import Program, UnreadableProgram, read_program
from mlopt_coreml.private.coremltools import Model_pb2

MODEL_FILE = "com.apple.CoreML/model.mlmodel"
WEIGHTS_FOLDER = "com.apple.CoreML/weights"
WEIGHTS_FILE = f"{WEIGHTS_FOLDER}/weight.bin"
WEIGHTS_REFERENCE = "@model_path/weights/weight.bin"
_EMPTY_WEIGHTS = WeightFile(b"")
_LARGEST_MANIFEST = 1 << 20     # bytes; one entry a file

# any two different identifiers will do: they only tie the manifest's entries together
_MODEL_ID = "00000000-0000-4000-8000-000000000001"
_WEIGHTS_ID = "00000000-0000-4000-8000-000000000002"
_MANIFEST = {
    "fileFormatVersion": "1.0.0",
    "itemInfoEntries": {
        _MODEL_ID: {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Specification",
            "name": "model.mlmodel",
            "path": MODEL_FILE,
        },
        _WEIGHTS_ID: {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Weights",
            "name": "weights",
            "path": WEIGHTS_FOLDER,
        },
    },
    "rootModelIdentifier": _MODEL_ID,
}


@dataclass(frozen=True)
class Package:
    """A package in memory: its specification and its weight file."""

    model: Model_pb2.Model
    weights: WeightFile


def read_package(folder: Path) -> Package:
    """Raises `ModelUnreadable`, saying what is wrong."""
    if not folder.is_dir():
        raise ModelUnreadable(folder, "there is no such folder" if not folder.exists() else "a package is a folder")
    model = Model_pb2.Model()
    try:
        model.ParseFromString((folder / "Data" / _model_path(folder)).read_bytes())
    except DecodeError as err:
        raise ModelUnreadable(folder, "its model.mlmodel is damaged") from err
    except OSError as err:
        raise ModelUnreadable(folder, f"its model.mlmodel cannot be read ({err.strerror})") from err
    weights = folder / "Data" / WEIGHTS_FILE
    return Package(model, WeightFile(weights.read_bytes()) if weights.is_file() else _EMPTY_WEIGHTS)


def _model_path(folder: Path) -> str:
    try:
        manifest = json_value(content(folder / "Manifest.json", most_bytes=_LARGEST_MANIFEST))
        path = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except OSError as err:
        raise ModelUnreadable(folder, "it has no Manifest.json") from err
    except (ValueError, KeyError, TypeError) as err:
        raise ModelUnreadable(folder, "its Manifest.json does not say where the model is") from err
    if not isinstance(path, str) or Path(path).is_absolute() or ".." in Path(path).parts:
        raise ModelUnreadable(folder, f"its Manifest.json points outside of the package, at {path!r}")
    return path


def program_of(package: Package, folder: Path) -> Program:
    """The program inside; `folder` is for the messages."""
    try:
        return read_program(package.model, package.weights)
    except (UnreadableProgram, DamagedWeights) as err:
        raise ModelUnreadable(folder, str(err)) from err


def write_package(model: Model_pb2.Model, weights: bytes, dest: Path) -> None:
    """Write the folder beside `dest` and rename it into place, replacing what was there."""
    contents = {
        "Manifest.json": json.dumps(_MANIFEST, separators=(",", ":"), sort_keys=True).encode(),
        f"Data/{MODEL_FILE}": model.SerializeToString(deterministic=True),
        f"Data/{WEIGHTS_FILE}": weights,
    }
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", dir=dest.parent))
        try:
            scratch.chmod(0o755)
            for name, data in contents.items():
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                (scratch / name).write_bytes(data)
            files.replace_folder(scratch, dest)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as err:
        raise OutputUnwritable(dest, err.strerror or str(err)) from err
