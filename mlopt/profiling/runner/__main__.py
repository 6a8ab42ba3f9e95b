"""`python runner.zip REQUEST.json RESULT.json`: measure once, write the result under its name when it is whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .answers import Result
from .measure import failed, measure


def main(arguments: list[str]) -> int:
    """0 with a result written, whatever it says; 2 when there is no request to read."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python runner.zip REQUEST.json RESULT.json\n")
        return 2
    request = json.loads(Path(arguments[0]).read_text())
    try:
        result = measure(request)
    except Exception as err:  # noqa: BLE001  whatever the runtime raises is the measurement's answer
        result = failed(request, f"{type(err).__name__}: {err}")
    write(Path(arguments[1]), result)
    return 0


def write(file: Path, result: Result) -> None:
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(result))
    part.replace(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
