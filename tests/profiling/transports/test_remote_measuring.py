"""Requests and results over each road, with a runner of a few lines that does as it is told."""

import sys
import threading
import time
from pathlib import Path

import pytest
import sshd
from adb_device import AdbDevice

from mlopt.errors import ModelUnreadable
from mlopt.profiling.contract import RunRequest
from mlopt.profiling.target import TargetLost, TargetUnusable
from mlopt.profiling.targets import open_target
from mlopt.profiling.targets.adb import AdbTarget
from mlopt.profiling.targets.remote import Kit, measure_on
from mlopt.profiling.targets.ssh import SshTarget
from mlopt.profiling.transports import LocalTransport, SshTransport

RUNNER = """\
import json, os, signal, sys, time
request = json.load(open(sys.argv[1]))
model = open(request["file"], "rb").read()
result = {"nonce": request["nonce"], "schema": 1, "phases": {}, "warmup_runs": 5,
          "samples_us": [1.5, float(len(model))],
          "facts": {"name": "", "system": "", "processor": "", "runner": "stand-in"}}
def write(text, name=sys.argv[2]):
    open(name + ".part", "w").write(text); os.rename(name + ".part", name)
"""
GOOD = "write(json.dumps(result))\n"
REQUEST = RunRequest(file="", format="tflite", nonce="a nonce", most_seconds=1)


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "it's my model.tflite"
    file.write_bytes(bytes(1000))
    return file


@pytest.fixture
def kit(tmp_path):
    def made(ending):
        (tmp_path / "runner.py").write_text(RUNNER + ending)
        return Kit(files={"runner.py": tmp_path / "runner.py"},
                   command=lambda kit, asked, answer: (sys.executable, f"{kit}/runner.py", asked, answer))
    return made


def test_a_result_comes_back_and_nothing_stays_behind(road, model, kit):
    transport, there = road
    result = measure_on(transport, model, REQUEST, base=there, kit=kit(GOOD))
    assert result.samples_us == (1.5, 1000.0) and result.notes == ()
    assert list(Path(there).iterdir()) == []


@pytest.mark.parametrize(("ending", "found"), [
    ("", "left no result"),
    ("sys.exit(7)\n", "ended with status 7"),
    (GOOD + "sys.exit(7)\n", "ended with status 7"),                     # a result, and a process that failed after it
    (GOOD + "os.kill(os.getpid(), signal.SIGILL)\n", "ended by SIGILL.*instructions that this processor does not have"),
    ("print('no memory', file=sys.stderr); sys.exit(137)\n", "ended by SIGKILL; its last words: no memory"),
    ("result['nonce'] = 'another'; " + GOOD, "answers another request"),
    ("write(json.dumps(result)[:-20])\n", "cannot be read"),
    ("write('')\n", "cannot be read"),
    ("write('[1, 2]')\n", "cannot be read"),
    ("open(sys.argv[2] + '.part', 'w').write(json.dumps(result))\n", "left no result"),
    ("result['schema'] = 2; " + GOOD, "schema 2"),
    ("result['samples_us'] = ['fast']; " + GOOD, "cannot be read"),
    ("os.mkdir(sys.argv[2])\n", "left no result"),
])
def test_what_is_no_whole_answer_to_this_request_is_lost(tmp_path, model, kit, ending, found):
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(TargetLost, match=found):
        measure_on(LocalTransport(), model, REQUEST, base=str(there), kit=kit(ending))
    assert list(there.iterdir()) == []


def test_a_runner_that_refuses_says_why_in_the_result(tmp_path, model, kit):
    refusing = kit("result['error'] = 'no op'; " + GOOD)
    result = measure_on(LocalTransport(), model, REQUEST, base=str(tmp_path), kit=refusing)
    assert result.error == "no op"


def test_a_folder_that_is_not_there_is_unusable(road, model, kit):
    transport, there = road
    with pytest.raises(TargetUnusable, match=r"cannot make a folder in .*absent.*name another folder"):
        measure_on(transport, model, REQUEST, base=f"{there}/absent", kit=kit(GOOD))


def test_a_file_that_is_not_there_is_said_before_anything_is_sent(tmp_path, kit):
    with pytest.raises(ModelUnreadable, match="no such file"):
        measure_on(LocalTransport(), tmp_path / "absent", REQUEST, base="/absent", kit=kit(GOOD))


def test_a_board_that_dies_while_it_measures_is_lost_and_the_leftover_is_told(own_board, tmp_path, model, kit):
    there = tmp_path / "there"
    there.mkdir()
    waits = kit("open(sys.argv[1] + '.begun', 'w').close(); time.sleep(60)\n" + GOOD)
    with SshTransport(sshd.HOST, config=own_board.config) as transport:
        transport.run(["true"], timeout_s=20)
        killer = _when(lambda: list(there.glob("*/*.begun")), own_board.stop)
        with pytest.raises(TargetLost, match="in the middle of") as caught:
            measure_on(transport, model, REQUEST, base=str(there), kit=waits)
        killer.join(20)
    assert "was left behind on ssh:board" in caught.value.__notes__[0]


