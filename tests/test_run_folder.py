"""Folders of runs: gone with their run, and with the next one where a run was killed."""

import os
import subprocess
import sys
import tempfile

from mlopt import run_folder
from mlopt.run_folder import RunFolder

KILLED = (
    "import os, signal, sys; from pathlib import Path; from mlopt.run_folder import RunFolder\n"
    "with RunFolder(Path(sys.argv[1])) as folder:\n"
    "    (folder.new() / 'half-done').write_text('x')\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
)
LIVING = (
    "import sys; from pathlib import Path; from mlopt.run_folder import RunFolder\n"
    "with RunFolder(Path(sys.argv[1])):\n"
    "    print('there', flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_a_folder_is_gone_after_its_run_with_all_in_it(tmp_path):
    with RunFolder(tmp_path) as folder:
        (folder.new() / "file").write_text("x")
        assert folder.new() != folder.new()
        assert [p.parent for p in (folder.path,)] == [tmp_path]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_killed_run_goes_with_the_next_run(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with RunFolder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder.path]


def test_a_temporary_folder_of_a_killed_process_goes_with_the_next_one(tmp_path, monkeypatch):
    script = (
        "import os, signal; from mlopt import run_folder\n"
        "with run_folder.temporary() as folder:\n"
        "    (folder / 'half-done').write_text('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"TMPDIR": str(tmp_path)}, check=False)
    assert len(list(tmp_path.rglob("half-done"))) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with run_folder.temporary() as folder:
        assert list(folder.iterdir()) == [] and list(tmp_path.iterdir()) == [folder.parent]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_living_run_stays(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", LIVING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as living:
        living.stdout.readline()
        theirs = list(tmp_path.iterdir())
        with RunFolder(tmp_path):
            assert theirs[0].is_dir()
        assert list(tmp_path.iterdir()) == theirs
        living.stdin.close()
        living.wait(20)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_being_made_stays_and_an_old_one_without_a_lock_goes(tmp_path):
    (tmp_path / ".mlopt-run-new").mkdir()
    (tmp_path / ".mlopt-run-old").mkdir()
    os.utime(tmp_path / ".mlopt-run-old", (0, 0))
    (tmp_path / "somebody-elses").mkdir()
    with RunFolder(tmp_path):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mlopt-run-new", "somebody-elses"]
