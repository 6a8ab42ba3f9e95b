"""Progress on standard error: live lines on a terminal, one plain line a step elsewhere."""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Live
from rich.text import Text

from mlopt.words import clean

if TYPE_CHECKING:
    from mlopt.pipeline.progress import Progress
    from mlopt.profiling.session import Step


class Reporter:
    """Show the parts of a run as they go; safe to call from several threads."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._said: dict[str, str] = {}
        self._tasks: dict[str, TaskID] = {}
        self._live = Live(
            SpinnerColumn(finished_text="[green]✓[/]"), TextColumn("{task.fields[part]:<8}"),
            BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        )

    def __enter__(self) -> "Reporter":
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, progress: "Progress") -> None:
        with self._lock:
            if self.console.is_terminal and not progress.stays:
                self._show_live(progress)
            elif self._said.get(progress.part) != progress.doing:
                self._said[progress.part] = progress.doing
                self.console.print(
                    f"{time.monotonic() - self._started:6.1f} s  {progress.part}: {_words(progress)}", markup=False,
                    soft_wrap=True,
                )

    def _show_live(self, progress: "Progress") -> None:
        total = progress.total or None
        if progress.part not in self._tasks:
            self._tasks[progress.part] = self._live.add_task(progress.doing, total=total, part=progress.part)
        task = self._tasks[progress.part]
        words = _words(progress)
        if progress.finished:
            self._live.update(task, description=words, total=1, completed=1)
        else:
            self._live.update(task, description=words, total=total, completed=progress.done)


def _words(progress: "Progress") -> str:
    return f"{progress.doing}, {progress.detail}" if progress.detail else progress.doing


class Steps:
    """Show which process of a profile runs: one live line on a terminal, one plain line a process elsewhere."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._started = time.monotonic()
        self._live = Live(
            SpinnerColumn(), TextColumn("{task.fields[which]}"), BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False), TimeElapsedColumn(), _Left(),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Steps":
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, step: "Step") -> None:
        doing = f"{clean(step.file)}: {step.doing} on {step.on}"
        if not self.console.is_terminal:
            passed = time.monotonic() - self._started
            self.console.print(f"{passed:6.1f} s  {step.number} of {step.total}: {doing}", markup=False, soft_wrap=True)
        else:
            about: dict[str, Any] = {
                "description": doing, "completed": step.number - 1, "which": f"{step.number} of {step.total}",
                "so_far_s": time.monotonic() - self._started,
            }
            if self._task is None:
                self._task = self._live.add_task(total=step.total, **about)
            else:
                self._live.update(self._task, **about)


class _Left(ProgressColumn):
    """About how long it will still take, if the other processes take as long as the finished ones did on average."""

    def render(self, task: Task) -> Text:
        if not task.completed or not task.total or task.elapsed is None:
            return Text("")
        expected = task.fields["so_far_s"] / task.completed * task.total
        return Text(f"about {max(expected - task.elapsed, 0):.0f} s left", style="progress.remaining")
