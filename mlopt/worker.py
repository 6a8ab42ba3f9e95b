"""Work in processes of their own: each sees one framework, has a deadline, and may crash without harm to the caller.

The caller passes a function, or names one as text ("module:function") where its module is heavy; arguments and
results are plain values or dataclasses, sent as JSON; arrays go through files. A worker speaks on a pipe of its own,
so that whatever a library prints is kept apart, as its last words. It ends with its caller: its standard input closes
when the caller is gone, however it went.

Each worker has a folder of its own for all that it writes, gone when it ends. What it leaves is handed over (`result`):
the caller looks at it and puts it in its place, so that a worker needs no right to write there. See `mlopt.sandbox`.
"""

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from mlopt import code, disks, files, isolation, plain, plugins, sandbox, telemetry
from mlopt.errors import MloptError, WorkerCrashed, WorkerTimeout
from mlopt.run_folder import RunFolder
from mlopt.sandbox import Reach, variables

T = TypeVar("T")
OnEvent = Callable[[dict[str, Any]], None]
OnQuestion = Callable[[Any], Any]

DEADLINE_S = 3600.0       # an hour: far above any conversion seen, so that only a hang meets it
_LAST_WORDS = 4000        # characters of a crashed worker's output that are kept


@dataclass(frozen=True, kw_only=True)
class Job:
    """A function to run in a worker. `task` says in words what it is doing, for messages.

    `sees` names the frameworks that it may import, by their doors; others are hidden from it, all of them where it is
    empty. None hides nothing: for code of the user's alone, which imports what it likes.
    `leaves` are the folders that it may leave behind, see `result`; a name that ends in `*` stands for all that begin
    like it. `reach` is what the worker may reach beside its own folder; None for a user's code that needs all there is.
    """

    task: str
    function: Callable[..., object] | str        # "module:function" where the module is heavy
    arguments: Mapping[str, Any]
    sees: tuple[str, ...] | None = ()
    leaves: tuple[Path, ...] = ()
    reach: Reach | None = Reach()  # noqa: RUF009  # frozen: one for all
    user_modules: bool = False      # the user named a module to import: it may lie in the current folder
    deadline_s: float = DEADLINE_S


@dataclass(frozen=True, kw_only=True)
class Granting:
    """An answer to a worker's question, with the folders that it may leave behind from now on; exact names only."""

    answer: Any
    leaves: tuple[Path, ...]


class Cancelled(MloptError):
    """The crew was told to stop while this worker ran."""


class Crew:
    """The worker processes of one run. Leaving the block, for whatever reason, ends them all and deletes their folders.

    Workers write beneath `place`, which is best where they leave their results; without it, where temporary files go.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._folder = RunFolder(place or Path(tempfile.gettempdir()))
        self._living: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> "Crew":
        self._folder.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._folder.__exit__(kind, error, at)

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

        `on_event` gets what the function emits, `on_question` answers what it asks, with a `Granting` where the answer
        names what is to be left behind; both run in the calling thread.

        Raises the `MloptError` that the function raised, `WorkerCrashed`, `WorkerTimeout` or `Cancelled`.
        """
        started = time.monotonic()
        own = self._folder.new()
        reading, writing = os.pipe()
        with tempfile.TemporaryFile() as log, os.fdopen(reading, "rb", buffering=0) as events:
            process = self._start(job, own, writing, log)
            try:
                answer = _Conversation(job, own, process, on_event, on_question).listen(
                    events, until=started + job.deadline_s
                )
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
                shutil.rmtree(own, ignore_errors=True)
            if answer is None:
                if cancelled:
                    raise Cancelled(f"{job.task}: stopped")
                if time.monotonic() >= started + job.deadline_s:
                    raise WorkerTimeout(job.task, job.deadline_s)
                raise WorkerCrashed(
                    job.task, _how(process.returncode), _tail(log), killed=(process.returncode or 0) < 0
                )
        return _unpack(job, answer, returns)

    def _start(self, job: Job, own: Path, writing: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        request = {
            "task": job.task, "function": code.name_of(job.function), "arguments": plain.to_plain(job.arguments),
            "hides": sorted(_hidden(job)), "user_modules": job.user_modules, "own": str(own),
            "reach": plain.to_plain(job.reach) if sandbox.wanted(os.environ) else None,
            "path": [p for p in sys.path if p] + ([str(Path.cwd())] if job.user_modules else []),
            "plugins": [str(path) for path in plugins.sources().values()],
        }
        held = request["reach"] is not None and job.reach is not None and job.reach.network is sandbox.Network.NOTHING
        inherited = variables.kept(os.environ) if held and not job.user_modules else dict(os.environ)
        environment = inherited | dict(telemetry.OFF) | _wanted_by(job.sees, own) | {
            "PYTHONHASHSEED": "0",            # the same names in the same order in every process
            "OPENBLAS_NUM_THREADS": "1",      # workers share the cores: spinning threads made one 20 times slower
            "TMPDIR": str(own),
            "TOKENIZERS_PARALLELISM": "false",
        }
        with self._lock:
            if self._stopped:
                os.close(writing)
                raise Cancelled(f"{job.task}: stopped")
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "mlopt.worker_main", str(writing)],
                    stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[writing], env=environment,
                    start_new_session=True,   # Ctrl-C reaches the caller alone, which then ends us and our children
                )
            finally:
                os.close(writing)
            self._living.add(process)
        _tell(process, request)
        return process


