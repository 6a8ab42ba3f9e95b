"""A board for tests: a real sshd on loopback, as the current user, with keys and configuration of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOST = "board"          # the alias in `Board.config`


def missing() -> str:
    """Why no sshd can be started here, as a sentence; "" where one can."""
    absent = [name for name in ("ssh", "ssh-keygen", "sshd") if _found(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (apt-get install openssh-client openssh-server)"
    return ""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A running sshd. `config` goes to `ssh -F`, with `HOST` as the destination."""

    folder: Path
    config: Path
    port: int
    process: subprocess.Popen[bytes]

    def cut(self) -> int:
        """Kill every connection in the middle of what it does, as if the board lost power; how many there were."""
        connections = _children(self.process.pid)
        doomed = [*connections, *(below for pid in connections for below in _descendants(pid))]
        for pid in doomed:                      # the line first: what dies after it can tell nobody
            _kill(pid)
        return len(connections)

    def stop(self) -> None:
        """Switch it off: nobody listens on its port any more."""
        if self.process.poll() is None:
            self.cut()
            self.process.kill()
        self.process.wait()

    def forget_client_key(self) -> None:
        """Refuse the client from now on."""
        (self.folder / "authorized_keys").write_text("")

    def change_host_key(self) -> None:
        """Make the client know another host key than the board has."""
        _keygen(self.folder / "other_key")
        known = (self.folder / "other_key.pub").read_text().split()[:2]
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(known)}\n")

    def forget_host_key(self) -> None:
        """Make the client know no host key at all."""
        (self.folder / "known_hosts").write_text("")


@contextlib.contextmanager
def board(folder: Path, *, environment: dict[str, str] | None = None) -> Iterator[Board]:
    """Start sshd in `folder`; `environment` is what its sessions see on top. Ends with everything it started."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _keygen(folder / "host_key")
    _keygen(folder / "client_key")
    shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
    port = _free_port()
    _write_configurations(folder, port, environment or {})
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)     # where sshd, started by root, locks itself in
    sshd = _found("sshd")
    assert sshd is not None, missing()
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    running = Board(folder=folder, config=folder / "ssh_config", port=port, process=process)
    try:
        _wait_for(running)
        yield running
    finally:
        running.stop()


def _write_configurations(folder: Path, port: int, environment: dict[str, str]) -> None:
    settings = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host_key", "PidFile none", "StrictModes no",
        f"AuthorizedKeysFile {folder}/authorized_keys", "UsePAM no", "PasswordAuthentication no",
        "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password", "PrintMotd no", "MaxStartups 50",
    ]
    # a second-level bash under sshd does not read this user's start-up files, which may print, or take a second
    variables = {"SHLVL": "2", **environment}
    settings.append("SetEnv " + " ".join(f'"{key}={value}"' for key, value in variables.items()))
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")
    host_key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    (folder / "ssh_config").write_text(
        f"Host {HOST}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/client_key\n"
        f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {folder}/known_hosts\n"
        "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  UpdateHostKeys no\n"
    )


def _wait_for(running: Board) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and running.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", running.port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"sshd did not start: {(running.folder / 'sshd.log').read_text()}")


def _keygen(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True,
        stdin=subprocess.DEVNULL, timeout=30,
    )


def _found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in listed.read_text().split()] if listed.exists() else []


def _descendants(pid: int) -> list[int]:
    return [below for child in _children(pid) for below in (child, *_descendants(child))]


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
