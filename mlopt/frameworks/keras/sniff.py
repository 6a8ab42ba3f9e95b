"""What kind of model a path holds, told from its content; no framework is imported and nothing of it is run."""

import contextlib
import enum
import lzma
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlopt import archives, files
from mlopt.documents import DocumentInvalid, json_value
from mlopt.errors import ModelUnreadable
from mlopt.frameworks.keras import hdf5
from mlopt.frameworks.keras.hdf5 import AGAIN

TAKES = "mlopt takes trained Keras models: a .h5 or .hdf5 file, a .keras file, or a SavedModel folder."
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"

MAX_CONFIG_BYTES = 16 << 20     # the largest architecture JSON seen in the wild is a few MB
MAX_CONFIG_VALUES = 1_000_000   # each takes some hundred bytes of memory, however short its text is
MAX_UNPACKED_BYTES = 16 << 30   # of all that a model file declares; TFLite and protobuf stop at 2 GiB anyway
MAX_EXPANSION = 1000            # unpacked / packed; deflate itself cannot exceed 1032
MAX_ZIP_MEMBERS = 10_000
SAVED = "model.h5"               # in a folder that `TrainableModel.save` wrote
WEIGHTS = "model.weights.h5"     # members of a .keras file, beside its two JSON files
ASSETS = "assets/"
DAMAGED = (   # what zipfile and what unpacks for it raise over bytes that are no archive of theirs
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, OSError, RuntimeError, ValueError,
)   # fmt: skip


class Container(enum.StrEnum):
    KERAS_H5 = "keras-h5"
    KERAS_ZIP = "keras-zip"
    SAVED_MODEL = "saved-model"


@dataclass(frozen=True, kw_only=True)
class Sniffed:
    """A model on disk, recognised; `config` is its architecture as parsed JSON, None for a SavedModel."""

    path: Path
    container: Container
    config: dict[str, Any] | None
    keras_version: str                # as the file says; "" where it does not
    weight_bytes: int = 0             # of the datasets of a Keras file, as they are stored
    optimizer_bytes: int = 0


def sniff(path: Path) -> Sniffed:
    """Recognise a model by content, whatever its suffix; raises `ModelUnreadable` saying what was found instead."""
    with _as_unreadable(path):
        if path.is_dir():
            return _folder(path)
        return _hdf5(path) if _head(path).startswith(HDF5_MAGIC) else _zip(path)


def check_kind(path: Path) -> None:
    """Raise `ModelUnreadable` for what is no model by its first bytes, or a folder's names; nothing is parsed."""
    with _as_unreadable(path):
        if path.is_dir() and not (path / SAVED).is_file():
            _folder(path)
            return
        head = _head(path / SAVED if path.is_dir() else path)
        if head.startswith(ZIP_MAGIC) and (first := _first_member(head)).endswith(".npy"):
            raise ModelUnreadable(path, _foreign_zip({first}), TAKES)


@contextlib.contextmanager
def _as_unreadable(path: Path) -> Iterator[None]:
    try:
        if not path.exists():
            raise ModelUnreadable(path, "there is no such file or folder", TAKES)
        yield
    except PermissionError as err:
        raise ModelUnreadable(path, "it cannot be read: permission denied", "Check the permissions.") from err
    except OSError as err:
        raise ModelUnreadable(path, f"it cannot be read: {err}") from err


def _folder(path: Path) -> Sniffed:
    if (path / "saved_model.pb").is_file():
        if (path / "saved_model.pb").stat().st_size == 0:
            raise ModelUnreadable(path, "its saved_model.pb is empty", "Export the model again.")
        return Sniffed(path=path, container=Container.SAVED_MODEL, config=None, keras_version="")
    if (path / SAVED).is_file():
        return _hdf5(path / SAVED)
    if (path / "Manifest.json").is_file() and (path / "Data").is_dir():
        raise ModelUnreadable(path, "this is a Core ML package, an exported file and not a trained model", TAKES)
    if (path / "saved_model.pbtxt").is_file():
        raise ModelUnreadable(path, "this is a SavedModel in text form", "Export it again with tf.saved_model.save.")
    inside = sorted(entry.name for entry in path.iterdir())[:5]
    held = f"it holds {', '.join(inside)}" if inside else "it is empty"
    raise ModelUnreadable(path, f"this folder has no saved_model.pb; {held}", TAKES)


