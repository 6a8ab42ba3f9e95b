"""The machine that mlopt runs on: a fresh process for every measurement, started from the same zip as on a board."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlopt import extras, plain, run_folder, sandbox
from mlopt.errors import ModelUnreadable
from mlopt.profiling.contract import DeviceFacts, RunRequest, RunResult
from mlopt.profiling.formats import measurable
from mlopt.profiling.runner import device
from mlopt.profiling.target import TargetLost
from mlopt.profiling.targets.bundle import measured, read_result, runner_command, write_request, write_runner
from mlopt.sandbox import start

_START_SECONDS = 240.0      # import, load and profile, before and beside the timed runs, on a busy machine


class HostTarget:
    """The machine that mlopt runs on."""

    name = "host"

    def __init__(self, *, start_seconds: float = _START_SECONDS) -> None:
        """`start_seconds` is allowed for everything beside the timed runs."""
        self._start_seconds = start_seconds

    def facts(self) -> DeviceFacts:
        return plain.from_plain(device.facts(), DeviceFacts)

    def measure(self, file: Path, request: RunRequest, beside: Path | None = None) -> RunResult:
        """One fresh process. A model that kills or hangs it is `TargetLost`, with the runtime's last words."""
        for each in filter(None, (file, beside)):
            if not each.exists():
                raise ModelUnreadable(each, "there is no such file")
        if request.format in measurable():         # the runner refuses other formats itself
            extras.require_reader(request.format, f"measuring {file.name}")
        request = replace(request, file=str(file.resolve()), beside=str(beside.resolve()) if beside else "",
                          nonce=request.nonce or secrets.token_hex(8))
        with run_folder.temporary() as place:
            asked, answer = place / "request.json", place / "result.json"
            write_request(asked, request)
            runner = write_runner(place / "runner.zip")
            command = runner_command(sys.executable, str(runner), str(asked), str(answer))
            if sandbox.wanted(os.environ):
                command = start.command(_reach(request), place, command)
            status, words = _run(command, place, deadline_s=self._start_seconds + 4 * request.most_seconds)
            if status != 0:
                raise TargetLost(f"{self.name}, measuring {measured(file, beside)}",
                                 f"the process {_how(status)}{_last(words)}")
            return read_result(answer, request, self.name)


def _reach(request: RunRequest) -> sandbox.Reach:
    """The files that are measured, and /proc: memory's high-water mark is reset there.

    Root could change the whole system there, so that root's measurements are kept from reading and the network alone.
    """
    reads = tuple(Path(file) for file in (request.file, request.beside) if file)
    return sandbox.Reach(reads=reads, writes=(Path("/proc"),) if os.getuid() != 0 else None)


def _run(command: Sequence[str], place: Path, *, deadline_s: float) -> tuple[int, str]:
    """(exit status, what it wrote on standard error); past the deadline its whole process group is ended."""
    with (place / "words").open("w+b") as words:
        process = subprocess.Popen(
            command, cwd=place, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=_environment(place),
            start_new_session=True,
        )
        try:
            status = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            status = -signal.SIGALRM
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        words.seek(0)
        return status, words.read().decode(errors="replace")


def _environment(place: Path) -> dict[str, str]:
    """Ours, without what would change how Python or a runtime behaves from one caller to the next.

    Temporary files go to `place`, so that a process that is killed leaves none behind.
    """
    left_out = ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_",
                "OMP_NUM_THREADS", "LD_PRELOAD")
    return {key: value for key, value in os.environ.items() if key not in left_out} | {"TMPDIR": str(place)}


def _how(status: int) -> str:
    if status == -signal.SIGALRM:
        return "was stopped after its deadline"
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with status {status}"


def _last(words: str) -> str:
    lines = [line for line in words.strip().splitlines() if not line.startswith("INFO:")]
    return f"; its last words: {lines[-1].strip()}" if lines else ""
