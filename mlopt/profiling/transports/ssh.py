"""A Linux board, over the real `ssh`: its configuration, agent, jump hosts and keys work as on the command line.

Files go through `cat` inside the same marked commands, not through `scp`: a board with dropbear has no SFTP server, a
full disk speaks in plain words, and one mechanism has one set of failures.
"""

import contextlib
import re
import shlex
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

from mlopt.errors import MloptError
from mlopt.profiling.contract import DeviceFacts
from mlopt.profiling.target import Ran, TargetLost, TargetUnusable
from mlopt.profiling.transports import facts, shell
from mlopt.profiling.transports.call import Called, call
from mlopt.profiling.transports.marker import Seen, checked_path, tail
from mlopt.run_folder import RunFolder

_CONNECT_S = 10
_SETTINGS = (
    "BatchMode=yes",                    # never ask: a prompt would hang
    f"ConnectTimeout={_CONNECT_S}",
    "ServerAliveInterval=5", "ServerAliveCountMax=3",       # a dead line is noticed after 15 s
    "ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no",
    "RemoteCommand=none", "RequestTTY=no", "LogLevel=ERROR",
)
_LONGEST_SOCKET = 80                    # ssh appends 17 characters while it binds; Unix sockets end at 104 to 108
_MOST_PULLED = 128 << 20                # results are a few MB
_PULL_S = shell.transfer_s(_MOST_PULLED // 8)


class SshTransport:
    """`destination` is what one would write after `ssh`: an alias, `host`, `user@host` or `user@host:port`.

    One connection is opened and shared by all commands; `close` ends it, and so does the end of the program. An
    ssh configuration of one's own is named with `config`.
    """

    def __init__(self, destination: str, *, config: Path | None = None, connect_timeout_s: float = 20.0) -> None:
        matched = re.fullmatch(
            r"((?:[A-Za-z0-9_][\w.+-]*@)?(?:[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.%\w]+\]))(?::(\d{1,5}))?", destination
        )
        if matched is None:
            raise ValueError(f"an ssh destination is an alias, host, user@host or user@host:port; got {destination!r}")
        self.name = f"ssh:{destination}"
        self.destination = destination
        self._host = matched[1].replace("[", "").replace("]", "")
        self._port = ("-p", matched[2]) if matched[2] else ()
        self._config = ("-F", str(config)) if config is not None else ()
        self._connect_timeout_s = connect_timeout_s
        self._answered = False
        self._folder: Path | None = None        # of the shared connection's socket

    def push(self, local: Path, remote: str) -> None:
        """Write `local` to the absolute path `remote`, and compare what arrived by its SHA-256."""
        path = shlex.quote(checked_path(remote))
        content = local.read_bytes()
        script = f"cat > {path} && {{ {shell.digest_script(remote)}; }}"
        seen, called = self._finished(script, shell.transfer_s(len(content)), stdin=content)
        if seen.status != 0:
            raise shell.refused(self.name, "write", remote, tail(called.err))
        shell.check_digest(self.name, remote, seen.out.decode("utf-8", "replace"), content)

    def pull(self, remote: str, local: Path) -> None:
        """Read `remote` into `local`, whole or not at all."""
        path = shlex.quote(checked_path(remote))
        seen, called = self._finished(f"wc -c < {path} && cat < {path}", _PULL_S, most_output=_MOST_PULLED)
        if seen.status != 0:
            raise shell.refused(self.name, "read", remote, tail(called.err))
        size, _, content = seen.out.partition(b"\n")
        if not size.strip().isdigit() or len(content) != int(size):
            raise TargetLost(self.name, f"{remote} has {size[:20].decode(errors='replace').strip()} bytes, of which "
                             f"{len(content)} arrived", "Run again; if it persists, something else writes to that file")
        shell.keep(local, content)

    def run(self, command: Sequence[str], *, timeout_s: float) -> Ran:
        """Run and wait; what comes back without the end mark is `TargetLost`, whatever ssh's exit status says."""
        return shell.run_marked(self.name, command, timeout_s=timeout_s, shell=self._shell, diagnose=self._diagnose)

    def facts(self) -> DeviceFacts:
        """The board as it names itself: `/proc`, `/sys` and the device tree."""
        seen, _ = self._finished(facts.SCRIPT, 30.0)
        return facts.linux_facts(facts.sections(seen.out.decode("utf-8", "replace")))

    def close(self) -> None:
        """End the shared connection; the next command opens another."""
        if self._folder is not None:
            self._ending()
            self._folder = None

    def __enter__(self) -> "SshTransport":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finished(
        self, script: str, timeout_s: float, *, stdin: bytes = b"", most_output: int = shell.MOST_OUTPUT
    ) -> tuple[Seen, Called]:
        def through(text: str, seconds: float) -> Called:
            return self._shell(text, seconds, stdin=stdin, most_output=most_output)

        return shell.finished(self.name, script, timeout_s=timeout_s, shell=through, diagnose=self._diagnose)

    def _shell(
        self, script: str, timeout_s: float, *, stdin: bytes = b"", most_output: int = shell.MOST_OUTPUT
    ) -> Called:
        self._share()
        # the login shell may be fish or csh: it only starts sh, which reads the script
        argv = [*self._ssh(), "--", self._host, shlex.join(["sh", "-c", script])]
        called = call(argv, timeout_s=timeout_s, stdin=stdin, most_output=most_output)
        self._answered = self._answered or b"@@mlopt-begin:" in called.out
        return called

    def _ssh(self, *, master: str = "no") -> list[str]:
        socket = f"{self._folder}/c" if len(str(self._folder)) <= _LONGEST_SOCKET else "none"
        sharing = (f"ControlPath={socket}", f"ControlMaster={master}")
        settings = [word for setting in (*_SETTINGS, *sharing) for word in ("-o", setting)]
        return [_program(self.name), *self._config, *settings, *self._port]

    def _share(self) -> None:
        """Open the connection that the commands share; a board that allows no sharing gets one each."""
        if self._folder is not None:
            return
        _program(self.name)
        run = RunFolder(Path(tempfile.gettempdir()))
        kept = contextlib.ExitStack()
        self._folder = folder = kept.enter_context(run).path
        leave = [*self._ssh(), "-O", "exit", "--", self._host]
        self._ending = weakref.finalize(self, _end_sharing, leave, folder, kept)
        if len(str(folder)) > _LONGEST_SOCKET:
            return
        opening = [*self._ssh(master="yes"), "-o", "ControlPersist=60", "-N", "-f", "--", self._host]
        called = call(opening, timeout_s=self._connect_timeout_s)
        if called.status != 0 or called.timed_out:
            self.close()
            raise self._diagnose(called)

    def _diagnose(self, called: Called) -> MloptError:
        """Why ssh reached no shell, in words that say what to do."""
        said = called.err.decode("utf-8", "replace")
        by_hand = shlex.join(["ssh", *self._config, *self._port, self._host])
        for pattern, found, remedy in _FAILURES:
            if matched := re.search(pattern, said, re.IGNORECASE):
                return self._gone(found.format(matched[0].strip()), remedy.format(by_hand=by_hand))
        if called.timed_out:
            return self._gone(f"no answer within {self._connect_timeout_s:g} s",
                              "Check that it is switched on and in this network")
        words = tail(called.err) or tail(called.out) or f"status {called.status}, without a word"
        return self._gone(f"ssh gave up: {words}", f"Try `{by_hand} true`")

    def _gone(self, found: str, remedy: str) -> MloptError:
        if self._answered:
            self.close()
            return TargetLost(self.name, f"it answered before, but now: {found}", remedy)
        return TargetUnusable(self.name, found, remedy)


# what OpenSSH says (its ssh, sshconnect and readconf sources), what that means, and what helps
_FAILURES = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is not the one this machine knows",
     "If the board was set up anew, remove the old key with `ssh-keygen -R HOST`, then log in once with `{by_hand}`"),
    (r"Host key verification failed|No \S+ host key is known", "its host key is not known to this machine",
     "Log in once by hand with `{by_hand}` and confirm the key"),
    (r"Permission denied.*", "it refused this user's keys ({0})",
     "Install a key with `ssh-copy-id`, or load it into the agent; passwords are never asked for. Check with "
     "`{by_hand}`"),
    (r"Too many authentication failures", "it refused this user's keys",
     "Name the right key with IdentityFile and IdentitiesOnly in the ssh configuration"),
    (r"Could not resolve hostname.*", "its name is not known ({0})",
     "Check the spelling, or add it to ~/.ssh/config or /etc/hosts"),
    (r"No route to host|Network is unreachable|Connection refused|Connection timed out|Operation timed out",
     "it cannot be reached: {0}", "Check that it is switched on, in this network, and that its sshd runs"),
    (r"Bad (?:configuration option|owner or permissions).*|Can't open user config file.*",
     "the ssh configuration is wrong: {0}", "Correct it, then run again"),
)


def _end_sharing(leave: list[str], folder: Path, kept: contextlib.ExitStack) -> None:
    with kept:
        if (folder / "c").exists():
            call(leave, timeout_s=5.0)


def _program(name: str) -> str:
    found = shutil.which("ssh")
    if found is None:
        raise TargetUnusable(name, "ssh is not installed here", "Install it: apt-get install openssh-client")
    return found
