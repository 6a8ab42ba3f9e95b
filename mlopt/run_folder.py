"""A folder for what lives as long as one run: gone when the run is over, and what a killed run left goes with the next.

A lock in each folder tells whether its run still lives: the system lets go of it with the process, however that ended.
Not `filelock`, which makes a lock that is not there: whoever looks for what was left would take that of a folder which
its run has just made, and delete the folder.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

_PREFIX, _LOCK = ".mlopt-run-", "lock"
_BEING_MADE_S = 3600.0      # how old a folder without a lock is before it counts as left behind


class RunFolder:
    """Leaving the block, for whatever reason, deletes the folder."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self.path = parent
        self._lock: IO[str] | None = None

    def __enter__(self) -> "RunFolder":
        _delete_left_over(self._parent)
        while self._lock is None:
            self.path = Path(tempfile.mkdtemp(dir=self._parent, prefix=_PREFIX))
            self._lock = _locked(self.path / _LOCK)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._lock is not None
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()

    def new(self) -> Path:
        """A folder of its own, empty, for one worker."""
        return Path(tempfile.mkdtemp(dir=self.path))


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """An empty folder among the temporary files, for one block."""
    with RunFolder(Path(tempfile.gettempdir())) as run:
        yield run.new()


def _locked(lock: Path) -> IO[str] | None:
    """The lock, held; None where another run took the folder for left behind before we held it."""
    with contextlib.suppress(FileNotFoundError):
        file = lock.open("w")
        with contextlib.suppress(OSError):          # a file system without locks: then nobody deletes it either
            fcntl.flock(file, fcntl.LOCK_EX)
        if lock.exists():
            return file
        file.close()
    return None


def _delete_left_over(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):          # somebody else's, or gone meanwhile
            if folder.lstat().st_uid == os.getuid():
                _delete_unless_locked(folder)


def _delete_unless_locked(folder: Path) -> None:
    """While we hold the lock, so that a run that has just made the folder sees that it is gone."""
    try:
        lock = (folder / _LOCK).open("r+")
    except FileNotFoundError:
        if time.time() - folder.stat().st_mtime > _BEING_MADE_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