def test_a_phone_that_dies_while_it_measures_is_lost(adb, phone, model, kit):
    waits = kit(GOOD + "print('begun', flush=True); time.sleep(60)\n")          # the result is there already
    target = AdbTarget(f"{phone.serial},folder={phone.tmp}", server=adb, kit=waits)
    phone.turn(dies_during=sys.executable)      # the runner's own line, and no other
    with pytest.raises(TargetLost, match="in the middle of"):
        target.measure(model, REQUEST)


def _when(condition, action):
    def watch():
        until = time.monotonic() + 30
        while time.monotonic() < until and not condition():
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_the_kit_of_a_phone_is_pushed_once_and_mended_when_it_changed(adb, phone, model, kit):
    target = AdbTarget(f"{phone.serial},folder={phone.tmp}", server=adb, kit=kit(GOOD))
    first = target.measure(model, REQUEST)
    (installed,) = phone.tmp.iterdir()                                  # the kit, and no measurement's folder
    pushed = (installed / "runner.py").stat().st_ino
    target.measure(model, REQUEST)
    assert (installed / "runner.py").stat().st_ino == pushed
    (installed / "runner.py").write_text("import sys; sys.exit(3)")
    assert target.measure(model, REQUEST).samples_us == first.samples_us


def test_a_phone_tells_its_name_and_that_it_is_hot(adb, phone, model, kit):
    result = AdbTarget(f"{phone.serial},folder={phone.tmp}", server=adb, kit=kit(GOOD)).measure(model, REQUEST)
    assert result.facts.name == "Pixel 7, Android 15" and result.facts.runner == "stand-in"
    assert result.extra["thermal_after"] == "moderate" and "let it cool down" in result.notes[-1]
    assert result.memory.file == 1000


def test_a_full_phone_says_so(adb, phone, model, kit):
    phone.turn(free_bytes=500)
    with pytest.raises(TargetUnusable, match="No space left on device"):
        AdbTarget(f"{phone.serial},folder={phone.tmp}", server=adb, kit=kit(GOOD)).measure(model, REQUEST)


def test_a_phone_of_another_processor_is_refused(adb, tmp_path, model):
    old = AdbDevice(folder=tmp_path / "old", properties={"ro.product.cpu.abi": "armeabi-v7a"})
    with old.running(), pytest.raises(TargetUnusable, match=r"armeabi-v7a.*arm64-v8a"):
        AdbTarget(old.serial, server=adb).measure(model, REQUEST)


def test_a_missing_interpreter_says_how_to_name_one(shared_board, model):
    target = SshTarget("board,python=python-absent", config=shared_board.config)
    with pytest.raises(TargetUnusable, match=r"no interpreter python-absent on it.*python=/PATH/TO/python"):
        target.measure(model, REQUEST)
    target.close()


def test_a_missing_runtime_says_what_to_install(shared_board, model, tmp_path):
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')         # -S: without site-packages
    bare.chmod(0o755)
    target = SshTarget(f"board,python={bare}", config=shared_board.config)
    with pytest.raises(TargetUnusable, match=r"has no ai_edge_litert and no numpy.*pip install ai-edge-litert"):
        target.measure(model, REQUEST)
    target.close()


def test_an_interpreter_that_does_not_start_shows_its_words(shared_board, model, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'libpython is gone' >&2\nexit 1\n")
    broken.chmod(0o755)
    target = SshTarget(f"board,python={broken}", config=shared_board.config)
    with pytest.raises(TargetUnusable, match="does not work: libpython is gone"):
        target.measure(model, REQUEST)
    target.close()


@pytest.mark.parametrize("text", ["ssh:-oProxyCommand=id", "ssh:pi4,pyton=x", "ssh:pi4,python", "adb:--help",
                                  "adb:A,x=1", "ssh:pi4,folder=relative"])
def test_a_target_that_is_written_wrongly_is_refused_with_how_to_write_it(text):
    with pytest.raises(TargetUnusable):
        open_target(text)


def test_formats_without_a_runtime_there_are_refused_before_connecting(model):
    request = RunRequest(file="", format="coreml", nonce="n")
    with pytest.raises(TargetUnusable, match="cannot run coreml"):
        SshTarget("nowhere.invalid").measure(model, request)
    with pytest.raises(TargetUnusable, match="cannot run coreml"):
        AdbTarget("NOWHERE").measure(model, request)


@pytest.mark.parametrize("moment_s", [0.02, 0.1, 0.2, 0.3, 0.4, 0.6])
def test_whenever_a_phone_dies_there_is_a_whole_result_or_an_error(adb, phone, model, kit, moment_s):
    target = AdbTarget(f"{phone.serial},folder={phone.tmp}", server=adb, kit=kit(GOOD))
    target.facts()
    dying = threading.Timer(moment_s, phone.die)
    dying.start()
    try:
        result = target.measure(model, REQUEST)
    except (TargetLost, TargetUnusable):
        return
    finally:
        dying.join(20)
    assert result.nonce == "a nonce" and result.samples_us == (1.5, 1000.0)      # it was through before
