"""What the gate's worker does with a file, for many files in one worker."""

import importlib
from pathlib import Path

from mlopt import worker
from mlopt.errors import ModelUnreadable


def open_each(format: str, files: list[str]) -> dict[str, str]:
    """File -> why it does not open, "" where it does. Says before each file which it is: one may end the process."""
    operations = importlib.import_module(f"mlopt_{format}.inventory").operations
    found = {}
    for file in files:
        worker.emit(begun=file)
        try:
            operations(Path(file))
            found[file] = ""
        except ModelUnreadable as err:
            found[file] = str(err)
        worker.emit(ended=file, why=found[file])
    return found
