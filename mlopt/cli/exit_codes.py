"""What went wrong in a command: one sentence for the user, and an exit code of `mlopt.exits` for a program."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlopt.exits import Exit

if TYPE_CHECKING:
    from mlopt.errors import WorkerCrashed
    from mlopt.report import Report

BUG_REPORT = "This is a bug in mlopt. Set MLOPT_TRACEBACK=1 to see where, and report it with the command."


def of_report(report: "Report") -> Exit:
    from mlopt.report import Severity

    if any(f.severity is Severity.FAILURE for f in report.findings):
        return Exit.INCOMPLETE
    formats = {c.format for c in report.candidates}
    return Exit.DONE if formats == {c.format for c in report.candidates if c.recommended} else Exit.LIMIT_BROKEN


def explained(command: Callable[[], object]) -> int:
    """Run `command`; one sentence on standard error for what went wrong, and the exit code."""
    from mlopt.errors import MloptError, WorkerCrashed

    try:
        command()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):      # Typer has caught it, and would exit with 1
            return _reader_left()
        if leaving.code == Exit.INTERRUPTED:      # Typer has caught the KeyboardInterrupt
            _say(_stopped(leaving))
        return leaving.code if isinstance(leaving.code, int) else Exit.BAD_INPUT if leaving.code else Exit.DONE
    except WorkerCrashed as err:
        _say_of_crash(err)
        return err.exit
    except MloptError as err:
        _say(str(err))
        return err.exit
    except BrokenPipeError:
        return _reader_left()
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO) or _traceback_wanted():
            return _bug(err)
        return _unwritten(err)
    except Exception as err:   # noqa: BLE001  # the last door before a user's terminal
        return _bug(err)
    return Exit.DONE


def _stopped(leaving: SystemExit) -> str:
    """What a command said when it was stopped; without that, what holds for those that resume."""
    cause = leaving.__context__.__cause__ if leaving.__context__ else None
    said = str(cause) if isinstance(cause, KeyboardInterrupt) else ""
    return said or "stopped. Finished parts are kept: the same command goes on from there."


def _say_of_crash(err: "WorkerCrashed") -> None:
    _say(str(err) if _traceback_wanted() else str(err).partition("\n")[0])
    if err.last_words and not _traceback_wanted():
        _say("Set MLOPT_TRACEBACK=1 to see the worker's last words.")
    if err.exit is Exit.BUG:
        _say(BUG_REPORT)


def _unwritten(err: OSError) -> int:
    """A disk that is full is a place that cannot be worked with; where none is, it was the standard output."""
    from mlopt import cache, disks

    places = (*cache.places(), disks.Place(what="files", folder=Path.cwd(), elsewhere="work in another folder"))
    if err.filename or (err.errno != errno.EIO and disks.full(places)):
        _say(str(disks.out_of_room(err, places)))
        return Exit.BAD_INPUT
    _say(f"standard output could not be written: {err.strerror}. What was made is in the result's folder.")
    return Exit.INCOMPLETE


def _bug(err: Exception) -> int:
    if _traceback_wanted():
        raise err
    _say(f"{type(err).__name__}: {err}")
    _say(BUG_REPORT)
    return Exit.BUG


def _reader_left() -> int:
    """Whoever read our output has what it wanted, e.g. `| head`; nothing more is written to it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return Exit.DONE


def _traceback_wanted() -> bool:
    return os.environ.get("MLOPT_TRACEBACK", "") not in ("", "0")


def _say(sentence: str) -> None:
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print("[bold red]mlopt:[/] ", end="")
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(sentence)
