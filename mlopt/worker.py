"""Work in processes of their own: each sees one framework, has a deadline, and may crash without harm to the caller.

The caller names a function as text ("module:function"); arguments and results are plain values or dataclasses, sent
as JSON; arrays go through files. A worker speaks on a pipe of its own, so that whatever a library prints is kept
apart, as its last words. It ends with its caller: its standard input closes when the caller is gone, however it went.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from mlopt import plain
from mlopt.errors import MloptError, WorkerCrashed, WorkerTimeout

T = TypeVar("T")
OnEvent = Callable[[dict[str, Any]], None]
OnQuestion = Callable[[str], Any]

DEADLINE_S = 3600.0       # an hour: far above any conversion seen, so that only a hang meets it
_LAST_WORDS = 4000        # characters of a crashed worker's output that are kept


class Sees(StrEnum):
    """The one training framework that a worker may import; everything else of that size is hidden from it."""

    NOTHING = "nothing"
    TENSORFLOW = "tensorflow"
    TORCH = "torch"
    EVERYTHING = "everything"       # for code of the user's alone, which imports what it likes


@dataclass(frozen=True, kw_only=True)
class Job:
    """A function to run in a worker. `task` says in words what it is doing, for messages."""

    task: str
    function: str
    arguments: Mapping[str, Any]
    sees: Sees = Sees.NOTHING
    private_network: bool = False   # with loopback alone, where the system allows it: see `private_network`
    user_modules: bool = False      # the user named a module to import: it may lie in the current folder
    deadline_s: float = DEADLINE_S


class Cancelled(MloptError):
    """The crew was told to stop while this worker ran."""


class Crew:
    """The worker processes of one run. Leaving the block, for whatever reason, ends them all."""

    def __init__(self) -> None:
        self._living: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill every worker, with whatever it started itself; those waiting for them get `Cancelled`."""
        with self._lock:
            self._stopped = True
            for process in self._living:
                _kill(process)

    def run(
        self, job: Job, returns: type[T], on_event: OnEvent | None = None, on_question: OnQuestion | None = None
    ) -> T:
        """Run `job` in a fresh process and give back what it returned; may be called from several threads.

        `on_event` gets what the function emits, `on_question` answers what it asks; both run in the calling thread.

        Raises the `MloptError` that the function raised, `WorkerCrashed`, `WorkerTimeout` or `Cancelled`.
        """
        started = time.monotonic()
        reading, writing = os.pipe()
        with tempfile.TemporaryFile() as log, os.fdopen(reading, "rb", buffering=0) as events:
            process = self._start(job, writing, log)
            try:
                answer = _listen(process, events, started + job.deadline_s, on_event, on_question)
                if answer is not None:
                    _await_exit(process)
            finally:
                _kill(process)
                process.wait()
                with self._lock:
                    self._living.discard(process)
                    cancelled = self._stopped
                with contextlib.suppress(BrokenPipeError):
                    assert process.stdin is not None
                    process.stdin.close()
            if answer is None:
                if cancelled:
                    raise Cancelled(f"{job.task}: stopped")
                if time.monotonic() >= started + job.deadline_s:
                    raise WorkerTimeout(job.task, job.deadline_s)
                raise WorkerCrashed(
                    job.task, _how(process.returncode), _tail(log), killed=(process.returncode or 0) < 0
                )
        return _unpack(job, answer, returns)

    def _start(self, job: Job, writing: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        request = {
            "function": job.function, "arguments": plain.to_plain(job.arguments), "sees": job.sees,
            "user_modules": job.user_modules,
            "path": [p for p in sys.path if p] + ([str(Path.cwd())] if job.user_modules else []),
        }
        environment = os.environ | {
            "PYTHONHASHSEED": "0",            # the same names in the same order in every process
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OPENBLAS_NUM_THREADS": "1",      # workers share the cores: spinning threads made one 20 times slower
            "KERAS_BACKEND": "tensorflow",
            "TOKENIZERS_PARALLELISM": "false",
        }
        with self._lock:
            if self._stopped:
                os.close(writing)
                raise Cancelled(f"{job.task}: stopped")
            try:
                command = [sys.executable, "-P", "-m", "mlopt.worker_main", str(writing)]
                if job.private_network:
                    command = [sys.executable, "-P", "-m", "mlopt.private_network", *command]
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[writing], env=environment,
                    start_new_session=True,   # Ctrl-C reaches the caller alone, which then ends us and our children
                )
            finally:
                os.close(writing)
            self._living.add(process)
        _tell(process, request)
        return process


def _listen(
    process: "subprocess.Popen[bytes]",
    events: IO[bytes],
    until: float,
    on_event: OnEvent | None,
    on_question: OnQuestion | None,
) -> dict[str, Any] | None:
    """The worker's answer, or None when it ended or ran out of time without one."""
    pending = b""
    while (left := until - time.monotonic()) > 0:
        if not select.select([events], [], [], min(left, 1.0))[0]:
            continue
        chunk = events.read(1 << 16)
        if not chunk:
            return None
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "event" in message:
                if on_event is not None:
                    on_event(message["event"])
            elif "question" in message:
                assert on_question is not None, f"nobody answers {message['question']!r}"
                _tell(process, plain.to_plain(on_question(message["question"])))
            else:
                return message
    return None


def _tell(process: "subprocess.Popen[bytes]", message: Any) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):       # a worker that has died is told by its exit status
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()


def _await_exit(process: "subprocess.Popen[bytes]") -> None:
    """After its answer a worker leaves by itself; one that hangs in a library's clean-up is not waited for."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)


def _unpack(job: Job, answer: dict[str, Any], returns: type[T]) -> T:
    if "error" in answer:
        error = answer["error"]
        if error["class"] is None:
            raise WorkerCrashed(job.task, error["message"], error["traceback"][-_LAST_WORDS:],
                                killed=error.get("killed", False))
        raise plain.error_class(error["class"]).restored(error["message"], error["facts"])
    return plain.from_plain(answer["result"], returns)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _how(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        name = signal.Signals(-returncode).name
        cause = "; the system was probably out of memory" if -returncode == signal.SIGKILL else ""
        return f"was ended by {name}{cause}"
    return f"ended with exit status {returncode} and no answer"


def _tail(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _LAST_WORDS))
    return log.read().decode(errors="replace").strip()


@dataclass(frozen=True)
class Line:
    """A worker's line to its caller."""

    emit: Callable[[dict[str, Any]], None]
    ask: Callable[[str], Any]


_line: Line | None = None


def emit(**fields: Any) -> None:
    """Tell the caller something while working: progress, or a result that is ready early. Outside a worker: nothing."""
    if _line is not None:
        _line.emit(fields)


def ask(question: str) -> Any:
    """Wait for the caller's answer, as plain values. Only in a worker."""
    assert _line is not None, f"asked {question!r} outside a worker"
    return _line.ask(question)


def connect(line: Line) -> None:
    """For the worker's own main: where `emit` and `ask` go."""
    global _line  # noqa: PLW0603  # one line a process, set once before any work
    _line = line
