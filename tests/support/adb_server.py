"""An adb server of a test's own: another port, another home folder, gone afterwards. Nobody else's is touched."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


def missing() -> str:
    """Why there is no adb here, as a sentence; "" where there is one."""
    return "" if shutil.which("adb") else "not installed: adb (apt-get install adb)"


@contextlib.contextmanager
def adb_server(folder: Path) -> Iterator[str]:
    """Run `adb` as a server in the foreground; yields its address for `-L`."""
    program = shutil.which("adb")
    assert program is not None, missing()
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp:localhost:{port}"
    environment = {**os.environ, "HOME": str(folder), "ANDROID_USER_HOME": str(folder), "TMPDIR": str(folder),
                   "ADB_MDNS": "0", "ADB_LOCAL_TRANSPORT_MAX_PORT": "5554"}     # looks for no emulators
    with (folder / "adb-server.log").open("wb") as log:
        process = subprocess.Popen([program, "-L", address, "nodaemon", "server"], env=environment,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + 15
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"adb's server did not start: {(folder / 'adb-server.log').read_text()[-500:]}")
