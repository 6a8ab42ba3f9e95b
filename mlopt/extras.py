"""Which optional packages are here, asked without importing them."""

import importlib.metadata
import importlib.util

from mlopt.errors import MissingExtra

PACKAGES_BY_EXTRA: dict[str, tuple[str, ...]] = {
    "keras": ("tensorflow", "tf_keras", "keras"),
    "tflite": ("tensorflow", "tf_keras", "ai_edge_litert"),
    "onnx": ("tensorflow", "tf_keras", "onnx", "onnxruntime", "tf2onnx"),
    "coreml": ("tensorflow", "tf_keras", "coremltools"),
    "torch": ("torch",),
    "tracking": ("mlflow",),
}


def missing(extra: str) -> tuple[str, ...]:
    """The packages of `extra` that are not installed; of an extra that is not ours nothing is known to be missing."""
    return tuple(name for name in PACKAGES_BY_EXTRA.get(extra, ()) if importlib.util.find_spec(name) is None)


def require(extra: str, purpose: str) -> None:
    """Raise `MissingExtra`, whose sentence ends in the command that installs it, when a package is not there."""
    absent = missing(extra)
    if absent:
        raise MissingExtra(extra, absent, purpose)


def version(package: str) -> str:
    """The installed version, or "" where the package is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
