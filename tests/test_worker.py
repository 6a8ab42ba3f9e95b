"""Workers: what they see, what they answer, how they end."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlopt.errors import DataMismatch, MissingExtra, OutputUnwritable, WorkerCrashed, WorkerTimeout
from mlopt.worker import Cancelled, Crew, Job

HERE = "worker_functions"         # in tests/support, which pytest puts on the path


def run(
    function, returns=None, *, sees=(), deadline_s=60.0, on_event=None, on_question=None, **given
):
    with Crew() as crew:
        job = Job(task="trying", function=f"{HERE}:{function}", arguments=given, sees=sees, deadline_s=deadline_s)
        return crew.run(job, returns or type(None), on_event, on_question)


def test_a_result_comes_back_as_the_dataclass_that_was_asked_for():
    from worker_functions import Point

    assert run("double", Point, point={"x": 1.5, "name": "a"}) == Point(x=3.0, name="aa")


def test_nan_survives_the_trip():
    assert math.isnan(run("not_a_number", float))


def test_a_worker_sees_one_framework_and_not_the_others():
    nothing = run("importable", dict[str, bool])
    tensorflow = run("importable", dict[str, bool], sees=("keras",))
    torch = run("importable", dict[str, bool], sees=("torch",))
    assert nothing == {"tensorflow": False, "tf_keras": False, "torch": False, "numpy": True}
    assert tensorflow == {"tensorflow": True, "tf_keras": True, "torch": False, "numpy": True}
    assert torch == {"tensorflow": False, "tf_keras": False, "torch": True, "numpy": True}
    assert all(run("importable", dict[str, bool], sees=None).values())


def test_an_error_of_ours_keeps_its_class_its_sentence_and_its_facts():
    with pytest.raises(DataMismatch) as caught:
        run("mismatch")
    assert caught.value.wanted == "float32 [N, 4]"
    assert str(caught.value) == "x.npz: the model takes float32 [N, 4]; the data has float32 [N, 5]."


def test_a_missing_extra_ends_in_the_command_that_installs_it():
    with pytest.raises(MissingExtra, match=r"pip install 'mlopt-edge\[torch\]'$"):
        run("lacks_torch")


def test_any_other_exception_is_a_crash_with_its_traceback():
    with pytest.raises(WorkerCrashed, match="ZeroDivisionError") as caught:
        run("divide_by_zero")
    assert "worker_functions.py" in caught.value.last_words


def test_a_full_disk_names_the_folders_that_workers_write_to(monkeypatch, tmp_path):
    monkeypatch.setenv("MLOPT_CACHE", str(tmp_path))
    with pytest.raises(OutputUnwritable, match=r"No space left on device.*MLOPT_CACHE.*TMPDIR") as caught:
        run("write_to_a_full_disk")
    assert str(tmp_path) in str(caught.value)


def test_a_killed_worker_is_told_as_out_of_memory_by_its_signal():
    with pytest.raises(WorkerCrashed, match=r"ended by SIGKILL; the system was probably out of memory"):
        run("end_by", number=int(signal.SIGKILL))


def test_a_segmentation_fault_is_told_by_name_with_the_last_words():
    with pytest.raises(WorkerCrashed, match="ended by SIGSEGV") as caught:
        run("end_by", number=int(signal.SIGSEGV))
    assert "last words" in caught.value.last_words


def test_running_out_of_memory_in_python_is_a_crash_that_says_so():
    with pytest.raises(WorkerCrashed, match="ran out of memory"):
        run("allocate_too_much")


def test_a_worker_past_its_deadline_is_ended():
    started = time.monotonic()
    with pytest.raises(WorkerTimeout, match=r"deadline of 0\.5 s"):
        run("wait_for_ever", deadline_s=0.5)
    assert time.monotonic() - started < 10


def test_events_arrive_in_order_while_the_worker_runs():
    heard = []
    run("count_to", on_event=heard.append, last=3)
    assert heard == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_question_is_answered_by_the_caller():
    assert run("ask_for", str, on_question=lambda q: f"{q}!", question="name") == "name!"


def test_what_a_library_prints_does_not_disturb_the_answer():
    assert run("chatter", int) == 7


def test_stopping_the_crew_ends_a_waiting_worker():
    errors = []

    def wait():
        try:
            crew.run(Job(task="waiting", function=f"{HERE}:wait_for_ever", arguments={}), object)
        except Cancelled as err:
            errors.append(err)

    with Crew() as crew:
        thread = threading.Thread(target=wait)
        thread.start()
        while not crew._living:
            time.sleep(0.01)
        crew.stop()
        thread.join(10)
    assert len(errors) == 1


def test_a_worker_and_its_children_end_when_the_caller_is_killed(tmp_path):
    pids = tmp_path / "pids"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent / 'support')!r})\n"
        "from mlopt.worker import Crew, Job\n"
        f"job = Job(task='t', function='{HERE}:with_child', arguments={{'pids': {str(pids)!r}}}, reach=None)\n"
        "with Crew() as crew:\n"
        "    crew.run(job, object)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    while not pids.exists():
        time.sleep(0.02)
    caller.kill()
    caller.wait()
    for pid in map(int, pids.read_text().split()):
        assert _ends_within(pid, 10), f"process {pid} outlived its caller"


def _ends_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False
