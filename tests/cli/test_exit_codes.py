"""The one table: what each way to end comes out as, for a program that reads exit codes."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlopt.cli.exit_codes import BUG_REPORT, Exit, explained
from mlopt.errors import BadRequest, MloptError, ModelUnreadable, WorkerCrashed, WorkerTimeout
from mlopt.gate.verdict import Exit as GateExit
from mlopt.profiling.target import TargetLost, TargetUnusable
from mlopt.training.cluster import MemberLost

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests/support"


@pytest.mark.parametrize(("error", "code"), [
    (WorkerCrashed("opening the model", "was ended by SIGKILL", killed=True), Exit.LOST),
    (WorkerCrashed("opening the model", "ran out of memory", killed=True), Exit.LOST),
    (WorkerTimeout("opening the model", 3600.0), Exit.LOST),
    (MemberLost("training, worker 1", "it does not answer"), Exit.LOST),
    (TargetLost("ssh:pi4", "the board does not answer any more"), Exit.LOST),
    (WorkerCrashed("opening the model", "failed with KeyError: 'x'", "Traceback ..."), Exit.BUG),
    (WorkerCrashed("opening the model", "ended with exit status 1 and no answer"), Exit.BUG),
    (ModelUnreadable("m.h5", "it is empty"), Exit.BAD_INPUT), (BadRequest("no"), Exit.BAD_INPUT),
    (TargetUnusable("host", "no runtime reads m.bin"), Exit.BAD_INPUT), (MloptError("no"), Exit.BAD_INPUT),
])
def test_a_lost_worker_a_bug_and_bad_input_end_apart(error, code, capsys, monkeypatch):
    monkeypatch.delenv("MLOPT_TRACEBACK", raising=False)

    def command():
        raise error

    assert explained(command) is code
    said = " ".join(capsys.readouterr().err.split())
    assert str(error).partition("\n")[0] in said and (BUG_REPORT in said) == (code is Exit.BUG)


@pytest.mark.parametrize(("function", "arguments", "code"), [
    ("end_by", {"number": int(signal.SIGKILL)}, Exit.LOST), ("end_by", {"number": int(signal.SIGSEGV)}, Exit.LOST),
    ("allocate_too_much", {}, Exit.LOST), ("wait_for_ever", {}, Exit.LOST), ("divide_by_zero", {}, Exit.BUG),
    ("mismatch", {}, Exit.BAD_INPUT), ("chatter", {}, Exit.DONE),
])
def test_a_real_worker_ends_the_command_by_how_it_ended_itself(function, arguments, code):
    script = f"""
import sys
from typing import Any
sys.path.insert(0, {str(SUPPORT)!r})
from mlopt.cli.exit_codes import explained
from mlopt.worker import Crew, Job
job = Job(task="trying", function="worker_functions:{function}", arguments={arguments!r}, deadline_s=3.0)
sys.exit(explained(lambda: Crew().run(job, Any)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and (BUG_REPORT in " ".join(done.stderr.split())) == (code is Exit.BUG)


def test_no_code_of_the_command_line_that_means_a_failure_is_a_gates_pass():
    assert {int(code) for code in Exit if code is not Exit.DONE}.isdisjoint({int(GateExit.PASS)})
    assert Exit.LOST not in list(GateExit) and Exit.BUG not in list(GateExit)


OF_THE_GATE = {*GateExit, Exit.BUG, Exit.INTERRUPTED}


@pytest.mark.parametrize(("page", "row", "codes"), [
    ("docs/how-to/compress.md", r"^\| (\d+) \| ", set(Exit)), ("mlopt/cli/exit_codes.py", r"^(\d+)  +\w", set(Exit)),
    ("docs/how-to/gate.md", r"^\| (\d+) \| [a-z]", OF_THE_GATE),
    ("action.yml", r"(?:description: |, )(\d+) (?=[a-z])", OF_THE_GATE),
])
def test_the_table_on_the_page_has_every_code_and_no_other(page, row, codes):
    assert {int(code) for code in re.findall(row, (ROOT / page).read_text(), re.MULTILINE)} == {int(c) for c in codes}
