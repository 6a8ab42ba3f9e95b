"""Whether anybody opened a file: asked of the kernel, so that native libraries and child processes are seen too."""

import ctypes
import os
from pathlib import Path
from types import TracebackType

_OPENED, _NONBLOCKING = 0x20, 0o4000


class Watch:
    """`with Watch(file) as watch: ...; assert not watch.opened()`. Linux only."""

    def __init__(self, *files: Path) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._library.inotify_init1(_NONBLOCKING)
        for file in files:
            if self._library.inotify_add_watch(self._descriptor, os.fsencode(file), _OPENED) < 0:
                raise OSError(ctypes.get_errno(), f"cannot watch {file}")

    def opened(self) -> bool:
        """Since the last question."""
        try:
            return bool(os.read(self._descriptor, 4096))
        except BlockingIOError:
            return False

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)
