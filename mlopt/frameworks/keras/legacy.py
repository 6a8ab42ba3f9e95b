"""Load what the legacy Keras (1.x names, 2.x, tf.keras) wrote: .h5 files, and the .keras files of its last releases."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py

from mlopt.frameworks.keras.quiet import SafeModeScope, tf, tf_keras
from mlopt.frameworks.sniff import Sniffed

LOADING_ERRORS = (   # what either Keras raises over a file that it cannot rebuild
    ValueError, TypeError, LookupError, AttributeError, NotImplementedError, RuntimeError, OSError, AssertionError,
    tf.errors.OpError,
)   # fmt: skip
MIXED = ("mixed_float16", "mixed_bfloat16")
OTHER_FLOATS = ("float16", "bfloat16", "float64")      # as the type of a whole layer, which no format takes as it is
COMPILED = ("compile_config", "training_config")


def load_h5(sniffed: Sniffed, custom_objects: Mapping[str, Any], *, trust_code: bool) -> Any:
    """A `tf_keras.Model` from a legacy .h5: architecture, then weights; losses, metrics and optimizer stay closed."""
    assert sniffed.config is not None
    config = for_inference(sniffed.config)
    with SafeModeScope(safe_mode=not trust_code):        # from JSON, Keras takes no such argument
        model = tf_keras.models.model_from_json(json.dumps(config), custom_objects=full_names(config, custom_objects))
    with h5py.File(sniffed.path, "r") as file:
        if "model_weights" not in file:
            raise ValueError("the file has an architecture but no weights (no model_weights group)")
    model.load_weights(str(sniffed.path))
    return model


def load_zip(sniffed: Sniffed, custom_objects: Mapping[str, Any], *, trust_code: bool) -> Any:
    """A `tf_keras.Model` from a .keras file that tf_keras, or TensorFlow up to 2.15, wrote."""
    assert sniffed.config is not None
    customs = full_names(sniffed.config, custom_objects)
    with TemporaryDirectory(prefix="mlopt-") as folder:
        path = for_inference_zip(sniffed, Path(folder))
        return tf_keras.models.load_model(path, custom_objects=customs, compile=False, safe_mode=not trust_code)


def for_inference(config: Any) -> Any:
    """The architecture without its training settings, and with every floating type read as float32.

    >>> for_inference({"config": {"dtype": {"class_name": "Policy", "config": {"name": "mixed_float16"}}},
    ...                "compile_config": {"loss": "mse"}})
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
        for key, value in config.items() if key not in COMPILED
    }


def _policy(config: Mapping[str, Any]) -> str:
    """The name of the dtype policy that `config` stands for; empty where it is something else."""
    inner = config.get("config")
    is_policy = isinstance(inner, dict) and str(config.get("class_name")).endswith("Policy")
    return str(inner.get("name")) if is_policy and isinstance(inner, dict) else ""


def for_inference_zip(sniffed: Sniffed, folder: Path) -> Path:
    """The .keras file itself where its architecture needs no change; else a copy in `folder` with the changed one."""
    config = for_inference(sniffed.config)
    if config == sniffed.config and sniffed.path.suffix == ".keras":
        return sniffed.path
    copy = folder / "model.keras"                    # both Keras go by the suffix
    with zipfile.ZipFile(sniffed.path) as source, zipfile.ZipFile(copy, "w") as target:
        for entry in source.infolist():
            if entry.filename == "config.json":
                target.writestr(entry, json.dumps(config))
            else:
                with source.open(entry) as data, target.open(entry, "w") as out:
                    while piece := data.read(1 << 20):
                        out.write(piece)
    return copy


def for_inference_h5(sniffed: Sniffed, folder: Path) -> Path:
    """The .h5 file itself where its architecture needs no change; else one in `folder` with the changed one."""
    config = for_inference(sniffed.config)
    if config != sniffed.config:
        copy = Path(shutil.copyfile(sniffed.path, folder / "model.h5"))
        with h5py.File(copy, "r+") as file:
            del file.attrs["model_config"]
            file.attrs["model_config"] = json.dumps(config)
        return copy
    if sniffed.path.suffix in (".h5", ".hdf5"):
        return sniffed.path
    named = folder / "model.h5"                      # Keras goes by the suffix
    named.symlink_to(sniffed.path.resolve())
    return named


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
            pending.extend(value for key, value in node.items() if key not in COMPILED)
            found |= {name for name in (node.get("dtype"), _policy(node)) if name in OTHER_FLOATS}
    return sorted(found)
