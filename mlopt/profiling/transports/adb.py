"""An Android device, over the real `adb` and its server; the server is never killed, others may be using it."""

import re
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from mlopt import run_folder
from mlopt.errors import MloptError
from mlopt.profiling.contract import DeviceFacts
from mlopt.profiling.target import Ran, TargetLost, TargetUnusable
from mlopt.profiling.transports import android, facts, shell
from mlopt.profiling.transports.call import Called, call
from mlopt.profiling.transports.marker import checked_path, tail

_SHORT_S = 15.0


class AdbTransport:
    """`serial` is what `adb devices` shows, or `host:port`, to which adb is told to connect.

    `server` names another adb server than the usual one, as `tcp:localhost:PORT`. `connect_timeout_s` is how long a
    device may take to come up.
    """

    def __init__(self, serial: str, *, server: str = "", connect_timeout_s: float = 10.0) -> None:
        if not re.fullmatch(r"[A-Za-z0-9\[][\w.:\[\]%+-]*", serial):
            raise ValueError(f"an adb serial is what `adb devices` shows, or host:port; got {serial!r}")
        if server and not re.fullmatch(r"tcp:(?:[\w.-]+:)?\d+|localfilesystem:/[^\x00-\x1f]+", server):
            raise ValueError(f"an adb server is tcp:localhost:PORT; got {server!r}")
        self.name = f"adb:{serial}"
        self.serial = serial
        self._server = ("-L", server) if server else ()
        self._connect_timeout_s = connect_timeout_s
        self._met = False
        self._answered = False

    def push(self, local: Path, remote: str) -> None:
        """Send `local` to the absolute path `remote`, and compare what arrived by its SHA-256."""
        checked_path(remote)
        content = local.read_bytes()
        self._meet()
        called = self._adb("push", str(local.absolute()), remote, timeout_s=shell.transfer_s(len(content)))
        self._check_transfer(called, "write", remote)
        ran = self.run(["sh", "-c", shell.digest_script(remote)], timeout_s=shell.transfer_s(len(content)))
        shell.check_digest(self.name, remote, ran.out, content)

    def pull(self, remote: str, local: Path) -> None:
        """Fetch `remote` into `local`, whole or not at all."""
        path = checked_path(remote)
        sized = self.run(["sh", "-c", f"wc -c < {shlex.quote(path)}"], timeout_s=_SHORT_S)
        if sized.status != 0 or not sized.out.strip().isdigit():
            raise shell.refused(self.name, "read", remote, tail((sized.err + sized.out).encode()))
        with run_folder.temporary() as folder:
            came = folder / "pulled"
            called = self._adb("pull", path, str(came), timeout_s=shell.transfer_s(int(sized.out)))
            self._check_transfer(called, "read", remote)
            content = came.read_bytes() if came.is_file() else b""
        if len(content) != int(sized.out):
            raise TargetLost(self.name, f"{remote} has {int(sized.out)} bytes, of which {len(content)} arrived",
                             "Run again; if it persists, something else writes to that file")
        shell.keep(local, content)

    def run(self, command: Sequence[str], *, timeout_s: float) -> Ran:
        """Run and wait; what comes back without the end mark is `TargetLost`, whatever adb's exit status says."""
        return shell.run_marked(self.name, command, timeout_s=timeout_s, shell=self._shell, diagnose=self._diagnose)

    def facts(self) -> DeviceFacts:
        """The device as it names itself: `getprop`, `/proc`, `/sys` and the thermal service."""
        parts = self._sections(f"{android.SCRIPT}\n{facts.SCRIPT}")
        return android.android_facts(parts)

    def thermal(self) -> android.Thermal:
        """What the thermal service says now."""
        return android.parse_thermal(self._sections(android.SCRIPT).get("thermal", ""))

    def pss_bytes(self, process: str) -> int:
        """Proportional set size of a running app or process id by `dumpsys meminfo`; -1 where it tells none."""
        return android.parse_pss(self.run(["dumpsys", "meminfo", process], timeout_s=30.0).out)

    def _sections(self, script: str) -> dict[str, str]:
        seen, _ = shell.finished(self.name, script, timeout_s=30.0, shell=self._shell, diagnose=self._diagnose)
        return facts.sections(seen.out.decode("utf-8", "replace"))

    def _shell(self, script: str, timeout_s: float) -> Called:
        self._meet()
        called = self._adb("shell", "-n", script, timeout_s=timeout_s)
        self._answered = self._answered or b"@@mlopt-begin:" in called.out
        return called

    def _adb(self, *words: str, timeout_s: float) -> Called:
        return call([_program(self.name), *self._server, "-s", self.serial, *words], timeout_s=timeout_s)

    def _meet(self) -> None:
        """Once: start adb's server if there is none, connect to a host:port, and wait until the device is up."""
        if self._met:
            return
        started = call([_program(self.name), *self._server, "start-server"], timeout_s=_SHORT_S)
        if started.status != 0 or started.timed_out:
            raise TargetUnusable(self.name, f"adb's server does not start: {tail(started.err) or 'it gave no reason'}",
                                 "Run `adb start-server` by hand")
        until = time.monotonic() + (0.0 if self._answered else self._connect_timeout_s)      # a lost one is not awaited
        state = self._state()
        if not state and ":" in self.serial:
            call([_program(self.name), *self._server, "connect", self.serial], timeout_s=self._connect_timeout_s)
            state = self._state()
        while state in ("offline", "connecting", "authorizing") and time.monotonic() < until:
            time.sleep(0.2)
            state = self._state()
        if state not in ("device", "recovery", "sideload"):
            raise self._unusable(state, b"")
        self._met = True

    def _state(self) -> str:
        """The state in the list of devices; "" when it is not listed."""
        called = call([_program(self.name), *self._server, "devices"], timeout_s=_SHORT_S)
        if called.status != 0 or called.timed_out:
            raise TargetUnusable(self.name, f"adb's server does not answer: {tail(called.err) or 'in silence'}",
                                 "Run `adb devices` by hand")
        for line in called.out.decode("utf-8", "replace").splitlines()[1:]:
            serial, _, state = line.partition("\t")
            if serial == self.serial:
                return state.strip()
        return ""

    def _diagnose(self, called: Called) -> MloptError:
        return self._unusable(self._state(), called.err or called.out)

    def _unusable(self, state: str, said: bytes) -> MloptError:
        """Why the device takes no command, by its state, with what to do."""
        found, remedy = _STATES.get(state.split(maxsplit=1)[0] if state else "", (
            f"adb gave up: {tail(said) or 'without a word'}", f"Try `adb -s {self.serial} shell true`"))
        if self._answered:
            self._met = False                       # it may come back: look again next time
            return TargetLost(self.name, f"it answered before, but now: {found}", remedy)
        return TargetUnusable(self.name, found, remedy)

    def _check_transfer(self, called: Called, action: str, remote: str) -> None:
        if called.timed_out:
            raise TargetLost(self.name, f"{remote} was still on its way after its time", "Check the link")
        if called.status == 0:
            return
        if self._state() != "device":
            raise self._diagnose(called)
        said = (called.err + called.out).decode("utf-8", "replace")
        errors = re.findall(r"^adb: error: (?:.*?: remote )?(.*)$", said, re.MULTILINE)
        raise shell.refused(self.name, action, remote, errors[0] if errors else tail(said.encode()))


# the states of `adb devices`: what each means, and what helps
_STATES = {
    "": ("adb does not list it", "Plug it in, switch USB debugging on in its developer options, and compare with "
         "`adb devices`"),
    "unauthorized": ("it has not authorised this computer",
                     "Unlock it and confirm the question about USB debugging, then run again"),
    "authorizing": ("it has not authorised this computer yet",
                    "Unlock it and confirm the question about USB debugging, then run again"),
    "offline": ("adb lists it as offline", "Unplug it and plug it in again, or restart it"),
    "connecting": ("it does not finish connecting", "Check the address and that it is awake"),
    "bootloader": ("it is in its bootloader", "Start Android on it"),
    "no": ("this user may not open its USB device (no permissions)",
           "Install the udev rules: apt-get install android-sdk-platform-tools-common"),
}


def _program(name: str) -> str:
    found = shutil.which("adb")
    if found is None:
        raise TargetUnusable(name, "adb is not installed here", "Install it: apt-get install adb")
    return found
