"""Run something in a forked child: its memory, its crash and its threads stay there."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

_Value = TypeVar("_Value")         # the oldest Python of a board has no type parameters
_MOST_SECONDS = 180


def in_child(what: str, work: Callable[[], _Value]) -> tuple[_Value | None, str]:
    """(what `work` returned, "") or (None, why not). Call it before this process has threads.

    The value must survive JSON.
    """
    if not hasattr(os, "fork"):
        return None, f"{what}: this system cannot fork a process for it"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(writing, work)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None, f"{what}: the process that did it ended by {_name(os.WTERMSIG(status))}"
    if not text:
        return None, f"{what}: the process that did it ended with status {os.WEXITSTATUS(status)} and said nothing"
    answer = json.loads(text)
    return answer.get("value"), (f"{what}: {answer['error']}" if "error" in answer else "")


def _answer(pipe: int, work: Callable[[], object]) -> None:
    """In the child; never returns."""
    try:
        signal.alarm(_MOST_SECONDS)
        try:
            answer = {"value": work()}
        except Exception as err:  # noqa: BLE001  the parent reports it
            answer = {"error": f"{type(err).__name__}: {err}"}
        with os.fdopen(pipe, "wb") as out:
            out.write(json.dumps(answer).encode())
        sys.stderr.flush()
    finally:
        os._exit(0)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
