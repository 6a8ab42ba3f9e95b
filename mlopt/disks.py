"""Which disk is full: the cache, the temporary folder and the result may lie on three."""

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlopt.errors import OutputUnwritable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_A_DISK = (*_FULL, errno.EIO, errno.EROFS)
_STEPS = {errno.ENOENT: "Create the folder"}
_PROBE_BYTES = 1 << 16      # a disk that takes no more than that is full for us


@dataclass(frozen=True, kw_only=True)
class Place:
    """Somewhere that a run writes to: `what` stands there, and `elsewhere` says how to name another place."""

    what: str                      # "finished stages"
    folder: Path
    elsewhere: str                 # "name another folder in MLOPT_CACHE"


def out_of_room(err: OSError, places: Sequence[Place]) -> OutputUnwritable:
    """What a failed write means to whoever has several disks: which of them is full, and what wrote there.

    Writing to an open file fails without the file's name. What is full now tells, unless the room came back as the
    half-written file went; then all places are named, with what is free there.
    """
    found = os.strerror(err.errno or 0)
    step = _STEPS.get(err.errno or 0, "Make room there" if err.errno in _FULL else "Make it writable")
    if named := err.filename2 or err.filename:      # who copies or renames writes the second
        path = Path(os.fsdecode(named))
        elsewhere = next((f", or {p.elsewhere}" for p in places if path.is_relative_to(p.folder)), "")
        disk = f", on the disk that is mounted at {mount_point(path)}" if err.errno in _OF_A_DISK else ""
        return OutputUnwritable(path, f"{found}{disk}", f"{step}{elsewhere}.")
    if which := full(places):
        disks = " and ".join(dict.fromkeys(str(mount_point(p.folder)) for p in which))
        return OutputUnwritable(" and ".join(f"{p.what} in {p.folder}" for p in which),
                                f"{found}, on the disk that is mounted at {disks}",
                                f"{step}, or {' and '.join(p.elsewhere for p in which)}.")
    free = "; ".join(f"{p.folder} has {_free(p.folder)} bytes free on the disk that is mounted at "
                     f"{mount_point(p.folder)} ({p.elsewhere})" for p in places)
    return OutputUnwritable(" or ".join(p.what for p in places), found, f"{step}: {free}.")


def full(places: Sequence[Place]) -> tuple[Place, ...]:
    """Those whose disk takes nothing more."""
    return tuple(place for place in places if _is_full(place.folder))


def name_if_full(err: BaseException, path: Path) -> None:
    """Give an error of a full disk the name `path`, where that one's disk takes nothing more.

    For handlers that still have the half-written file: once it is deleted, nobody can tell.
    """
    if isinstance(err, OSError) and err.errno in _FULL and _is_full(path if path.is_dir() else path.parent):
        err.filename, err.filename2 = str(path), None


def mount_point(path: Path) -> Path:
    """Where the disk is mounted that `path` lies on, or would lie on."""
    here = path.resolve()
    while not (here.exists() and here.is_mount()) and here != here.parent:
        here = here.parent
    return here


def _is_full(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * _PROBE_BYTES)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as err:
        return err.errno in _FULL
    return False


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free:,}"
    except OSError:
        return "an unknown number of"
