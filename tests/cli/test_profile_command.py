"""`mlopt profile` as a user runs it: what it prints where, what it writes, and how it stops."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlopt.profiling.runner import onnx_price

MLOPT = str(Path(sys.executable).with_name("mlopt"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Sixteen additions."""
    file = tmp_path_factory.mktemp("model") / "additions.onnx"
    file.write_bytes(onnx_price.chain(2))
    return file


def command(*words, **settings):
    return subprocess.run([MLOPT, "profile", *map(str, words)], capture_output=True, text=True, timeout=120,
                          check=False, **settings)


def test_the_json_is_alone_on_standard_output_and_the_page_is_written(model, tmp_path):
    page, trace = tmp_path / "page.html", tmp_path / "trace.json"
    run = command(model, "--runs", 20, "--json", "--html", page, "--trace", trace)
    assert run.returncode == 0, run.stderr
    (one,) = json.loads(run.stdout)["profiles"]
    assert len(one["samples_us"]) == 20 and len(one["operators"]) == 16
    assert one["units"] == [{"name": "CPUExecutionProvider", "operators": 16, "share": 1.0,
                             "us": pytest.approx(one["operators_sum_us"])}]
    assert one["energy"]["parts"] or one["energy"]["reason"]
    assert "additions.onnx, profiled" in page.read_text() and json.loads(trace.read_text())["traceEvents"]
    lines = [line.split(maxsplit=2)[2] for line in run.stderr.splitlines()]
    assert lines == ["1 of 2: additions.onnx: times and memory on host", "2 of 2: additions.onnx: operators on host"]


def test_a_terminal_shows_one_live_line_that_is_gone_at_the_end(model):
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen([MLOPT, "profile", str(model), "--runs", "20"], stderr=theirs, stdin=theirs, env=environment,
                          stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:                     # Linux's end of a terminal whose other side is closed
                break
            if not chunk:
                break
            shown += chunk
        assert process.wait(60) == 0
    os.close(ours)
    text = shown.decode()
    assert "1 of 2" in text and "2 of 2" in text and "operators on host" in text and " s left" in text
    assert "1 of 2:" not in text and text.rstrip("\r\n\x1b[?25h").endswith("\x1b[2K")      # the line is erased


@pytest.mark.parametrize("words", [("--compare",), ("--runs", "0"), ("--html", "/nowhere/page.html"), ("--html", "/"),
                                   ("--cpus", "x")])
def test_what_cannot_work_is_refused_before_anything_runs(model, words):
    run = command(model, *words)
    assert run.returncode == 2 and "1 of 2" not in run.stderr and words[0] in run.stderr


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    run = command(tmp_path / "none.onnx")
    assert run.returncode == 2 and "there is no file" in run.stderr and "Traceback" not in run.stderr


def test_ctrl_c_leaves_no_process_and_no_file(model, tmp_path):
    temporary, page = tmp_path / "tmp", tmp_path / "page.html"
    temporary.mkdir()
    words = [MLOPT, "profile", str(model), "--rate", "20", "--runs", "400", "--html", str(page)]
    with subprocess.Popen(words, env=os.environ | {"TMPDIR": str(temporary)}, stderr=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not running(temporary) and time.monotonic() < until:
            time.sleep(0.02)
        assert running(temporary)
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == ""
    assert err.splitlines()[-1] == "mlopt: stopped. Nothing was written: a measurement is whole or none."
    assert not running(temporary) and list(temporary.iterdir()) == [] and not page.exists()


def running(temporary):
    """Processes that were started with a path in that folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(temporary).encode() in file.read_bytes():
                found.append(file.parent.name)
        except OSError:         # gone meanwhile
            continue
    return found
