"""Wall time of `mlopt --help`, beside an interpreter that does nothing: median of 15 runs each, alternating."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    ours = [str(Path(sys.executable).with_name("mlopt")), "--help"]
    bare = [sys.executable, "-c", "pass"]
    pairs = [(seconds(ours), seconds(bare)) for _ in range(RUNS)]
    helping, nothing = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"mlopt --help: {helping:.3f} s (an empty interpreter: {nothing:.3f} s, ratio {helping / nothing:.1f}), "
          f"worst of {RUNS}: {max(p[0] for p in pairs):.3f} s")


if __name__ == "__main__":
    main()
