"""The operations of a file, read by its converter in a worker of its own."""

import importlib.util
from pathlib import Path

from mlopt.gate.measuring import MeasurementFailed, format_of
from mlopt.sandbox import Reach
from mlopt.worker import Crew, Job


def read_ops(file: Path) -> tuple[str, ...]:
    """Sorted names of all operations. Raises `MeasurementFailed` for a format whose converter reads none."""
    module = f"mlopt_{format_of(file)}.inventory"
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MeasurementFailed("this host", file, f"operations of {format_of(file)} files cannot be read here")
    job = Job(task=f"reading the operations of {file.name}", function=f"{module}:operations",
              arguments={"file": str(file.resolve())}, deadline_s=120.0, reach=Reach(reads=(file,)))
    with Crew() as crew:
        return tuple(crew.run(job, list))
