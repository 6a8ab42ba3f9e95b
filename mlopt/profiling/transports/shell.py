"""What every transport does the same way once it can hand a line to a shell on the device."""

import hashlib
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from mlopt import disks, files
from mlopt.disks import Place
from mlopt.profiling.target import Ran, TargetLost, TargetUnusable
from mlopt.profiling.transports.call import MOST_OUTPUT, Called
from mlopt.profiling.transports.marker import Marker, Seen, lost_in, quoted, tail

_LEAST_BYTES_PER_S = 50_000      # a link slower than this is taken for dead; Bluetooth tethering does better
_STOP_S = 10.0                   # for killing on the device what ran out of time

Diagnosis = Callable[[Called], Exception]
Shell = Callable[[str, float], Called]     # shell text and seconds -> how the road's own program ended


def transfer_s(size: int) -> float:
    """Seconds after which moving `size` bytes has failed."""
    return 30.0 + size / _LEAST_BYTES_PER_S


def run_marked(
    name: str, command: Sequence[str], *, timeout_s: float, shell: Shell, diagnose: Diagnosis, here: bool = False
) -> Ran:
    """Run `command` through `shell` and insist on its end mark; `diagnose` explains one that never began."""
    seen, called = finished(name, quoted(command), timeout_s=timeout_s, shell=shell, diagnose=diagnose, here=here)
    assert seen.status is not None
    return Ran(status=seen.status, out=seen.out.decode("utf-8", "replace"),
               err=(called.err + seen.after).decode("utf-8", "replace"))


def finished(
    name: str, script: str, *, timeout_s: float, shell: Shell, diagnose: Diagnosis, here: bool = False
) -> tuple[Seen, Called]:
    """Run shell text to its end mark, or raise; what ran out of time is killed on the device too.

    `here` says that the road's own program is the command itself, which `call` has killed already.
    """
    marker = Marker()
    called = shell(marker.wrap(script), timeout_s)
    seen = marker.read(called.out)
    if seen.status is not None:                  # it ended, whatever became of the connection afterwards
        return seen, called
    if called.timed_out or called.flooded:
        if not here and seen.pid is not None and seen.pid > 1:
            shell(f"kill -9 -{seen.pid}; kill -9 {seen.pid}", _STOP_S)    # no `--`: dash does not know it
        if called.flooded:
            raise TargetUnusable(name, f"`{script[:120]}` printed more than {MOST_OUTPUT >> 20} MB",
                                 "Results travel as files; make the runner print less")
        if seen.pid is None:
            raise TargetLost(name, f"no answer within {timeout_s:g} s", "Check that the device is on and connected")
        last = tail(seen.out)
        raise TargetLost(name, f"`{script[:120]}` had not ended after {timeout_s:g} s and was stopped"
                               + (f"; its last words: {last}" if last else ""),
                         "Give it more time, or make the measurement shorter")
    if seen.pid is None:
        raise diagnose(called)
    raise lost_in(name, script, seen.out, called.err)


def digest_script(remote: str) -> str:
    """Shell text that prints the SHA-256 of a remote file, or its size where the device has no sha256sum."""
    path = shlex.quote(remote)
    return f"sha256sum < {path} 2>/dev/null || wc -c < {path}"


def check_digest(name: str, remote: str, printed: str, content: bytes) -> None:
    """Compare what `digest_script` printed with `content`; a difference is a lost transfer."""
    words = printed.split()
    if not words or words[0] not in (hashlib.sha256(content).hexdigest(), str(len(content))):
        raise TargetLost(name, f"{remote} did not arrive whole ({len(content)} bytes here, "
                               f"{' '.join(words) or 'nothing'} there)", "Run again; if it persists, check the link")


def refused(name: str, action: str, remote: str, words: str) -> TargetUnusable:
    """The error of a file that the device would not take or give."""
    lower = words.lower()
    remedy = ""
    if "no space left" in lower or "quota" in lower:
        remedy = "Free some space there, or name another folder"
    elif "permission denied" in lower or "read-only" in lower:
        remedy = "Name a folder that this user may write to"
    return TargetUnusable(name, f"cannot {action} {remote}: {words or 'it gave no reason'}", remedy)


def keep(local: Path, content: bytes) -> None:
    """Write what was pulled, whole or not at all."""
    try:
        files.write_atomically(local, content)
    except OSError as err:
        fetched = Place(what="what was fetched", folder=local.parent, elsewhere="name another file")
        raise disks.out_of_room(err, [fetched]) from err
