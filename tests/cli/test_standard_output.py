"""Where the output goes wrong: a reader that leaves, a full disk."""

import os
import subprocess
import sys
from pathlib import Path

MLOPT = str(Path(sys.executable).with_name("mlopt"))


def doctor(cache, stdout):
    return subprocess.run(
        [MLOPT, "doctor"], env=os.environ | {"MLOPT_CACHE": str(cache)}, stdout=stdout,
        stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )


def test_a_reader_that_has_left_is_no_failure(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    run = doctor(tmp_path, writing)
    os.close(writing)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_full_disk_under_standard_output_is_no_bug_of_ours(tmp_path):
    with Path("/dev/full").open("w") as full:
        run = doctor(tmp_path, full)
    assert run.returncode == 3 and "No space left on device" in run.stderr and "bug" not in run.stderr
