"""Locks between runs on one machine: the system lets go of them with the process, however that ended."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from mlopt.errors import MloptError, OutputUnwritable


@contextlib.contextmanager
def held(path: Path, *, refusal: MloptError) -> Iterator[None]:
    """Hold the lock at `path`, whose folder is made, or raise `refusal` at once where another process holds it.

    The file stays: deleting it would give the next two runs a lock each. A file system without such locks is refused,
    since a file that is a lock by being there outlives a killed run.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, blocking=False, fallback_to_soft=False)
        lock.acquire()
    except Timeout as err:
        raise refusal from err
    except OSError as err:
        raise OutputUnwritable(path, os.strerror(err.errno or 0), "Name another folder in MLOPT_CACHE.") from err
    try:
        yield
    finally:
        lock.release()
