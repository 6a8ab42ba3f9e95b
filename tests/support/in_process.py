"""`mlopt` without processes: the command runs here, and so does what it would give to workers.

For tests of what is said and of what is left in a folder. Whatever a process is for (that one framework is seen, that
nothing else can be reached, that a crash is survived) is not there.
"""

import contextlib
import io
import json
import os
import resource
import subprocess
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from mlopt import code, plain, worker, worker_main
from mlopt.cli import app
from mlopt.cli.exit_codes import explained
from mlopt.errors import MloptError

T = TypeVar("T")


def mlopt(*arguments: object, cache_folder: Path) -> subprocess.CompletedProcess[str]:
    """What `mlopt ARGUMENTS` prints and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    words = [str(argument) for argument in arguments]
    variables = {"MLOPT_CACHE": str(cache_folder), "COLUMNS": "120"}
    with (
        mock.patch.dict(os.environ, variables), workers_in_this_process(),
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
    ):
        exit_code = explained(lambda: app(words))
    return subprocess.CompletedProcess(words, int(exit_code), out.getvalue(), err.getvalue())


@contextlib.contextmanager
def workers_in_this_process() -> Iterator[None]:
    """Jobs run in the thread that asks for them; what they return, raise and emit goes through JSON as ever."""
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with (
        mock.patch.object(worker, "_line", _LineOfThisThread()), mock.patch.object(worker.Crew, "run", _run),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")         # a worker's go to its log
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, limits)        # two threads may have restored it in any order


class _LineOfThisThread(threading.local):
    """A `worker.Line` a thread."""

    line: worker.Line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.line, name)


def _run(
    crew: worker.Crew, job: worker.Job, returns: type[T], on_event: worker.OnEvent | None = None,
    on_question: worker.OnQuestion | None = None,
) -> T:
    """In the place of `Crew.run`. A job of a crew that was stopped ends as soon as it emits something."""
    own = crew._folder.new()
    leaves = job.leaves

    def emit(fields: dict[str, Any]) -> None:
        if crew._stopped:
            raise worker.Cancelled(f"{job.task}: stopped")
        if on_event is not None:
            on_event(_sent(fields))

    def ask(question: str) -> Any:
        nonlocal leaves
        assert on_question is not None, f"nobody answers {question!r}"
        answer = on_question(question)
        if isinstance(answer, worker.Granting):
            leaves, answer = (*leaves, *answer.leaves), answer.answer
        return _sent(answer)

    def leave(made: Path, path: Path) -> None:
        assert worker._Conversation(job, own, None, None, None)._taken(made.name, path, leaves) == {}

    worker._line.line = worker.Line(emit=emit, ask=ask, leave=leave, own=own)
    try:
        answer = {"result": worker_main._call(code.name_of(job.function), _sent(job.arguments))}
    except worker.Cancelled:
        raise
    except MloptError as err:
        answer = {"error": worker_main._told(err)}
    except Exception as err:    # noqa: BLE001  # as in a worker
        answer = {"error": worker_main._unexpected(err)}
    return worker._unpack(job, _sent(answer), returns)


def _sent(value: Any) -> Any:
    return json.loads(json.dumps(plain.to_plain(value)))
