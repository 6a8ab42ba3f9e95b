"""The operations of a file, read by its converter in a worker of its own."""

import importlib.util
from pathlib import Path

from mlopt.errors import install_command
from mlopt.gate.measuring import MeasurementFailed, format_of
from mlopt.profile.target import TargetUnusable
from mlopt.worker import Crew, Job

_READERS = {"tflite": "ai_edge_litert", "onnx": "onnx"}     # what reads a file of that format, of the extra's packages


def read_ops(file: Path) -> tuple[str, ...]:
    """Sorted names of all operations.

    Raises `MeasurementFailed` for a format whose converter reads none, `TargetUnusable` where its extra is missing.
    """
    module = f"mlopt_{format_of(file)}.inventory"
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MeasurementFailed("this host", file, f"operations of {format_of(file)} files cannot be read here")
    package = _READERS.get(format_of(file), "")
    if package and importlib.util.find_spec(package) is None:
        raise TargetUnusable(f"reading the operations of {file.name}", f"{package} is not installed",
                             install_command(format_of(file)))
    job = Job(task=f"reading the operations of {file.name}", function=f"{module}:operations",
              arguments={"file": str(file)}, deadline_s=120.0)
    with Crew() as crew:
        return tuple(crew.run(job, list))
