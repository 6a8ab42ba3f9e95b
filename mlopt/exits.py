"""What a command's end means, in one table: docs/reference/exit-codes.md and each command's help are made of it."""

from collections.abc import Mapping
from enum import IntEnum, unique


@unique
class Exit(IntEnum):
    DONE = 0
    LIMIT_BROKEN = 1
    BAD_INPUT = 2
    INCOMPLETE = 3      # part of what was asked for could not be made, proven or measured
    INCONCLUSIVE = 4
    BUG = 70            # EX_SOFTWARE of sysexits.h
    LOST = 75           # EX_TEMPFAIL: the same command may succeed
    INTERRUPTED = 130   # as a shell says it of SIGINT


_LOST = "a process or a device that did the work was lost: killed, out of memory, past its deadline, unplugged. " \
        "Nothing is wrong with the input as far as anyone can tell, and the same command may succeed"
_UNSAID = "standard output could not be written"
_ANY = {
    Exit.BUG: "a bug in mlopt itself, in its own process or in a worker",
    Exit.INTERRUPTED: "stopped by Ctrl-C, SIGTERM or SIGHUP",
}

# By command. A gate answers 3 where others answer 75: what it could not measure is part of its verdict.
MEANINGS: Mapping[str, Mapping[Exit, str]] = {
    "compress": {
        Exit.DONE: "each format has a recommended file",
        Exit.LIMIT_BROKEN: "a format has no file within --max-drop: the nearest is named, all files are written",
        Exit.BAD_INPUT: "the model, the data, the folder or the command line cannot be worked with, or a disk is full: "
                        "no result was written",
        Exit.INCOMPLETE: "a file that was asked for could not be made or proven, the others were written, or standard "
                         "output could not be written",
        Exit.LOST: _LOST, **_ANY,
    },
    "profile": {
        Exit.DONE: "measured",
        Exit.BAD_INPUT: "a file, the target or the command line cannot be worked with, or a disk is full",
        Exit.INCOMPLETE: _UNSAID,
        Exit.LOST: _LOST, **_ANY,
    },
    "gate check": {
        Exit.DONE: "within budget",
        Exit.LIMIT_BROKEN: "a limit is broken, or a file is not what its name says",
        Exit.BAD_INPUT: "the budget, the baseline, the report or the command line cannot be worked with, nothing "
                        "matched, or a disk is full",
        Exit.INCOMPLETE: "something could not be measured: a lost device, a process that was killed, a format that "
                         "nobody reads here",
        Exit.INCONCLUSIVE: 'a latency could not be decided, and the policy is "fail"',
        **_ANY,
    },
    "gate calibrate": {
        Exit.DONE: "all tolerances of the budget stand",
        Exit.LIMIT_BROKEN: "a tolerance is too small for this machine",
        Exit.BAD_INPUT: "the budget or the command line cannot be worked with, or a disk is full",
        Exit.INCOMPLETE: "something could not be measured",
        **_ANY,
    },
    "gate update": {
        Exit.DONE: "written",
        Exit.BAD_INPUT: "the budget, the report or the command line cannot be worked with, or a disk is full",
        Exit.INCOMPLETE: "something could not be measured, the rest was written",
        **_ANY,
    },
    "recipes": {
        Exit.DONE: "shown",
        Exit.BAD_INPUT: "no recipe or step has that name, or the recipe makes no sense",
        Exit.INCOMPLETE: _UNSAID,
        **_ANY,
    },
    "doctor": {
        Exit.DONE: "shown",
        Exit.BAD_INPUT: "the command line cannot be worked with",
        Exit.INCOMPLETE: _UNSAID,
        **_ANY,
    },
}


def in_help(command: str) -> str:
    """The codes of a command in one sentence, for the end of its help; what every command shares is left out.

    >>> in_help("doctor")
    'Exit codes: 0 shown; 2 the command line cannot be worked with; 3 standard output could not be written.'
    """
    own = (f"{code.value} {meaning.partition('. ')[0]}" for code, meaning in sorted(MEANINGS[command].items())
           if code not in _ANY)
    return f"Exit codes: {'; '.join(own)}."
