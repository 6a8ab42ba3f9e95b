"""The one table: what each way to end comes out as, for a program that reads exit codes."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlopt.cli import app
from mlopt.cli.exit_codes import BUG_REPORT, explained
from mlopt.errors import BadRequest, MloptError, ModelUnreadable, WorkerCrashed, WorkerTimeout
from mlopt.exits import MEANINGS, Exit
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


@pytest.mark.parametrize(("page", "row", "command"), [
    ("README.md", r"(?:says what happened: |, )(\d+) (?=[a-z])", "compress"),
    ("action.yml", r"(?:description: |, )(\d+) (?=[a-z])", "gate check"),
])
def test_what_a_page_says_of_codes_in_a_sentence_is_in_the_table(page, row, command):
    said = {int(code) for code in re.findall(row, (ROOT / page).read_text())}
    assert len(said) >= 5 and said <= {int(code) for code in MEANINGS[command]}


def test_every_command_has_a_table_and_each_table_the_codes_that_all_commands_share():
    commands = {command.removesuffix(" list").removesuffix(" show").removesuffix(" explain") for command in named(app)}
    assert commands == set(MEANINGS)
    assert all({Exit.DONE, Exit.BAD_INPUT, Exit.BUG, Exit.INTERRUPTED} <= set(codes) for codes in MEANINGS.values())


def test_a_gate_judges_by_0_to_4_and_never_ends_as_one_that_lost_its_process():
    assert set(MEANINGS["gate check"]) == {0, 1, 2, 3, 4, 70, 130}


def named(app, above=""):
    own = {f"{above}{command.name or command.callback.__name__}" for command in app.registered_commands}
    return own.union(*(named(group.typer_instance, f"{group.name} ") for group in app.registered_groups))
