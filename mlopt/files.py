"""Folders that are whole or absent: written under a temporary name, synced, renamed; digests and sizes.

Whatever is read here is a regular file: a pipe, a socket or a device waits for ever, or never ends.
"""

import contextlib
import ctypes
import ctypes.util
import errno
import hashlib
import io
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlopt import disks
from mlopt.errors import OutputUnwritable

_CHUNK = 1 << 20
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_IRREGULAR = {
    stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device",
    stat.S_ISDIR: "a folder", stat.S_ISLNK: "a link",
}


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, or leave what was there."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as err:
        err.filename = str(path)        # nobody has asked for the other name
        raise
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as err:
        disks.name_if_full(err, path)
        Path(temporary).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block succeeds, and vanishes when it does not.

    Where another process made `path` meanwhile, that one stays and ours is dropped: for content-addressed folders the
    two are the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        sync_folder(temporary)
        put(temporary, path)
    except OSError as err:
        disks.name_if_full(err, path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put(folder: Path, path: Path) -> None:
    """Rename `folder`, which is complete and synced, to `path`; it stays where it is when there is one already."""
    folder.chmod(0o755)
    try:
        folder.rename(path)
    except OSError as err:
        if err.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def odd_entry(folder: Path) -> Path | None:
    """The first thing in `folder`, itself or beneath it, that is neither a plain file nor a folder; None without one.

    Links count as odd: whoever reads through one reads what somebody else chose.
    """
    for place in (folder, *folder.rglob("*")):
        kind = place.lstat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            return place
    return None


def replace_folder(new: Path, path: Path) -> None:
    """Put the folder `new` where `path` is, in one step where the system can, and delete what was there."""
    sync_folder(new)
    if not path.exists():
        new.rename(path)
        return
    if _exchanged(new, path):
        shutil.rmtree(new)
        return
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    path.rename(aside / "old")
    try:
        new.rename(path)
    except OSError:
        (aside / "old").rename(path)
        raise
    finally:
        shutil.rmtree(aside)


def staged_inside(path: Path) -> bool:
    """Whether a new content of the folder `path` must be staged in it: it cannot be renamed, or its parent is closed.

    So it is with a volume that is mounted into a container.
    """
    return path.is_dir() and (path.is_mount() or not os.access(path.parent, os.W_OK))


def replace_content(new: Path, path: Path) -> None:
    """Put what the folder `new`, which lies in `path`, holds in place of all else in `path`; not in one step."""
    sync_folder(new)
    for entry in [entry for entry in path.iterdir() if entry != new]:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for entry in list(new.iterdir()):
        entry.rename(path / entry.name)
    new.rmdir()


def sync_folder(folder: Path) -> None:
    for entry in folder.rglob("*"):
        if entry.is_file() and not entry.is_symlink():
            descriptor = os.open(entry, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def check_writable(folder: Path, *, needs_bytes: int = 0) -> None:
    """Raise `OutputUnwritable` when nothing can be written into `folder`, or there is not room for `needs_bytes`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as err:
        raise OutputUnwritable(folder, os.strerror(err.errno or 0), "Choose another folder with --out.") from err
    if free < needs_bytes:
        raise OutputUnwritable(
            folder, f"{free:,} bytes are free and about {needs_bytes:,} are needed", "Make room, or use another disk."
        )


class NotRegular(OSError):
    """What lies at a path is no regular file; `strerror` says what it is."""

    def __init__(self, path: Path, mode: int) -> None:
        found = next((name for is_kind, name in _IRREGULAR.items() if is_kind(mode)), "something")
        super().__init__(errno.EINVAL, f"{found}, where a regular file is needed", str(path))


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file, or a link to one, for reading.

    Never waits: opening a pipe that nobody writes to returns at once. What was opened is asked once more, so that
    nothing can be put in its place between. Raises `NotRegular`, or another OSError.
    """
    _require_regular(path, path.stat())      # at first as well: a device may do something when it is opened
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _require_regular(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotRegular(path, found.st_mode)


def digest(path: Path) -> str:
    """sha256 of a file, or of a folder's files: see `digest_of_parts`.

    Raises `NotRegular` where a pipe, a socket or a device lies there: its content is not fixed.
    """
    if path.is_dir():
        parts = [part for part in path.rglob("*") if part.exists() and not part.is_dir()]
        return digest_of_parts(path, sorted(part.relative_to(path) for part in parts))
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_parts(folder: Path, parts: Iterable[Path]) -> str:
    """sha256 over the relative paths `parts`, in the order given: each one's name, a zero, its own sha256."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(os.fsencode(part.as_posix()) + b"\0" + digest(folder / part).encode())
    return whole.hexdigest()


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


def zipped_size(path: Path) -> int:
    """Bytes after deflate at level 9, as an app store or a web server would send it; each file of a folder alone."""
    total = 0
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            packer = zlib.compressobj(9)
            with open_regular(file) as stream:
                while chunk := stream.read(_CHUNK):
                    total += len(packer.compress(chunk))
            total += len(packer.flush())
    return total


def _exchanged(a: Path, b: Path) -> bool:
    """True when the kernel swapped the two names in one step (Linux, most file systems)."""
    library = ctypes.util.find_library("c")
    if library is None:
        return False
    rename = getattr(ctypes.CDLL(library, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0
