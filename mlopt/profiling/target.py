"""Somewhere a file can be measured, and the four verbs that reach it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlopt.errors import MloptError
from mlopt.exits import Exit
from mlopt.profiling.contract import DeviceFacts, RunRequest, RunResult


class TargetLost(MloptError):
    """A device that was there and does not answer any more; nothing that it was measuring counts."""

    def __init__(self, target: str, found: str, remedy: str = "") -> None:
        self.target, self.found, self.remedy = target, found, remedy
        super().__init__(f"{target}: {found}." + (f" {remedy}" if remedy else ""))

    @property
    def exit(self) -> Exit:
        return Exit.LOST


class TargetUnusable(MloptError):
    """A target that cannot measure this at all: absent program, wrong format, no permission."""

    def __init__(self, target: str, found: str, remedy: str = "") -> None:
        self.target, self.found, self.remedy = target, found, remedy
        super().__init__(f"{target}: {found}." + (f" {remedy}" if remedy else ""))


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command that ran to its end on the device: the end marker was seen."""

    status: int
    out: str
    err: str


class Transport(Protocol):
    """The road to a device, over the real `ssh` or `adb` program. Raises `TargetLost` or `TargetUnusable`."""

    name: str                                           # as the user wrote it: "ssh:pi4", "adb:SERIAL", "host"

    def push(self, local: Path, remote: str) -> None: ...

    def pull(self, remote: str, local: Path) -> None: ...

    def run(self, command: Sequence[str], *, timeout_s: float) -> Ran:
        """Run and wait; what comes back without the end marker is `TargetLost`, whatever the exit status says."""
        ...

    def facts(self) -> DeviceFacts: ...


class Target(Protocol):
    """Where a request is measured: a transport, or this host, or an emulator."""

    name: str

    def facts(self) -> DeviceFacts: ...

    def measure(self, file: Path, request: RunRequest, beside: Path | None = None) -> RunResult:
        """One fresh process on the target, with both files in it where there is a second.

        `request.file` and `request.beside` are filled in by the target.
        """
        ...
