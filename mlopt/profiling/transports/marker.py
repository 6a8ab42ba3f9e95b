"""The marks around a remote command, by which a command that ended is told from a line that went dead.

Exit statuses do not tell them apart: adb 29 returns 0 when the device dies in the middle of a command, and before
Android 7 always. So the device's own shell prints a mark before and one after, with a random number that no command
can know beforehand, and the second carries the status:

    @@mlopt-begin:PID:NONCE@@
    (what the command printed)
    @@mlopt-end:STATUS:NONCE@@
"""

import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlopt.profiling.target import TargetLost

_TAIL = 400      # characters of an output that an error quotes


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What of one marked command came back. `pid` is the device's shell; None where that mark is missing."""

    out: bytes
    status: int | None
    pid: int | None
    after: bytes = b""      # printed behind the end by what the command left running


@dataclass(frozen=True, kw_only=True)
class Marker:
    """The marks of one command."""

    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    def wrap(self, script: str) -> str:
        """Shell text that runs `script` between the marks, in a shell of its own so that `exit` ends only that.

        >>> Marker(nonce="1f").wrap("true")
        "printf '@@mlopt-begin:%s:1f@@\\\\n' $$; ( true ); printf '\\\\n@@mlopt-end:%s:1f@@\\\\n' $?"
        """
        return (f"printf '@@mlopt-begin:%s:{self.nonce}@@\\n' $$; ( {script} ); "
                f"printf '\\n@@mlopt-end:%s:{self.nonce}@@\\n' $?")

    def read(self, raw: bytes) -> Seen:
        r"""What lies between the marks. A terminal's line ends (Android before 7) become plain ones.

        >>> seen = Marker(nonce="1f").read(b"motd\n@@mlopt-begin:12:1f@@\nhello\n@@mlopt-end:7:1f@@\n")
        >>> seen.out, seen.status, seen.pid
        (b'hello', 7, 12)
        """
        nonce = self.nonce.encode()
        begin = re.search(rb"@@mlopt-begin:(\d+):" + nonce + rb"@@\r?\n", raw)
        if begin is None:
            return Seen(out=b"", status=None, pid=None)
        body = raw[begin.end():]
        if begin.group().endswith(b"\r\n"):
            body = body.replace(b"\r\n", b"\n")
        ends = list(re.finditer(rb"\n@@mlopt-end:(\d+):" + nonce + rb"@@\n", body))
        if not ends:
            return Seen(out=body, status=None, pid=int(begin[1]))
        end = ends[-1]
        return Seen(out=body[:end.start()], status=int(end[1]), pid=int(begin[1]), after=body[end.end():])


def quoted(command: Sequence[str]) -> str:
    """The words as one line for the device's shell; a first word with `=` would be an assignment there."""
    if not command or "=" in command[0] or any("\0" in word for word in command):
        raise ValueError(f"a command is a program and its words, without NUL; got {list(command)!r}")
    return shlex.join(command)


def lost_in(name: str, script: str, partial: bytes, err: bytes, remedy: str = "") -> TargetLost:
    """The error of a command whose end was not seen, with the last of what came."""
    shown = script if len(script) <= 120 else script[:117] + "..."
    last = tail(err) or tail(partial)
    found = f"the connection ended in the middle of `{shown}`" + (f"; its last words: {last}" if last else "")
    return TargetLost(name, found, remedy or "Nothing of it counts. Check the device's power and cable, then run again")


def tail(text: bytes) -> str:
    """The end of an output as one line for an error."""
    return " / ".join(line.strip() for line in text.decode("utf-8", "replace")[-_TAIL:].splitlines() if line.strip())


def checked_path(remote: str) -> str:
    """`remote` itself where it is an absolute path without surprises, else `ValueError`.

    Spaces and quotes are fine, as every path is quoted once. Control characters, `..` and a leading `-` are not.
    """
    if not re.fullmatch(r"/[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f/]", remote) or len(remote.encode()) > 1000:
        raise ValueError(f"a path on a device is absolute, of printable characters, and no folder; got {remote!r}")
    if ".." in remote.split("/"):
        raise ValueError(f"a path on a device has no `..` in it; got {remote!r}")
    return remote
