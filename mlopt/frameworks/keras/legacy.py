"""Load what the legacy Keras (1.x names, 2.x, tf.keras) wrote: .h5 files, and the .keras files of its last releases."""

import errno
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py

from mlopt.frameworks.keras.quiet import SafeModeScope, tf, tf_keras
from mlopt.frameworks.keras.sniff import ASSETS, WEIGHTS, Sniffed

LOADING_ERRORS = (   # what either Keras raises over a file that it cannot rebuild
    ValueError, TypeError, LookupError, AttributeError, NotImplementedError, RuntimeError, OSError, AssertionError,
    tf.errors.OpError,
)   # fmt: skip
_SYSTEM = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENOMEM)
MIXED = ("mixed_float16", "mixed_bfloat16")
OTHER_FLOATS = ("float16", "bfloat16", "float64")      # as the type of a whole layer, which no format takes as it is


def is_of_the_system(error: BaseException) -> bool:
    """Whether the system stood in the way, and not the file: a full disk, a place that is closed to this process."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in _SYSTEM:
            return True
        behind = behind.__cause__ or behind.__context__
    return False


def load_h5(sniffed: Sniffed, custom_objects: Mapping[str, Any], *, trust_code: bool) -> Any:
    """A `tf_keras.Model` from a legacy .h5: architecture, then weights; losses, metrics and optimizer stay closed."""
    assert sniffed.config is not None
    config = for_inference(sniffed.config)
    with SafeModeScope(safe_mode=not trust_code):        # from JSON, Keras takes no such argument
        model = tf_keras.models.model_from_json(json.dumps(config), custom_objects=dict(custom_objects))
    with h5py.File(sniffed.path, "r") as file:
        if "model_weights" not in file:
            raise ValueError("the file has an architecture but no weights (no model_weights group)")
    with TemporaryDirectory(prefix="mlopt-") as folder:
        named = Path(folder, "model.h5")         # by its name Keras decides what to read, and whether beside the file
        named.symlink_to(sniffed.path.resolve())
        model.load_weights(str(named))
    return model


def load_zip(sniffed: Sniffed, custom_objects: Mapping[str, Any], *, trust_code: bool) -> Any:
    """A `tf_keras.Model` from a .keras file that tf_keras, or TensorFlow up to 2.15, wrote."""
    assert sniffed.config is not None
    with TemporaryDirectory(prefix="mlopt-") as folder:
        path = clean_zip(sniffed, Path(folder))
        return tf_keras.models.load_model(
            path, custom_objects=dict(custom_objects), compile=False, safe_mode=not trust_code
        )


def for_inference(config: Any) -> Any:
    """The architecture with every floating type read as float32.

    >>> for_inference({"config": {"dtype": {"class_name": "Policy", "config": {"name": "mixed_float16"}}}})
    {'config': {'dtype': 'float32'}}
    >>> for_inference({"name": "float16", "dtype": "float16"})
    {'name': 'float16', 'dtype': 'float32'}
    """
    if isinstance(config, list):
        return [for_inference(item) for item in config]
    if isinstance(config, str):
        return "float32" if config in MIXED else config
    if not isinstance(config, dict):
        return config
    if _policy(config) in MIXED + OTHER_FLOATS:
        return "float32"
    return {
        key: "float32" if key == "dtype" and value in OTHER_FLOATS else for_inference(value)
        for key, value in config.items()
    }


def _policy(config: Mapping[str, Any]) -> str:
    """The name of the dtype policy that `config` stands for; empty where it is something else."""
    inner = config.get("config")
    is_policy = isinstance(inner, dict) and str(config.get("class_name")).endswith("Policy")
    return str(inner.get("name")) if is_policy and isinstance(inner, dict) else ""


def clean_zip(sniffed: Sniffed, folder: Path) -> Path:
    """A .keras file in `folder` with the architecture as it was read, and of the members those that a model has."""
    copy = folder / "model.keras"                    # both Keras go by the suffix
    with zipfile.ZipFile(sniffed.path) as source, zipfile.ZipFile(copy, "w") as target:
        target.writestr("config.json", json.dumps(for_inference(sniffed.config)))
        target.writestr("metadata.json", json.dumps({"keras_version": sniffed.keras_version}))
        for entry in source.infolist():
            if entry.filename == WEIGHTS or entry.filename.startswith(ASSETS):
                with source.open(entry) as data, target.open(entry.filename, "w", force_zip64=True) as out:
                    shutil.copyfileobj(data, out, 1 << 20)
    return copy


def clean_h5(sniffed: Sniffed, folder: Path) -> Path:
    """A .h5 file in `folder` with the architecture as it was read, and without any other setting."""
    copy = Path(shutil.copyfile(sniffed.path, folder / "model.h5"))
    with h5py.File(copy, "r+") as file:
        for name in ("model_config", "training_config"):
            if name in file.attrs:
                del file.attrs[name]
        file.attrs["model_config"] = json.dumps(for_inference(sniffed.config))
    return copy


def full_names(config: Any, custom_objects: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's objects under their own names and under each "package>Name" that the architecture uses."""
    found = dict(custom_objects)
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            pending.extend(node.values())
        elif isinstance(node, str) and ">" in node and node.rpartition(">")[2] in custom_objects:
            found[node] = custom_objects[node.rpartition(">")[2]]
    return found


def other_floats(config: Any) -> list[str]:
    """What `for_inference` reads as float32: "mixed precision", or the types by name.

    >>> other_floats({"layers": [{"dtype": "mixed_float16"}, {"dtype": "float16"}, {"dtype": "int32"}]})
    ['float16', 'mixed precision']
    """
    found: set[str] = set()
    pending = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, str) and node in MIXED:
            found.add("mixed precision")
        elif isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            pending.extend(node.values())
            found |= {name for name in (node.get("dtype"), _policy(node)) if name in OTHER_FLOATS}
    return sorted(found)
