"""Which optional packages are here, asked without importing them."""

import importlib.metadata
import importlib.util

from mlopt.errors import MissingExtra

RUNTIME_OF_FORMAT = {"tflite": "ai_edge_litert", "onnx": "onnxruntime", "coreml": "coremltools"}
PACKAGES_BY_EXTRA: dict[str, tuple[str, ...]] = {
    "keras": ("tensorflow", "tf_keras", "keras"),
    "tflite": ("tensorflow", "tf_keras", RUNTIME_OF_FORMAT["tflite"]),
    "onnx": ("tensorflow", "tf_keras", "onnx", RUNTIME_OF_FORMAT["onnx"], "tf2onnx"),
    "coreml": ("tensorflow", "tf_keras", RUNTIME_OF_FORMAT["coreml"]),
    "torch": ("torch",),
    "tracking": ("mlflow",),
}


def missing(extra: str) -> tuple[str, ...]:
    """The packages of `extra` that are not installed; of an extra that is not ours nothing is known to be missing."""
    return _absent(PACKAGES_BY_EXTRA.get(extra, ()))


def require(extra: str, purpose: str) -> None:
    """Raise `MissingExtra`, whose sentence ends in the command that installs it, when a package is not there."""
    absent = missing(extra)
    if absent:
        raise MissingExtra(extra, absent, purpose)


def require_runtime(format: str, purpose: str, *others: str) -> None:
    """Raise `MissingExtra` when what opens files of `format`, or one of the `others`, is not installed.

    Less than the extra of that name, which brings what exports such files as well.
    """
    if absent := _absent((RUNTIME_OF_FORMAT[format], *others)):
        raise MissingExtra(format, absent, purpose)


def _absent(packages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in packages if importlib.util.find_spec(name) is None)


def version(package: str) -> str:
    """The installed version, or "" where the package is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
