"""The file: a zip archive of two arrays, read without trusting what it says of their sizes."""

import math
import zipfile
from pathlib import Path

import numpy as np

from mlopt_linear import FILE, NotLinear


def read(place: Path) -> tuple[np.ndarray, np.ndarray]:
    """Weights [in, out] and bias [out], float32; raises `NotLinear`."""
    path = place / FILE if place.is_dir() else place
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
            if names != ["bias.npy", "weights.npy"]:
                raise NotLinear(place, f"it holds {', '.join(names)}")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise NotLinear(place, "its arrays are compressed")      # none is larger than the file
            bias, weights = (_array(archive.read(name)) for name in names)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as err:
        raise NotLinear(place, f"it cannot be read: {err}") from err
    if weights.ndim != 2 or bias.shape != weights.shape[1:] or not weights.size:
        raise NotLinear(place, f"weights {weights.shape} and bias {bias.shape} do not fit")
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise NotLinear(place, "it has weights that are not finite")
    return weights, bias


def write(place: Path, weights: np.ndarray, bias: np.ndarray) -> None:
    np.savez(place / FILE, weights=weights, bias=bias)


def _array(content: bytes) -> np.ndarray:
    """Of a .npy member; `numpy.load` would reserve what the header promises before it looks at what is there."""
    from io import BytesIO

    stream = BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another version of the format")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    values = content[stream.tell() :]
    if dtype != np.float32 or len(values) != 4 * math.prod(shape):
        raise ValueError(f"{len(values)} bytes for an array {shape} of {dtype}, not float32")
    return np.frombuffer(values, np.float32).reshape(shape, order="F" if by_columns else "C").copy()
