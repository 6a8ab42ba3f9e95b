"""`mlopt gate` on a board and on a phone: real transports, runners and files, and a device that dies in a pair."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sshd
from adb_device import AdbDevice

from mlopt.profiling.contract import RunRequest
from mlopt.profiling.targets.ssh import SshTarget

BUDGET = """schema = 1
[[budget]]
model = "*.tflite"
target = "%s"
[budget.latency]
runs = %d
p50 = { growth = "400%%" }
"""


class Repository:
    """A folder with a model, its baseline and a budget, and programs that reach the devices of this test."""

    def __init__(self, folder, model):
        self.folder, self.programs = folder, folder / "bin"
        for name in ("base", "bin", "there"):
            (folder / name).mkdir(parents=True)
        shutil.copy(model, folder / "base/m.tflite")
        (folder / "m.tflite").write_bytes(model.read_bytes() + bytes(16))

    def reach(self, program, *words):
        script = self.programs / program
        script.write_text(f'#!/bin/sh\nexec {shutil.which(program)} {" ".join(words)} "$@"\n')
        script.chmod(0o755)

    def start(self, target, runs=40):
        (self.folder / "mlopt-budget.toml").write_text(BUDGET % (target, runs))
        settings = os.environ | {"PATH": f"{self.programs}:{os.environ['PATH']}"}
        code = "from mlopt.cli import main; main()"
        return subprocess.Popen([sys.executable, "-c", code, "gate", "--baseline", "base", "--json-file", "v.json"],
                                cwd=self.folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def finish(self, process, timeout_s=120):
        """(exit status, the one check, its raw times, all words)"""
        words, _ = process.communicate(timeout=timeout_s)
        verdict = json.loads((self.folder / "v.json").read_bytes())
        (check,) = verdict["checks"]
        return process.returncode, check, verdict["samples"].get(check["samples"], []), words.decode()


@pytest.fixture
def repository(tmp_path, tiny_tflite):
    return Repository(tmp_path / "repository", tiny_tflite)


def in_the_third_process(folder, strike):
    """Strike a moment after the files of the third measurement have reached the device."""
    def watch():
        seen, until = set(), time.monotonic() + 90
        while time.monotonic() < until:
            seen |= {str(file) for file in Path(folder).glob("mlopt.*/request.json")}
            if len(seen) >= 3:
                struck.set()
                strike()
                return
            time.sleep(0.002)

    struck = threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    return struck


def of_board(board, repository):
    repository.reach("ssh", "-F", str(board.config))
    return f"ssh:{sshd.HOST},python={sys.executable},folder={repository.folder / 'there'}"


def test_a_board_times_both_files_in_turns_and_the_gate_decides(shared_board, repository):
    status, check, raw, words = repository.finish(repository.start(of_board(shared_board, repository)))
    assert (status, check["status"]) == (0, "pass"), words
    assert check["processes"] == check["looks"][-1]["pairs"] and len(raw) == 2 * check["processes"]
    assert all(p["burst"] >= 1 and len(p["samples_us"]) == 40 for p in raw)
    assert any("took turns" in note for note in check["notes"])
    assert list((repository.folder / "there").iterdir()) == []


def test_a_board_that_loses_power_in_a_pair_is_not_measured_and_no_pass(own_board, repository):
    target = of_board(own_board, repository)
    struck = in_the_third_process(repository.folder / "there", own_board.stop)
    status, check, raw, words = repository.finish(repository.start(target, runs=20_000))
    assert struck.is_set() and (status, check["status"]) == (3, "error"), words
    assert "p50 was not measured: ssh:board" in check["sentence"] and raw == []


@pytest.mark.usefixtures("phone_like_this_host")
def test_a_phone_times_both_files_in_turns_and_the_gate_decides(adb, repository, tmp_path):
    with AdbDevice(folder=tmp_path / "phone", properties={"ro.product.cpu.abi": "x86_64"}).running() as phone:
        repository.reach("adb", "-L", adb)
        process = repository.start(f"adb:{phone.serial},folder={phone.tmp}")
        status, check, raw, words = repository.finish(process)
    assert (status, check["status"]) == (0, "pass"), words
    assert check["processes"] == check["looks"][-1]["pairs"] and all(p["burst"] >= 1 for p in raw)


@pytest.mark.usefixtures("phone_like_this_host")
def test_a_phone_that_is_unplugged_in_a_pair_is_not_measured_and_no_pass(adb, repository, tmp_path):
    with AdbDevice(folder=tmp_path / "phone", properties={"ro.product.cpu.abi": "x86_64"}).running() as phone:
        repository.reach("adb", "-L", adb)
        struck = in_the_third_process(phone.tmp, phone.die)
        process = repository.start(f"adb:{phone.serial},folder={phone.tmp}", runs=20_000)
        status, check, raw, words = repository.finish(process)
    assert struck.is_set() and (status, check["status"]) == (3, "error"), words
    assert "p50 was not measured: adb:" in check["sentence"] and raw == []


def test_a_measuring_process_that_is_killed_in_a_pair_is_not_measured_and_no_pass(repository):
    """On this host: SIGKILL, as the kernel sends it when memory runs out."""
    killed = []

    def watch(gate):
        seen, until = set(), time.monotonic() + 90
        while time.monotonic() < until and not killed:
            for child in children(gate):
                seen.add(child)
                if len(seen) == 3:
                    time.sleep(0.3)
                    os.kill(child, 9)
                    killed.append(child)
            time.sleep(0.005)

    process = repository.start("host", runs=20_000)
    watching = threading.Thread(target=watch, args=(process.pid,), daemon=True)
    watching.start()
    status, check, raw, words = repository.finish(process)
    watching.join(5)
    assert killed and (status, check["status"]) == (3, "error"), words
    assert "was ended by SIGKILL" in check["sentence"] and "m.tflite in turns" in check["sentence"] and raw == []


def children(pid):
    """Measuring processes that `pid` started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = entry.joinpath("stat").read_text().rpartition(")")[2].split()[1] if entry.name.isdigit() else ""
            if parent == str(pid) and b"runner.zip" in entry.joinpath("cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:                 # it ended meanwhile
            continue
    return found


def test_what_a_board_measures_beside_the_first_file_is_the_second(shared_board, tmp_path, tiny_tflite):
    (tmp_path / "there").mkdir()
    (tmp_path / "broken.tflite").write_bytes(bytes(100))
    target = SshTarget(f"{sshd.HOST},python={sys.executable},folder={tmp_path / 'there'}", config=shared_board.config)
    request = RunRequest(file="", format="tflite", nonce="abc", runs=20, most_seconds=2, memory=False)
    result = target.measure(tiny_tflite, request, tiny_tflite)
    refused = target.measure(tiny_tflite, replace(request, nonce="d"), tmp_path / "broken.tflite")
    target.close()
    assert len(result.samples_us) == len(result.beside_samples_us) == 20
    assert refused.error and refused.samples_us == ()
    assert list((tmp_path / "there").iterdir()) == []
