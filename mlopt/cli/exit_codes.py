"""What a command's end means, in one table.

0    everything asked for was made, and each format has a recommended file
1    a format has no file within the limit; the nearest is named
2    the model, the data, the folder or the command line cannot be worked with; nothing was written
3    a file that was asked for could not be made or proven; the others were
70   a bug in mlopt itself
130  stopped by Ctrl-C
"""

import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlopt.report import Report

BUG_REPORT = "This is a bug in mlopt. Set MLOPT_TRACEBACK=1 to see where, and report it with the command."


class Exit(IntEnum):
    DONE = 0
    NOTHING_MEETS_LIMIT = 1
    BAD_INPUT = 2
    INCOMPLETE = 3
    BUG = 70            # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130


def of_report(report: "Report") -> Exit:
    from mlopt.report import Severity

    if any(f.severity is Severity.FAILURE for f in report.findings):
        return Exit.INCOMPLETE
    formats = {c.format for c in report.candidates}
    return Exit.DONE if formats == {c.format for c in report.candidates if c.recommended} else Exit.NOTHING_MEETS_LIMIT


def explained(command: Callable[[], Any]) -> int:
    """Run `command`; one sentence on standard error for what went wrong, and the exit code."""
    from mlopt.errors import MloptError, WorkerCrashed

    try:
        command()
    except SystemExit as leaving:
        if leaving.code == Exit.INTERRUPTED:      # Typer has caught the KeyboardInterrupt
            _say("stopped. Finished parts are kept: the same command goes on from there.")
        return leaving.code if isinstance(leaving.code, int) else Exit.BAD_INPUT if leaving.code else Exit.DONE
    except WorkerCrashed as err:
        _say(str(err) if _traceback_wanted() else str(err).partition("\n")[0])
        if err.last_words and not _traceback_wanted():
            _say("Set MLOPT_TRACEBACK=1 to see the worker's last words.")
        return Exit.BAD_INPUT
    except MloptError as err:
        _say(str(err))
        return Exit.BAD_INPUT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())   # the reader left, e.g. `| head`
        return Exit.DONE
    except Exception as err:   # the last door before a user's terminal
        if _traceback_wanted():
            raise
        _say(f"{type(err).__name__}: {err}")
        _say(BUG_REPORT)
        return Exit.BUG
    return Exit.DONE


def _traceback_wanted() -> bool:
    return os.environ.get("MLOPT_TRACEBACK", "") not in ("", "0")


def _say(sentence: str) -> None:
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print("[bold red]mlopt:[/] ", end="")
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(sentence)
