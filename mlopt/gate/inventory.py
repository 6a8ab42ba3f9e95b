"""Whether a file is what its name says: its converter opens it in a worker of its own, and reads its operations."""

from pathlib import Path

from mlopt import extras, plugins
from mlopt.gate.measuring import MeasurementFailed, format_of
from mlopt.sandbox import Reach
from mlopt.worker import Crew, Job

_DEADLINE_S = 120.0


def open_model(file: Path) -> tuple[str, ...]:
    """Sorted names of all operations of a file that its format's own runtime or parser opened.

    Raises `ModelUnreadable` for a file that is refused there, whatever its name says. Where nobody can tell, it raises
    `MeasurementFailed` (no runtime reads files of that name), `MissingExtra` (it is not installed) or `WorkerFailed`
    (the process that opened it was killed or hung).
    """
    format = format_of(file)
    extras.require_reader(format, f"opening {file.name}")
    door = plugins.load_converter(format)
    job = Job(task=f"opening {file.name}", function=door.inventory, sees=door.sees,
              arguments={"file": str(file.resolve())}, deadline_s=_DEADLINE_S, reach=Reach(reads=(file,)))
    with Crew() as crew:
        found = tuple(crew.run(job, list))
    if not found:
        raise MeasurementFailed("this host", file, "it holds no operation, so there is nothing to judge")
    return found