def _head(path: Path) -> bytes:
    """The first bytes of a file that may be a Keras model."""
    try:
        with files.open_regular(path) as stream:
            head = stream.read(4096)
    except files.NotRegular as err:
        raise ModelUnreadable(path, f"this is {err.strerror}", TAKES) from err
    if not head:
        raise ModelUnreadable(path, "the file is empty", AGAIN)
    if head.startswith((HDF5_MAGIC, ZIP_MAGIC)):
        return head
    if HDF5_MAGIC.startswith(head) or ZIP_MAGIC.startswith(head):
        raise ModelUnreadable(path, f"the file is cut short: it has {len(head)} bytes", AGAIN)
    if path.name == "saved_model.pb":
        raise ModelUnreadable(path, "this is one file of a SavedModel", f"Name its folder: {path.parent}")
    raise ModelUnreadable(path, _foreign(path, head), TAKES)


def _first_member(head: bytes) -> str:
    """The name of an archive's first member."""
    (length,) = struct.unpack_from("<H", head.ljust(30, b"\0"), 26)
    return head[30 : 30 + length].decode(errors="replace")


def _foreign(path: Path, head: bytes) -> str:
    """Say what a file is that mlopt does not take as a source."""
    onnx = head[:1] == b"\x08" and (path.suffix == ".onnx" or b"pytorch" in head or b"onnx" in head)
    first = head.lstrip()[:1]
    told = {
        "this is a TFLite file, an exported file and not a trained model": head[4:8] == b"TFL3",
        "this is an ExecuTorch program, an exported file and not a trained model": re.match(rb"ET\d\d", head[4:8]),
        "this is an ONNX file, an exported file and not a trained model": onnx,
        "this is a Python pickle, perhaps an old PyTorch checkpoint; opening it would run code":
            re.match(rb"\x80[\x02-\x05]", head),
        "this is a Git LFS pointer, not the model itself; `git lfs pull` fetches it":
            head.startswith(b"version https://git-lfs.github.com"),
        "this is JSON: an architecture without weights": first in (b"{", b"["),
        "this is a web page or XML, perhaps a failed download": first == b"<",
    }   # fmt: skip
    unknown = f"this is not a model file that mlopt knows (it starts with {head[:8]!r})"
    return next((sentence for sentence, holds in told.items() if holds), unknown)


def weights(path: Path) -> Sniffed:
    """The HDF5 file of weights for a network that is built elsewhere; raises `ModelUnreadable` for another file."""
    with _as_unreadable(path):
        if not _head(path).startswith(HDF5_MAGIC):
            remedy = "Save them with model.save_weights(NAME.weights.h5)."
            raise ModelUnreadable(path, "these are no HDF5 weights", remedy)
        held = hdf5.contents(path, path, most_bytes=_most_bytes(path.stat().st_size))
        return Sniffed(
            path=path, container=Container.KERAS_H5, config=None, keras_version=held.keras_version,
            weight_bytes=held.weight_bytes, optimizer_bytes=held.optimizer_bytes,
        )


def _hdf5(path: Path) -> Sniffed:
    """The architecture of a legacy Keras file, from its attribute; refuses what would read other files or swell."""
    held = hdf5.contents(path, path, most_bytes=_most_bytes(path.stat().st_size))
    if held.config is None and held.weights_only:
        remedy = "Save the whole model (model.save), or rebuild it, load these weights and save that."
        raise ModelUnreadable(path, "this file holds weights but no architecture", remedy)
    if held.config is None:
        raise ModelUnreadable(path, "this HDF5 file is not a Keras model (it has no model_config attribute)", TAKES)
    return Sniffed(
        path=path, container=Container.KERAS_H5, config=_parsed(path, held.config), keras_version=held.keras_version,
        weight_bytes=held.weight_bytes, optimizer_bytes=held.optimizer_bytes,
    )


