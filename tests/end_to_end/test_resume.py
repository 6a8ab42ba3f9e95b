"""Kill a run whenever: the same command goes on, and ends where an undisturbed one does."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

MLOPT = str(Path(sys.executable).with_name("mlopt"))


def command(files, out):
    return [MLOPT, "compress", str(files / "model.h5"), "--data", str(files / "samples.npz"), "--test",
            str(files / "test.npz"), "--out", str(out), "--max-drop", "0.1", "--json"]


def start(files, out, cache):
    return subprocess.Popen(
        command(files, out), env=os.environ | {"MLOPT_CACHE": str(cache)}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )


def without_times(folder):
    """report.json without what a clock measured, and without the choice's words about speed."""
    report = json.loads((folder / "report.json").read_text())
    for candidate in report["candidates"]:
        for timed in ("latency", "reason", "recommended"):
            del candidate[timed]
    return report


def contents(folder: Path):
    """Every file but the reports, which hold latencies, and the manifest, which holds the choice."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*")) if p.is_file() and p.parent != folder
    }


def test_ten_kills_at_random_moments_lose_nothing_and_change_nothing(files, done, tmp_path):
    undisturbed, _, _ = done
    cache, out = tmp_path / "cache", tmp_path / "bundle"
    moments = random.Random(0)
    killed = 0
    while killed < 10:
        process = start(files, out, cache)
        try:
            process.wait(timeout=moments.uniform(0.2, 9))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert not out.exists() or (out / "report.html").exists()     # a bundle is whole or absent
        process.stdout.close()
        killed += 1
    last = start(files, out, cache)
    printed, _ = last.communicate(timeout=300)
    assert last.returncode == 0
    assert json.loads(printed)["schema"] == 1
    assert contents(out) == contents(undisturbed)
    assert without_times(out) == without_times(undisturbed)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".bundle")] == []


def test_an_interrupted_run_says_so_leaves_nothing_and_ends_its_workers(files, tmp_path):
    environment = os.environ | {"MLOPT_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(
        command(files, tmp_path / "bundle"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as process:
        for line in process.stderr:
            if "exporting" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "the same command goes on" in said and "Traceback" not in said
    assert not (tmp_path / "bundle").exists()
    assert not _workers_below(tmp_path / "cache")


def test_two_runs_into_one_folder_do_not_mix(files, tmp_path):
    cache, out = tmp_path / "cache", tmp_path / "bundle"
    first = start(files, out, cache)
    while not list((cache / "locks").glob("*.lock")) if (cache / "locks").exists() else True:
        time.sleep(0.02)
    time.sleep(0.2)
    second = subprocess.run(
        command(files, out), env=os.environ | {"MLOPT_CACHE": str(cache)}, capture_output=True, text=True, check=False,
        timeout=60,
    )
    assert second.returncode == 2 and "another mlopt run is writing it" in second.stderr
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()


def _workers_below(cache: Path) -> list[str]:
    """Command lines of living processes that work in that cache."""
    time.sleep(0.5)
    found = []
    for status in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(cache).encode() in status.read_bytes():
                found.append((status.parent / "cmdline").read_text())
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    return found
