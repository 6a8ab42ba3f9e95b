"""The one door to the user's files: regular files only, and in a folder none that lies elsewhere.

The snapshot of a hub's repository is a folder of links into the `blobs` beside it, which count as its own.
"""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlopt import files
from mlopt.errors import DataUnreadable
from mlopt.sandbox.places import resolved

_REMOVE = "Remove it from the folder, or put the file itself there."


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a folder holds, relative to it and in name order; hidden names are left out."""

    files: tuple[Path, ...]
    links_to_folders: tuple[Path, ...]      # not followed: they may lead round in a circle


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, without waiting; raises `DataUnreadable`."""
    with as_unreadable(path):
        return files.open_regular(path)


def files_below(folder: Path) -> Listing:
    """Every file of a folder, at any depth.

    A link to a file counts as the file where that lies in the folder too, or in its hub's `blobs`. Raises
    `DataUnreadable` for a link that leaves the folder or leads nowhere, for a pipe, a socket or a device, and for a
    name that is not UTF-8.
    """
    found: list[Path] = []
    linked: list[Path] = []
    inside = resolved(folder)
    pending = [Path()]
    while pending:
        here = pending.pop()
        with os.scandir(folder / here) as entries:
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                place = here / _readable_name(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(place)
                elif entry.is_symlink() and (folder / place).is_dir():
                    linked.append(place)
                elif entry.is_symlink():
                    found.append(_link_inside(folder, place, inside))
                elif entry.is_file(follow_symlinks=False):
                    found.append(place)
                else:
                    irregular = files.NotRegular(folder / place, entry.stat(follow_symlinks=False).st_mode)
                    raise DataUnreadable(folder, f"{place} is {irregular.strerror}", _REMOVE)
    return Listing(files=tuple(sorted(found)), links_to_folders=tuple(sorted(linked)))


@contextlib.contextmanager
def as_unreadable(source: str | Path) -> Iterator[None]:
    """What the system refuses becomes `DataUnreadable`."""
    try:
        yield
    except PermissionError as err:
        raise DataUnreadable(err.filename or source, "permission denied", "Allow this user to read it.") from err
    except files.NotRegular as err:
        raise DataUnreadable(err.filename, f"it is {err.strerror}", "Give a file or a folder of files.") from err
    except OSError as err:
        raise DataUnreadable(err.filename or source, os.strerror(err.errno or 0)) from err


def _link_inside(folder: Path, place: Path, inside: Sequence[Path]) -> Path:
    try:
        target = os.path.realpath(folder / place, strict=True)
        files.open_regular(Path(target)).close()
    except files.NotRegular as err:
        raise DataUnreadable(folder, f"{place} is a link to {err.strerror}", _REMOVE) from err
    except (FileNotFoundError, NotADirectoryError) as err:
        raise DataUnreadable(folder, f"{place} is a link to nothing", _REMOVE) from err
    except OSError as err:
        raise DataUnreadable(folder, f"{place} is a link that leads nowhere ({err.strerror})", _REMOVE) from err
    if not any(Path(target).is_relative_to(part) for part in inside):
        raise DataUnreadable(folder, f"{place} is a link to a file outside of the folder ({target})", _REMOVE)
    return place


def _readable_name(folder: Path, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as err:
        raise DataUnreadable(folder, f"a name in it is not UTF-8: {os.fsencode(name)!r}", "Rename it.") from err
    return name
