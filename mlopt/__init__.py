"""mlopt: from a trained model to proven files for phones.

    import mlopt
    result = mlopt.compress("model.h5", data="train.parquet", test="test.parquet")
    print(result.table())
    result.best["tflite"].path

Importing this loads no framework: each part runs in a worker process that sees one.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlopt import gate, recipes
    from mlopt.api import Compressed, Profiled, compress, load, profile
    from mlopt.diagnosis import doctor
    from mlopt.errors import MloptError
    from mlopt.location import ModelLocation
    from mlopt.model import SourceModel
    from mlopt.report import Candidate, Finding, Report

__version__ = "0.1.0"

_HOMES = {
    "Candidate": "mlopt.report",
    "Compressed": "mlopt.api",
    "Finding": "mlopt.report",
    "MloptError": "mlopt.errors",
    "ModelLocation": "mlopt.location",
    "Profiled": "mlopt.api",
    "Report": "mlopt.report",
    "SourceModel": "mlopt.model",
    "compress": "mlopt.api",
    "doctor": "mlopt.diagnosis",
    "load": "mlopt.api",
    "profile": "mlopt.api",
}
_ROOMS = ("gate", "recipes")        # modules that hold what the commands of that name do

__all__ = [
    "Candidate", "Compressed", "Finding", "MloptError", "ModelLocation", "Profiled", "Report", "SourceModel",
    "compress", "doctor", "gate", "load", "profile", "recipes",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"mlopt.{name}")
    raise AttributeError(f"module 'mlopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_ROOMS])
