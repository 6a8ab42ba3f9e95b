"""What a payload in a hostile file would try, as functions that workers run; each says whether it got through."""

import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from mlopt import worker

_ATTACH, _DETACH = 16, 17           # requests of ptrace


def write(path: Path) -> None:
    path.write_text("written by a payload")


def read(path: Path) -> str:
    return path.read_text()


def attempts(*, secret: Path, entry: Path, port: int, unix: str, abstract: str, victim: int) -> dict[str, str]:
    """By name, what each attempt ended in: "done", or the class of the error."""
    own = Path(tempfile.gettempdir())
    tries = {
        "overwrite": lambda: entry.write_text("x"),
        "append": lambda: entry.open("a").close(),
        "truncate by name": lambda: os.truncate(entry, 0),
        "truncate while opening": lambda: os.close(os.open(entry, os.O_RDONLY | os.O_TRUNC)),
        "new folder": (entry.parent / "new").mkdir,
        "new link": lambda: (entry.parent / "link").symlink_to("/etc/passwd"),
        "move away": lambda: entry.rename(own / "mine").rename(entry),
        "delete": entry.unlink,
        "move in": lambda: _made(own / "theirs").rename(entry.parent / "theirs"),
        "link a secret in": lambda: os.link(secret, own / "linked"),
        "read a secret": secret.read_text,
        "read a secret through a link": lambda: _link(own / "to-secret", secret).read_text(),
        "list its folder": lambda: list(secret.parent.iterdir()),
        "connect by TCP": lambda: socket.create_connection(("127.0.0.1", port)),
        "listen": lambda: socket.create_server(("127.0.0.1", 0)),
        "send by UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
        "look a name up": lambda: socket.getaddrinfo("localhost.invalid", 80),
        "connect to a file socket": lambda: socket.socket(socket.AF_UNIX).connect(unix),
        "connect to an abstract socket": lambda: socket.socket(socket.AF_UNIX).connect("\0" + abstract),
        "trace another process": lambda: _trace(victim),
        "write another's memory": lambda: Path(f"/proc/{victim}/mem").open("r+b").close(),
        "read another's environment": lambda: Path(f"/proc/{victim}/environ").read_bytes(),
        "end another process": lambda: os.kill(victim, signal.SIGTERM),      # last: the others need it alive
    }
    ended = {}
    for name, one in tries.items():
        try:
            one()
            ended[name] = "done"
        except OSError as err:
            ended[name] = type(err).__name__
    return ended


def share_a_lock() -> bool:
    with multiprocessing.Lock():
        return True


def by_a_child(path: Path) -> int:
    """The exit status of a shell that writes there."""
    return subprocess.run(["/bin/sh", "-c", f"echo x > {path}"], check=False, capture_output=True).returncode


def works_at_home() -> dict[str, bool]:
    """What an honest library does."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "a").mkdir()
        (place / "a" / "file").write_text("x")
        (place / "a" / "file").rename(place / "file")
        (place / "link").symlink_to("file")
        os.link(place / "file", place / "twin")
        here, there = socket.socketpair()
        here.sendall(b"x")
        said = there.recv(1) == b"x"
        Path("/dev/null").write_bytes(b"x")
        python = subprocess.run([sys.executable, "-c", "import numpy"], check=False, capture_output=True).returncode
        return {"files": (place / "link").read_text() == "x", "pair": said, "python": python == 0}


def leave(path: Path, text: str) -> None:
    with worker.result(path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "record").write_text(text)


def leave_as_told(other: Path, *, obey: bool) -> None:
    """What the caller names in its answer, or something else."""
    told = Path(worker.ask("where"))
    leave(told if obey else other, "made")


def leave_link(path: Path, target: Path) -> None:
    with worker.result(path) as folder:
        (folder / "record").symlink_to(target)


def leave_pipe(path: Path) -> None:
    with worker.result(path) as folder:
        os.mkfifo(folder / "record")


def leave_two(path: Path) -> str:
    """The second comes too late: the first stays."""
    leave(path, "first")
    leave(path, "second")
    return (path / "inner" / "record").read_text()


def fail_half_way(path: Path) -> None:
    with worker.result(path) as folder:
        (folder / "record").write_text("half")
        raise ZeroDivisionError


def own_folder() -> str:
    return tempfile.gettempdir()


def be_killed() -> None:
    Path(tempfile.gettempdir(), "half-done").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)


def _made(path: Path) -> Path:
    path.write_text("x")
    return path


def _link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def _trace(pid: int) -> None:
    """Attach and let go again, so that it goes on as if nothing had been."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(pid, 0)
    libc.ptrace(_DETACH, pid, None, None)
