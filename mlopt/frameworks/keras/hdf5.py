"""What an HDF5 file of Keras holds, asked of a process that may crash or hang in our place."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mlopt.errors import ModelUnreadable

AGAIN = "Save or copy the model again."
SLOWEST_BYTES_PER_S = 10e6     # unpacked on a slow processor, or read from a slow disk
PATIENCE_S = 5.0               # of the processor's time beside that: a file that takes longer makes its reader loop
_PROGRAM = "mlopt.frameworks.keras.hdf5_child:contents"  # run by its path; keys hold what is named
_CHILD = Path(__file__).with_name(f"{_PROGRAM.partition(':')[0].rpartition('.')[2]}.py")


@dataclass(frozen=True, kw_only=True)
class Contents:
    """`config` is the text of the architecture, None where there is none; bytes are as the datasets declare them."""

    config: str | None
    keras_version: str
    weights_only: bool
    weight_bytes: int
    optimizer_bytes: int


def contents(model: Path, file: Path, *, most_bytes: int) -> Contents:
    """Read the HDF5 `file`, which is `model` or lies in it.

    Raises `ModelUnreadable`, naming `model`, for a damaged file, one whose entries lead out of it, one that declares
    more than `most_bytes`, and one whose reading crashes or does not end.
    """
    patience = round(PATIENCE_S + file.stat().st_size / SLOWEST_BYTES_PER_S)
    command = [sys.executable, "-P", str(_CHILD), str(file), str(most_bytes), str(patience)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.run(command, env=environment, capture_output=True, check=False)
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):       # the limit, in its soft and its hard form
        found = f"reading its HDF5 content did not end in {patience} s"
        raise ModelUnreadable(model, found, f"It is damaged, or made to do that. {AGAIN}")
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise ModelUnreadable(model, f"its HDF5 content is damaged: reading it ended with {name}", AGAIN)
    assert child.returncode == 0, child.stderr.decode(errors="replace")
    found = json.loads(child.stdout)
    if "damaged" in found:
        raise ModelUnreadable(model, f"its HDF5 content is damaged or cut short: {found['damaged']}", AGAIN)
    if "refused" in found:
        raise ModelUnreadable(model, found["refused"], AGAIN)
    return Contents(**found)
