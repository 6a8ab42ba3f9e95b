"""What a worker that opens somebody else's file may still reach: its own folder, what it must read, and no network.

The kernel holds it to that, so that a file which gets past our checks can do little: Landlock for files, a seccomp
filter for sockets, a network of its own where neither the filter nor Landlock is there. Each is used where the system
has it; `held` says which hold. See docs/decisions/0006-sandbox.md.
"""

import enum
import errno
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlopt import private_network
from mlopt.errors import MloptError
from mlopt.sandbox import landlock, places, privileges, seccomp

# What only these can mean where an error names no path.
_WITHOUT_A_PATH = {errno.EPERM: "the network", errno.EACCES: "locks that processes share, in /dev/shm"}
SWITCH = "MLOPT_SANDBOX"            # 0 turns all of it off


class Network(enum.StrEnum):
    """How far a worker reaches."""

    NOTHING = "nothing"
    LOOPBACK = "loopback"           # its own, where the system has private networks: see `private_network`
    EVERYTHING = "everything"


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What one worker may reach, beside its own folder."""

    reads: tuple[Path, ...] | None = ()     # files and folders, beside Python and its packages; None: all there is
    writes: tuple[Path, ...] | None = ()    # folders, which can be read too; None: all there is
    network: Network = Network.NOTHING


@dataclass(frozen=True, kw_only=True)
class Held:
    """What this system's kernel holds a worker to; "" where nothing does."""

    network: str = ""
    writing: str = ""
    reading: str = ""


@dataclass(frozen=True, kw_only=True)
class _Granted:
    """The places of a reach; None for all there is. What may be written may be read."""

    writes: tuple[Path, ...] | None
    reads: tuple[Path, ...] | None
    devices: tuple[Path, ...]


class SandboxBroken(MloptError):
    """The protections could not be tried at all."""


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the user left the protections on."""
    return environment.get(SWITCH, "") != "0"


def tried() -> Held:
    """What a process that tries is held to on this system. Raises `SandboxBroken` where it cannot be started."""
    with tempfile.TemporaryDirectory(prefix="mlopt-") as own:
        process = subprocess.run(
            [sys.executable, "-P", "-m", "mlopt.sandbox", own], capture_output=True, text=True, check=False
        )
    if process.returncode != 0:
        raise SandboxBroken(process.stderr.strip().rpartition("\n")[2])
    return Held(**json.loads(process.stdout))


def enter(reach: Reach, own: Path, path: Sequence[str]) -> Held:
    """Hold this process, which must have one thread, and all that it starts, to `reach`, from now on.

    `own` is its own folder, `path` lists the folders that modules are imported from.
    """
    network = _left(reach.network)                  # before files: a network of one's own is asked for in /proc
    granted = _granted(reach, own, path)
    writes, reads = granted.writes, granted.reads
    kept = landlock.restrict(
        writes=writes, reads=reads, devices=granted.devices, network=reach.network is not Network.NOTHING
    )
    version = landlock.version()
    if reach.network is Network.NOTHING and not network and kept and version >= landlock.TCP_SINCE:
        network = "Landlock: no TCP; UDP and look-ups of names stay"
    if kept or reach.network is Network.NOTHING:
        privileges.no_new_privileges()
        privileges.drop_capabilities()
    files = f"Landlock, interface {version}" if kept else ""
    if kept and version < landlock.TRUNCATES_SINCE:
        files += ", which lets files be cut short"
    return Held(
        network=network, writing=files if writes is not None else "", reading=files if reads is not None else ""
    )


def _granted(reach: Reach, own: Path, path: Iterable[str]) -> _Granted:
    reads = None if reach.reads is None else (
        own, *places.needed(path), *itertools.chain.from_iterable(map(places.resolved, reach.reads))
    )
    return _Granted(
        writes=None if reach.writes is None else (own, *reach.writes), reads=reads,
        devices=tuple(places.devices(shared=reach.network is not Network.NOTHING)),
    )


def _left(network: Network) -> str:
    """Leave the network as far as is asked for; how, or "" where that is not possible."""
    if network is Network.NOTHING and seccomp.refuse_sockets():
        return "seccomp: no sockets at all"
    return "a private network" if network is not Network.EVERYTHING and private_network.enter() else ""


def refusal(error: BaseException, reach: Reach, own: Path, path: Sequence[str]) -> str:
    """What the kernel kept this process from, in words, where that is behind `error`; "" where it is not.

    The others are what `enter` was given.
    """
    granted = _granted(reach, own, path)
    for cause in _behind(error):
        if isinstance(cause, socket.gaierror) and reach.network is not Network.EVERYTHING:
            return "the network"
        if not isinstance(cause, OSError) or cause.errno not in (errno.EACCES, errno.EPERM, errno.EXDEV):
            continue
        if not isinstance(cause.filename, str | bytes):
            if cause.errno in _WITHOUT_A_PATH and reach.network is Network.NOTHING:
                return _WITHOUT_A_PATH[cause.errno]
            continue
        asked = Path(os.fsdecode(cause.filename)).absolute()     # a link is named as it was asked for
        if _kept_by_us(asked, granted):
            return str(asked)
    return ""


def _kept_by_us(asked: Path, granted: _Granted) -> bool:
    """Whether the file system's own rules allow this user what was not granted: `access` does not ask Landlock."""
    place = asked if os.path.exists(asked) else asked.parent          # noqa: PTH110  # `Path.exists` may be refused
    return (_outside(asked, granted.reads, granted) and os.access(asked, os.R_OK)) or (
        _outside(asked, granted.writes, granted) and os.access(place, os.W_OK)
    )


def _outside(asked: Path, allowed: Iterable[Path] | None, granted: _Granted) -> bool:
    if allowed is None:
        return False
    real = Path(os.path.realpath(asked))
    everywhere = (*allowed, *granted.devices, *(granted.writes or ()))
    return not any(real.is_relative_to(os.path.realpath(place)) for place in everywhere)


def _behind(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
