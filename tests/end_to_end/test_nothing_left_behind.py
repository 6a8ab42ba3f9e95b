"""However a run ends, the temporary folder and the cache hold nothing of it but finished stages."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

MLOPT = [sys.executable, "-c", "from mlopt.cli import main; main()"]
FINISHED = re.compile(r"[a-z]+-[0-9a-f]{40}|locks|code\.json")


@pytest.fixture
def place(tmp_path):
    for name in ("temporary", "cache"):
        (tmp_path / name).mkdir()
    return tmp_path


def start(place, model, *more):
    environment = os.environ | {
        "TMPDIR": str(place / "temporary"), "MLOPT_CACHE": str(place / "cache"), "COLUMNS": "120",
    }
    return subprocess.Popen(
        [*MLOPT, "compress", str(model), "--to", "tflite", "--out", str(place / "bundle"), *more], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )


def at_work(process):
    """Wait until its first worker opens the model; the worker."""
    for line in process.stderr:
        if "opening" in line or "exporting" in line:
            return next(c for c in psutil.Process(process.pid).children() if "mlopt.worker_main" in c.cmdline())
    raise AssertionError(f"it ended with {process.wait()} before it opened the model")


def ended(process):
    process.stderr.read()
    process.stderr.close()
    return process.wait(120)


def left(place):
    unfinished = [p.name for p in (place / "cache").iterdir() if not FINISHED.fullmatch(p.name)]
    return [p.name for p in (place / "temporary").iterdir()] + unfinished


def test_a_run_that_succeeds_leaves_only_its_bundle_and_finished_stages(place, files):
    assert ended(start(place, files / "model.h5")) in (0, 1)
    assert (place / "bundle" / "report.json").exists()
    assert left(place) == []


def test_a_run_that_fails_leaves_nothing(place):
    (place / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    assert ended(start(place, place / "model.h5")) == 2
    assert left(place) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_leaves_nothing(place, files, number):
    process = start(place, files / "model.h5")
    at_work(process)
    os.kill(process.pid, number)
    assert ended(process) == 130
    assert left(place) == []


def test_a_worker_that_is_killed_leaves_nothing(place, files):
    process = start(place, files / "model.h5")
    at_work(process).kill()
    assert ended(process) in (0, 1, 2, 3, 75)
    assert left(place) == []


def test_what_a_killed_run_left_goes_with_the_next_one(place, files):
    process = start(place, files / "model.h5")
    at_work(process)
    process.kill()
    ended(process)
    assert [name for name in left(place) if name.startswith(".mlopt-run-")] != []
    assert [p for p in (place / "temporary").iterdir()] == []
    assert ended(start(place, files / "model.h5")) in (0, 1)
    assert left(place) == []
    assert Path(place / "bundle").is_dir()
