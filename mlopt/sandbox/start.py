"""Start another program inside: `main` is told on the command line what it may reach, then becomes that program."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mlopt import plain, sandbox


def command(reach: sandbox.Reach, own: Path, program: Sequence[str]) -> list[str]:
    """The command line that starts `program` with nothing but `reach` and its own folder; Python finds us as we are."""
    start = f"import sys; sys.path[:] = {[p for p in sys.path if p]!r}; from mlopt.sandbox.start import main; main()"
    return [sys.executable, "-c", start, json.dumps(plain.to_plain(reach)), str(own), *program]


def main() -> None:
    reach, own, *program = sys.argv[1:]
    sandbox.enter(plain.from_plain(json.loads(reach), sandbox.Reach), Path(own), sys.path)
    os.execvp(program[0], program)