def _weights_inside(path: Path, archive: zipfile.ZipFile) -> hdf5.Contents:
    """Of the weights of a .keras file, which are an HDF5 file in its archive."""
    with tempfile.NamedTemporaryFile(prefix="mlopt-", suffix=".h5") as inner:
        with archive.open(WEIGHTS) as member:
            shutil.copyfileobj(member, inner, 1 << 20)
        inner.flush()
        return hdf5.contents(path, Path(inner.name), most_bytes=_most_bytes(inner.tell()))


def _zip(path: Path) -> Sniffed:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            if "config.json" not in names:
                raise ModelUnreadable(path, _foreign_zip(names), TAKES)
            _check_members(path, entries)          # before any of them is read
            if WEIGHTS not in names:
                raise ModelUnreadable(path, f"this .keras file has no weights (no {WEIGHTS})", AGAIN)
            config = _parsed(path, archive.read("config.json").decode())
            metadata = _parsed(path, archive.read("metadata.json").decode()) if "metadata.json" in names else {}
            weights = _weights_inside(path, archive)
    except ModelUnreadable:
        raise
    except DAMAGED as err:
        raise ModelUnreadable(path, f"its zip archive is damaged or cut short: {err}", AGAIN) from err
    version = str(metadata.get("keras_version", ""))
    return Sniffed(
        path=path, container=Container.KERAS_ZIP, config=config, keras_version=version,
        weight_bytes=weights.weight_bytes, optimizer_bytes=weights.optimizer_bytes,
    )


def _check_members(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_ZIP_MEMBERS or len({entry.filename for entry in entries}) < len(entries):
        raise ModelUnreadable(path, f"its zip archive has {len(entries)} members, or some twice", AGAIN)
    for entry in entries:
        if reason := archives.why_not(entry):
            raise ModelUnreadable(path, f"its member {entry.filename!r} {reason}", "Save it as Keras does.")
        parts = entry.filename.replace("\\", "/").split("/")
        if entry.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise ModelUnreadable(path, f"its member {entry.filename!r} points outside of the archive", AGAIN)
        if entry.filename.endswith(".json") and "/" not in entry.filename and entry.file_size > MAX_CONFIG_BYTES:
            raise ModelUnreadable(path, f"its {entry.filename} has {entry.file_size} bytes", "That is no Keras model.")
    _bounded(path, sum(entry.file_size for entry in entries), path.stat().st_size)


def _bounded(path: Path, unpacked: int, packed: int) -> None:
    if unpacked > _most_bytes(packed):
        found = f"it declares {unpacked:,} bytes of content in a file of {packed:,} bytes"
        most = f"mlopt opens at most {MAX_UNPACKED_BYTES:,} bytes, expanded {MAX_EXPANSION}-fold."
        raise ModelUnreadable(path, found, most)


def _most_bytes(packed: int) -> int:
    return min(MAX_UNPACKED_BYTES, MAX_EXPANSION * packed + (1 << 20))


def _foreign_zip(names: set[str]) -> str:
    if any(name.endswith("data.pkl") for name in names):
        kind = "a TorchScript archive" if any(n.endswith("constants.pkl") for n in names) else "a PyTorch checkpoint"
        return f"this is {kind}, which mlopt does not open"
    if any(name.endswith("saved_model.pb") for name in names):
        return "this is a zipped SavedModel; unpack it and name the folder"
    if any(name.endswith("Manifest.json") for name in names):
        return "this is a zipped Core ML package, an exported file and not a trained model"
    if any(name.endswith(".npy") for name in names):
        return "this is a NumPy .npz file: data, not a model"
    return "this zip archive is not a Keras model (it has no config.json)"


def _parsed(path: Path, text: str) -> dict[str, Any]:
    if len(text) > MAX_CONFIG_BYTES:
        raise ModelUnreadable(path, f"its architecture has {len(text)} characters", "That is no Keras model.")
    if text.count(",") + text.count(":") > MAX_CONFIG_VALUES:
        found = f"its architecture has more than {MAX_CONFIG_VALUES:,} values"
        raise ModelUnreadable(path, found, "That is no Keras model.")
    try:
        config = json_value(text, nan_allowed=True, infinity_allowed=True)
    except DocumentInvalid as err:
        raise ModelUnreadable(path, f"its architecture is no valid JSON: {err}", AGAIN) from err
    if not isinstance(config, dict):
        raise ModelUnreadable(path, "its architecture is no JSON object", AGAIN)
    return config