def _wanted_by(sees: tuple[str, ...] | None, own: Path) -> dict[str, str]:
    """Variables that the frameworks of a worker are started with."""
    doors = [plugins.load_framework(name) for name in plugins.framework_names() if sees is None or name in sees]
    return {name: value.format(own=own) for door in doors for name, value in door.environment.items()}


def _hidden(job: Job) -> set[str]:
    """Top-level packages that the worker finds no more than if they were not installed."""
    if job.sees is None:
        return set()
    hidden = set() if job.user_modules else set(isolation.NEVER_NEEDED)     # a user's module may need what we do not
    frameworks = {"torch": isolation.TORCH, **plugins.framework_imports()}
    shown = {package for name in job.sees for package in frameworks.get(name, ())}    # two may share a package
    return (hidden | {package for imports in frameworks.values() for package in imports}) - shown


@dataclass(frozen=True)
class _Conversation:
    """The caller's side of one worker's messages."""

    job: Job
    own: Path
    process: "subprocess.Popen[bytes]"
    on_event: OnEvent | None
    on_question: OnQuestion | None

    def listen(self, events: IO[bytes], *, until: float) -> dict[str, Any] | None:
        """The worker's answer, or None when it ended or ran out of time without one."""
        pending, leaves = b"", self.job.leaves
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
                    if self.on_event is not None:
                        self.on_event(message["event"])
                elif "question" in message:
                    assert self.on_question is not None, f"nobody answers {message['question']!r}"
                    answer = self.on_question(message["question"])
                    if isinstance(answer, Granting):
                        leaves, answer = (*leaves, *answer.leaves), answer.answer
                    _tell(self.process, plain.to_plain(answer))
                elif "leaves" in message:
                    _tell(self.process, self._taken(message["leaves"], Path(message["as"]), leaves))
                else:
                    return message
        return None

    def _taken(self, name: str, path: Path, leaves: Sequence[Path]) -> dict[str, Any]:
        """Put what the worker made in its place, after a look at it; what the worker is told."""
        if name != Path(name).name or not any(_is_named(path, leaf) for leaf in leaves):
            raise WorkerCrashed(self.job.task, f"wanted to leave {path}, which is no result of it")
        taken = self.own.with_name(f"{self.own.name}.{name}")     # where the worker itself cannot reach it any more
        try:
            (self.own / name).rename(taken)
            odd = files.odd_entry(taken)
            if odd is not None:
                raise WorkerCrashed(
                    self.job.task, f"left {odd.relative_to(taken)}, which is neither a plain file nor a folder"
                )
            _put(taken, path)
        except OSError as err:
            return {"errno": err.errno, "path": str(err.filename2 or err.filename or path)}
        finally:
            shutil.rmtree(taken, ignore_errors=True)
        return {}


def _is_named(path: Path, leaf: Path) -> bool:
    if not leaf.name.endswith("*"):
        return path == leaf
    return path.parent == leaf.parent and path.name.startswith(leaf.name[:-1])


def _put(folder: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        files.put(folder, path)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        with files.new_folder(path) as copy:             # the worker's folder lies on another disk
            for place in sorted(folder.rglob("*")):
                target = copy / place.relative_to(folder)
                if place.is_dir():
                    target.mkdir()
                else:
                    shutil.copyfile(place, target)


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
        package = str(error["class"]).partition(":")[0].partition(".")[0]
        if package != "mlopt" and package not in plugins.sources():
            raise WorkerCrashed(job.task, f"answered with {error['class']}, which is no error of mlopt's")
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
    ask: Callable[[object], Any]
    leave: Callable[[Path, Path], None]     # a complete folder in the worker's own, and where it belongs
    own: Path


_line: Line | None = None


def emit(**fields: Any) -> None:
    """Tell the caller something while working: progress, or a result that is ready early. Outside a worker: nothing."""
    if _line is not None:
        _line.emit(fields)


def ask(question: object) -> Any:
    """Wait for the caller's answer, as plain values. Only in a worker."""
    assert _line is not None, f"asked {question!r} outside a worker"
    return _line.ask(question)


@contextlib.contextmanager
def result(path: Path) -> Iterator[Path]:
    """A folder to fill that becomes `path` when the block succeeds, and vanishes when it does not.

    In a worker, its caller puts it there, if `path` is among what the job `leaves`; else this is `files.new_folder`.
    """
    if _line is None:
        with files.new_folder(path) as folder:
            yield folder
        return
    made = Path(tempfile.mkdtemp(dir=_line.own, prefix="result-"))
    try:
        yield made
        files.sync_folder(made)
        _line.leave(made, path)
    except OSError as err:
        disks.name_if_full(err, made)
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def connect(line: Line) -> None:
    """For the worker's own main: where `emit` and `ask` go."""
    global _line  # noqa: PLW0603  # one line a process, set once before any work
    _line = line
