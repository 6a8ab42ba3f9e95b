"""A lock is one process's: it is refused to others at once, and goes with its holder."""

import subprocess
import sys

import pytest

from mlopt.errors import BadRequest, OutputUnwritable
from mlopt.locks import held

HOLD = """
import sys
from pathlib import Path
from mlopt.errors import BadRequest
from mlopt.locks import held
with held(Path(sys.argv[1]), refusal=BadRequest("taken")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "locks/some.lock"


@pytest.fixture
def holder(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lock_that_another_process_holds_is_refused_at_once(holder, path):
    with pytest.raises(BadRequest, match="taken"), held(path, refusal=BadRequest("taken")):
        pass


def test_a_killed_holder_leaves_a_lock_that_is_free(holder, path):
    holder.kill()
    holder.wait()
    with held(path, refusal=BadRequest("taken")):
        assert path.exists()


def test_one_process_holds_a_lock_once_at_a_time_and_then_again(path):
    with (
        held(path, refusal=BadRequest("first")), pytest.raises(BadRequest, match="second"),
        held(path, refusal=BadRequest("second")),
    ):
        pass
    with held(path, refusal=BadRequest("third")):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "locks").write_text("a file")
    with (
        pytest.raises(OutputUnwritable, match="MLOPT_CACHE"),
        held(tmp_path / "locks/some.lock", refusal=BadRequest("taken")),
    ):
        pass
