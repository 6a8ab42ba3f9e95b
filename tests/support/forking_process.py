"""A process that has imported the runtimes, and forks a fresh one for each measurement: what takes a second takes none.

What a fork does is what the runner's own process does from its first line on; how it ended is told the same way.
"""

import importlib
import importlib.metadata
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_BYTES = 6 << 30        # of address space: a damaged file may ask for any number of bytes
MOST_SECONDS = 60.0
READY_SECONDS = 240.0       # what its imports take on a busy machine, and more
ALONE = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}       # a fork has one thread: so must its parent


class ForkingProcess:
    """Its forks run `measure_like_the_runner`."""

    def __enter__(self) -> "ForkingProcess":
        environment = os.environ | ALONE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         env=environment)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def run(self, command: Sequence[str], place: Path, *, deadline_s: float) -> tuple[int, str]:
        """In the place of `mlopt.profiling.targets.host._run`: the same result, without the start of an interpreter."""
        words = place / "words"
        request = {"arguments": list(command[-2:]), "words": str(words), "deadline_s": min(deadline_s, MOST_SECONDS)}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], READY_SECONDS + MOST_SECONDS)[0]:
            self._process.kill()
            raise TimeoutError("the process that forks does not answer")
        status = json.loads(self._process.stdout.readline())
        return status, words.read_text(errors="replace")


def measure_like_the_runner(arguments: list[str]) -> int:
    """The runner's main, hurried: a moment for operators, one process for memory, and code is not read in before it."""
    from mlopt.profiling.runner import __main__ as runner
    from mlopt.profiling.runner import footprint, measure

    measure._PROFILE_SECONDS = 0.01
    measure._MEMORY_PROCESSES = 1
    footprint._read_code_in = lambda: None
    return runner.main(arguments)


def serve() -> None:
    for module in ("numpy.random", "ai_edge_litert.interpreter", "onnxruntime", "mlopt.profiling.runner.measure"):
        importlib.import_module(module)
    importlib.metadata.version("ai_edge_litert")       # imports what reads it
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _in_the_fork(request)
        sys.stdout.write(f"{_ended(child, request['deadline_s'])}\n")
        sys.stdout.flush()


def _in_the_fork(request: dict[str, Any]) -> None:
    """Never returns."""
    status = 1
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        words = os.open(request["words"], os.O_WRONLY | os.O_CREAT)
        for descriptor in (1, 2):
            os.dup2(words, descriptor)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        status = measure_like_the_runner(request["arguments"])
    finally:
        sys.stderr.flush()
        os._exit(status)


def _ended(child: int, deadline_s: float) -> int:
    """The exit status as `subprocess` tells it; SIGALRM for a process that was stopped at its deadline."""
    until = time.monotonic() + deadline_s
    while (left := until - time.monotonic()) > 0:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        signal.sigtimedwait({signal.SIGCHLD}, left)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM


if __name__ == "__main__":
    serve()
