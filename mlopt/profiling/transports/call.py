"""Run a program of this machine and come back, whatever it does: past its time or its output limit it is killed."""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

_GRACE_S = 1.0          # of silence after the program ended while its child or ssh's master still has the pipe
_LOOK_AGAIN_S = 0.1
MOST_OUTPUT = 16 << 20  # bytes; a command that prints more is not one of ours


@dataclass(frozen=True, kw_only=True)
class Called:
    """How a program of this machine ended; `status` is negative for a signal, as in `subprocess`."""

    status: int
    out: bytes
    err: bytes
    timed_out: bool = False
    flooded: bool = False               # it printed more than the limit


def call(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    most_output: int = MOST_OUTPUT,
    env: Mapping[str, str] | None = None,
) -> Called:
    """Both outputs of `argv`, read until it ends, `timeout_s` is over or it floods us; it never outlives the call.

    A grandchild that keeps the pipes open (a server that the program started) is not waited for.
    """
    process = subprocess.Popen(
        list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True).start()
    until = time.monotonic() + timeout_s
    chunks: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    out, err = chunks.values()
    try:
        timed_out, flooded = _drain(process, chunks, until, most_output)
        if not timed_out and not flooded:
            try:
                process.wait(max(until - time.monotonic(), _GRACE_S))
            except subprocess.TimeoutExpired:
                timed_out = True
    finally:
        _end(process)
        process.stdout.close()
        process.stderr.close()
    return Called(
        status=process.returncode, out=b"".join(out), err=b"".join(err), timed_out=timed_out, flooded=flooded
    )


def _drain(
    process: subprocess.Popen[bytes], chunks: Mapping[int, list[bytes]], until: float, most_output: int
) -> tuple[bool, bool]:
    """Read into `chunks`; returns whether the time ran out and whether the output did."""
    quiet_since = float("inf")              # from when on the program had ended and nothing more came
    total = 0
    with selectors.DefaultSelector() as selector:
        for descriptor in chunks:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            now = time.monotonic()
            if now >= until:
                return True, False
            ended = process.poll() is not None      # asked before the reading: what it wrote before it ended is there
            ready = selector.select(min(until - now, _LOOK_AGAIN_S))
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fd)
                chunks[key.fd].append(chunk)
                total += len(chunk)
            if total > most_output:
                return False, True
            if ended:
                quiet_since = now if ready else min(quiet_since, now)
                if time.monotonic() > quiet_since + _GRACE_S:
                    return False, False
    return False, False


def _feed(pipe: IO[bytes], content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, OSError), pipe:   # the program ended first: its status tells
        pipe.write(content)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the program's own session, and collect it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
