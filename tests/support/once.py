"""What takes long to make is made once a run, for all of its processes."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` has filled, in whichever process of this run asked first; nobody may change it."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = run / f"once-{name}"
    with (run / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)        # until it is closed
        if not folder.exists():
            making = run / f"once-{name}.making"
            shutil.rmtree(making, ignore_errors=True)       # of a process that failed over it: that one says why
            making.mkdir()
            make(making)
            making.rename(folder)
    return folder
