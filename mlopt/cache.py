"""Finished stages, kept by the content that they were made from, so that no work is done twice.

An entry is a folder named by a digest of everything that its content depends on: the inputs' own digests, the
settings, and the code. It appears by one rename when it is complete, so a kill at any moment loses no finished stage.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from mlopt import code as stage_code
from mlopt import disks, files, plain
from mlopt.errors import OutputUnwritable

T = TypeVar("T")

LARGEST_BYTES = 10 * 1024**3    # 10 GiB: some hundred runs of mobile models; the least recently used go first
_UNTOUCHABLE_S = 24 * 3600      # another run may be using what was used within a day
_OURS = re.compile(r"(?P<half_made>\.)?[a-z]+-[0-9a-f]{40}(?(half_made)\..+)")     # nothing else is ever deleted


class Cache:
    """Entries under one folder: `MLOPT_CACHE`, or the user's cache folder. Safe for several runs at once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            files.check_writable(self.root)
            stage_code.remember_in(self.root)
        except (OSError, OutputUnwritable) as err:
            found = err.found if isinstance(err, OutputUnwritable) else os.strerror(err.errno or 0)
            raise OutputUnwritable(
                self.root, found, "It holds finished stages; name another folder in MLOPT_CACHE."
            ) from err

    def entry(self, stage: str, *, code: str, **depends_on: object) -> Path:
        """Where the result of `stage` with these inputs belongs; it is there exactly when it is finished.

        `code` is the digest of what makes it: see `mlopt.code`.
        """
        return entry_in(self.root, stage, code=code, **depends_on)

    def touch(self, path: Path) -> None:
        """Say that what lies there is in use: the least recently used goes first. Only what is ours is touched."""
        if path.parent == self.root:
            _touch(path)

    def trim(self, largest_bytes: int = LARGEST_BYTES) -> None:
        """Delete the least recently used entries above the limit, and what killed runs left half-made."""
        with contextlib.suppress(FileNotFoundError):     # another run deletes or finishes an entry: it trims too
            self._trim(largest_bytes)

    def _trim(self, largest_bytes: int) -> None:
        now = time.time()
        ours = [p for p in self.root.iterdir() if _OURS.fullmatch(p.name)]
        used = {p: p.stat().st_mtime for p in ours}
        old = {p for p in ours if now - used[p] > _UNTOUCHABLE_S}
        for left_over in [p for p in old if p.name.startswith(".")]:
            shutil.rmtree(left_over, ignore_errors=True)
        entries = {p: files.size(p) for p in ours if not p.name.startswith(".")}
        excess = sum(entries.values()) - largest_bytes
        for path in sorted(old & entries.keys(), key=lambda p: used[p]):
            if excess <= 0:
                return
            excess -= entries[path]
            shutil.rmtree(path, ignore_errors=True)


def entry_in(root: Path, stage: str, *, code: str, **depends_on: object) -> Path:
    """As `Cache.entry`, for workers, which may not write into the cache."""
    text = json.dumps(plain.to_plain(depends_on), sort_keys=True)
    key = hashlib.sha256(f"{stage}\0{text}\0{code}".encode()).hexdigest()
    path = root / f"{stage}-{key[:40]}"
    _touch(path)
    return path


def _touch(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)


def default_root() -> Path:
    """`MLOPT_CACHE`, or the user's cache folder as the system has it: on Linux in XDG_CACHE_HOME, or ~/.cache."""
    named = os.environ.get("MLOPT_CACHE")
    if named:
        return Path(named).expanduser().resolve()
    return platformdirs.user_cache_path("mlopt", appauthor=False)


def places() -> tuple[disks.Place, ...]:
    """What every run writes to beside its result: its disks may be different ones."""
    return (
        disks.Place(what="finished stages", folder=default_root(), elsewhere="name another folder in MLOPT_CACHE"),
        disks.Place(what="temporary files", folder=Path(tempfile.gettempdir()),
                    elsewhere="name another folder in TMPDIR"),
    )


def write_record(path: Path, value: Any) -> None:
    path.write_text(json.dumps(plain.to_plain(value), indent=1))


def read_record(path: Path, kind: type[T]) -> T:
    return plain.from_plain(json.loads(path.read_text()), kind)

