"""Load what the legacy Keras (1.x names, 2.x, tf.keras) wrote: .h5 files, and the .keras files of its last releases."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py

from mlopt.frameworks.keras.quiet import tf, tf_keras
from mlopt.frameworks.sniff import Sniffed

LOADING_ERRORS = (   # what either Keras raises over a file that it cannot rebuild
    ValueError, TypeError, LookupError, AttributeError, NotImplementedError, RuntimeError, OSError, AssertionError,
    tf.errors.OpError,
)   # fmt: skip
REDUCED = ("mixed_float16", "mixed_bfloat16")
COMPILED = ("compile_config", "training_config")


def load_h5(sniffed: Sniffed, custom_objects: Mapping[str, Any]) -> Any:
    """A `tf_keras.Model` from a legacy .h5: architecture, then weights; losses, metrics and optimizer stay closed."""
    assert sniffed.config is not None
    config = for_inference(sniffed.config)
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
    """The architecture without its training settings, and with mixed precision read as float32, as its weights are.

    >>> for_inference({"config": {"dtype": {"class_name": "Policy", "config": {"name": "mixed_float16"}}},
    ...                "compile_config": {"loss": "mse"}})
    {'config': {'dtype': 'float32'}}
    """
    if isinstance(config, list):
        return [for_inference(item) for item in config]
    if isinstance(config, str):
        return "float32" if config in REDUCED else config
    if not isinstance(config, dict):
        return config
    inner = config.get("config")
    if isinstance(inner, dict) and inner.get("name") in REDUCED and str(config.get("class_name")).endswith("Policy"):
        return "float32"
    return {key: for_inference(value) for key, value in config.items() if key not in COMPILED}


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


def reduced_precision(config: Any) -> bool:
    """Whether the model was trained in mixed precision."""
    text = json.dumps(config)
    return any(f'"{name}"' in text for name in REDUCED)
