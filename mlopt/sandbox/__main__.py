"""`python -m mlopt.sandbox FOLDER`: what this system would hold a worker to whose own folder that is, as JSON."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from mlopt import sandbox


def main() -> None:
    print(json.dumps(asdict(sandbox.enter(sandbox.Reach(), Path(sys.argv[1]), sys.path))))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
