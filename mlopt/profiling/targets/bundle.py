"""The Python runner as one zip file, and its answer read back. The same zip runs on this host and on a board."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from mlopt import plain
from mlopt.documents import content
from mlopt.profiling.contract import LARGEST_RESULT, SCHEMA, RunRequest, RunResult, result_of
from mlopt.profiling.target import TargetLost

_RUNNER = Path(__file__).parent.parent / "runner"
_START = "import sys\n\nfrom runner.__main__ import main\n\nsys.exit(main(sys.argv[1:]))\n"
_WHEN = (1980, 1, 1, 0, 0, 0)           # a zip's earliest time, so that the same code gives the same bytes


def write_runner(dest: Path) -> Path:
    """Write the runner as a zip that Python starts: `python3 runner.zip REQUEST.json RESULT.json`."""
    with zipfile.ZipFile(dest, "w", zipfile.ZIP_DEFLATED) as bundle:
        for file in sorted(_RUNNER.glob("*.py")):
            bundle.writestr(_entry(f"runner/{file.name}"), file.read_bytes())
        bundle.writestr(_entry("__main__.py"), _START)
    return dest


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _WHEN)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def runner_command(python: str, runner: str, request: str, result: str) -> Sequence[str]:
    """The command line that measures once; all names are the device's.

    With one hash seed Python's own tables lie alike in every process, and memory figures repeat to the byte.
    """
    return ("env", "PYTHONHASHSEED=0", python, runner, request, result)


def measured(file: Path, beside: Path | None) -> str:
    """What a process measures, for a reader."""
    return f"{file.name} and {beside.name} in turns" if beside else file.name


def write_request(dest: Path, request: RunRequest) -> Path:
    dest.write_text(json.dumps(plain.to_plain(request)))
    return dest


def read_result(file: Path, request: RunRequest, target: str) -> RunResult:
    """The result that belongs to this request.

    `TargetLost` where there is none, where it cannot be read, or where it answers another request. A result that
    carries an `error` is returned: the runtime refused, and says why.
    """
    try:
        result = result_of(content(file, most_bytes=LARGEST_RESULT))
    except OSError as err:
        raise TargetLost(target, "the measurement left no result") from err
    except ValueError as err:
        raise TargetLost(target, f"the measurement's result cannot be read: {err}") from err
    if result.schema != SCHEMA:
        raise TargetLost(target, f"the result is of schema {result.schema}, this mlopt reads {SCHEMA}")
    if result.nonce != request.nonce:
        raise TargetLost(target, "the result answers another request", "Measure again")
    return result
