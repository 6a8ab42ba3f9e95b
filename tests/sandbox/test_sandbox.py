"""What a worker is kept from, tried for real: the oracle is what lies on the disk, and what a server was sent."""

import importlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from needs import needs_kernel

from mlopt import diagnosis
from mlopt.errors import OutOfReach, WorkerCrashed
from mlopt.sandbox import Network, Reach, landlock
from mlopt.testing.tiny import TinyModel, build
from mlopt.worker import Crew, Granting, Job

HERE = "reaching"
KERNEL = pytest.mark.usefixtures("everything_of_landlock")


@pytest.fixture
def everything_of_landlock():
    needs_kernel(landlock.version() >= 6, "its Landlock has not all that is tried here; Linux 6.12 has")


NOTHING = Reach()


def run(function, returns=None, *, reach=NOTHING, leaves=(), place=None, **given):
    with Crew(place) as crew:
        job = Job(task="trying", function=f"{HERE}:{function}", arguments=given, reach=reach, leaves=leaves)
        return crew.run(job, returns or type(None))


@pytest.fixture
def socket_file():
    """In a folder of a short name: a socket's has at most 107 characters."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield str(Path(folder, "socket"))


@pytest.fixture
def world(tmp_path, socket_file):
    """A secret, a cache entry that may be read, listening sockets of every kind, and a process that waits."""
    (tmp_path / "home").mkdir()
    (tmp_path / "entry").mkdir()
    (tmp_path / "home" / "key").write_text("secret")
    (tmp_path / "entry" / "record").write_text("sound")
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))
    on_disk, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    name = f"mlopt-test-{os.getpid()}"
    on_disk.bind(socket_file)
    abstract.bind("\0" + name)
    on_disk.listen()
    abstract.listen()
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    given = {
        "secret": tmp_path / "home" / "key", "entry": tmp_path / "entry" / "record", "port": port,
        "unix": socket_file, "abstract": name, "victim": victim.pid,
    }
    yield given, [tcp, udp, on_disk, abstract], victim
    victim.kill()
    victim.wait()
    for one in (tcp, udp, on_disk, abstract):
        one.close()


@KERNEL
def test_nothing_that_a_payload_tries_gets_through(world, tmp_path):
    given, sockets, victim = world
    ended = run("attempts", dict[str, str], reach=Reach(reads=(tmp_path / "entry",)), **given)
    assert {name: how for name, how in ended.items() if how == "done"} == {}
    assert given["entry"].read_text() == "sound"
    assert [p.name for p in (tmp_path / "entry").iterdir()] == ["record"]
    assert select.select(sockets, [], [], 0)[0] == [], "a server was reached"
    assert victim.poll() is None


def test_every_attempt_gets_through_where_nothing_holds_it(world, tmp_path):
    """Else the test above would prove nothing. Names of no network are left out."""
    given, _, victim = world
    ended = run("attempts", dict[str, str], reach=None, **given)
    assert {name for name, how in ended.items() if how != "done"} <= {"look a name up"}
    victim.wait(10)


@KERNEL
def test_what_a_worker_starts_is_held_too(tmp_path):
    assert run("by_a_child", int, path=tmp_path / "theirs") != 0
    assert not (tmp_path / "theirs").exists()


@KERNEL
def test_an_honest_library_finds_all_that_it_needs():
    assert run("works_at_home", dict[str, bool]) == {"files": True, "pair": True, "python": True}


@KERNEL
def test_a_refusal_names_the_path_and_the_way_out(tmp_path):
    with pytest.raises(OutOfReach, match="MLOPT_SANDBOX=0") as caught:
        run("write", path=tmp_path / "theirs")
    assert caught.value.wanted == str(tmp_path / "theirs")
    assert str(caught.value).startswith(f"trying: the worker process was kept from {tmp_path / 'theirs'}.")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutOfReach, match="was kept from"):
        run("read", str, path=tmp_path / "file")


@KERNEL
@pytest.mark.parametrize("format", ["tflite", "onnx", "coreml"])
def test_a_sound_model_that_a_worker_was_not_given_is_out_of_reach_and_not_damaged(format, tmp_path):
    pytest.importorskip("coremltools" if format == "coreml" else "onnx")
    model = TinyModel(build("small_convnet"))
    file = tmp_path / ("m.mlpackage" if format == "coreml" else f"m.{format}")
    importlib.import_module(f"mlopt_{format}.exporter").export(model, model.signature, file)
    job = Job(task="opening", function=f"mlopt_{format}.inventory:operations", arguments={"file": str(file)})
    with Crew() as crew:
        with pytest.raises(OutOfReach) as caught:
            crew.run(job, list)
        assert Path(caught.value.wanted).is_relative_to(file)
        assert crew.run(replace(job, reach=Reach(reads=(file,))), list)


BY_AN_ORDINARY_USER = """
import sys
from pathlib import Path
import permissions, reaching
from mlopt import sandbox
function, path, given, own = sys.argv[1:]
permissions.become_ordinary()
reach = sandbox.Reach(reads=(Path(given),) if given else ())
sandbox.enter(reach, Path(own), sys.path)
try:
    getattr(reaching, function)(Path(path))
except PermissionError as err:
    print("refused", sandbox.refusal(err, reach, Path(own), sys.path))
"""


@KERNEL
@pytest.mark.parametrize(("function", "name", "given", "ours"), [
    ("read", "readable", "", True),                # anybody may read it, and only root may write it
    ("read", "secret", "", False),                 # the file system's own rule, as below where it is not ours
    ("write", "readable", "readable", False),
    ("write", "open/writable", "open/writable", True),
    ("write", "open/new", "", True),
    ("write", "new", "", False),
    ("write", "closed/new", "", False),            # nor can it be asked whether it is there
])
def test_an_ordinary_user_was_kept_by_us_from_what_the_file_system_would_allow_and_from_nothing_else(
    function, name, given, ours
):
    with tempfile.TemporaryDirectory(dir="/tmp") as at:
        folder = Path(at)
        for file, bits in (("readable", 0o444), ("secret", 0), ("open/writable", 0o666), ("closed/file", 0o666)):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text("x")
            (folder / file).chmod(bits)
        (folder / "own").mkdir()
        for part, bits in (("own", 0o777), ("open", 0o777), ("closed", 0), ("", 0o555)):
            (folder / part).chmod(bits)
        try:
            done = subprocess.run(
                [sys.executable, "-c", BY_AN_ORDINARY_USER, function, folder / name, folder / given if given else "",
                 folder / "own"],
                capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        finally:
            for part in ("", "closed"):
                (folder / part).chmod(0o755)
    assert done.stdout.strip() == f"refused {folder / name if ours else ''}".strip()


def test_the_user_can_turn_it_off(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPT_SANDBOX", "0")
    run("write", path=tmp_path / "theirs")
    assert (tmp_path / "theirs").read_text() == "written by a payload"


@KERNEL
def test_processes_that_work_together_share_locks_and_one_alone_is_told(tmp_path):
    assert run("share_a_lock", bool, reach=Reach(network=Network.LOOPBACK))
    if not any(Path("/dev").glob("nvidia*")):
        with pytest.raises(OutOfReach, match="kept from locks that processes share"):
            run("share_a_lock", bool)


@KERNEL
def test_what_is_given_can_be_read_and_written(tmp_path):
    (tmp_path / "file").write_text("x")
    assert run("read", str, reach=Reach(reads=(tmp_path / "file",)), path=tmp_path / "file") == "x"
    run("write", reach=Reach(writes=(tmp_path,)), path=tmp_path / "made")
    assert (tmp_path / "made").exists()
    (tmp_path / "link").symlink_to("file")
    assert run("read", str, reach=Reach(reads=(tmp_path / "link",)), path=tmp_path / "link") == "x"


@KERNEL
def test_the_links_of_a_hubs_snapshot_lead_to_its_files(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    (tmp_path / "models--a--b" / "blobs" / "abc").write_text("weights")
    (snapshot / "model.h5").symlink_to("../../blobs/abc")
    assert run("read", str, reach=Reach(reads=(snapshot,)), path=snapshot / "model.h5") == "weights"


@KERNEL
@pytest.mark.parametrize("secret", ["models--a--b/key", "models--a--b/snapshots/4567/key"])
def test_what_lies_beside_the_files_of_a_snapshot_is_out_of_reach(tmp_path, secret):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    (tmp_path / secret).parent.mkdir(exist_ok=True)
    (tmp_path / secret).write_text("secret")
    with pytest.raises(OutOfReach):
        run("read", str, reach=Reach(reads=(snapshot,)), path=tmp_path / secret)


@KERNEL
def test_blobs_that_are_a_link_lead_nowhere(tmp_path):
    (tmp_path / "snapshots" / "0123").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text("secret")
    (tmp_path / "blobs").symlink_to("home")
    with pytest.raises(OutOfReach):
        run("read", str, reach=Reach(reads=(tmp_path / "snapshots" / "0123",)), path=tmp_path / "blobs" / "key")


# ---- what a worker leaves -----------------------------------------------------------------------------------------


def test_a_result_is_put_in_its_place_by_the_caller(tmp_path):
    run("leave", leaves=(tmp_path / "entry",), place=tmp_path, path=tmp_path / "entry", text="made")
    assert (tmp_path / "entry" / "inner" / "record").read_text() == "made"
    assert [p.name for p in tmp_path.iterdir()] == ["entry"]


def test_a_result_moves_from_one_disk_to_another(tmp_path):
    with_memory = Path("/dev/shm")
    assert with_memory.stat().st_dev != tmp_path.stat().st_dev
    run("leave", leaves=(tmp_path / "entry",), place=with_memory, path=tmp_path / "entry", text="made")
    assert (tmp_path / "entry" / "inner" / "record").read_text() == "made"


def test_a_result_that_is_there_already_stays(tmp_path):
    reach = Reach(reads=(tmp_path,))
    leaves = (tmp_path / "teacher-*",)
    found = run("leave_two", str, reach=reach, leaves=leaves, place=tmp_path, path=tmp_path / "teacher-12")
    assert found == "first"


def test_a_worker_leaves_nothing_but_its_results(tmp_path):
    for leaf in (tmp_path / "another", tmp_path / "deeper" / "entry*", tmp_path / "ent"):
        with pytest.raises(WorkerCrashed, match="no result of it"):
            run("leave", leaves=(leaf,), place=tmp_path, path=tmp_path / "entry", text="poison")
    assert list(tmp_path.iterdir()) == []


def test_the_callers_answer_grants_the_one_name_that_it_says(tmp_path):
    def answer(question):
        return Granting(answer=str(tmp_path / "reference-1"), leaves=(tmp_path / "reference-1",))

    def leave(*, obey):
        job = Job(task="trying", function=f"{HERE}:leave_as_told", reach=Reach(),
                  arguments={"other": tmp_path / "reference-2", "obey": obey})
        with Crew(tmp_path) as crew:
            crew.run(job, type(None), on_question=answer)

    with pytest.raises(WorkerCrashed, match="no result of it"):
        leave(obey=False)
    assert list(tmp_path.iterdir()) == []
    leave(obey=True)
    assert [p.name for p in tmp_path.iterdir()] == ["reference-1"]


def test_a_result_with_a_link_or_a_pipe_in_it_is_not_taken(tmp_path):
    secret = tmp_path / "key"
    secret.write_text("secret")
    with pytest.raises(WorkerCrashed, match=r"left record, which is neither a plain file nor a folder"):
        run("leave_link", leaves=(tmp_path / "entry",), place=tmp_path, path=tmp_path / "entry", target=secret)
    with pytest.raises(WorkerCrashed, match=r"left record"):
        run("leave_pipe", leaves=(tmp_path / "entry",), place=tmp_path, path=tmp_path / "entry")
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_failed_or_killed_worker_leaves_nothing(tmp_path):
    with pytest.raises(WorkerCrashed, match="ZeroDivisionError"):
        run("fail_half_way", leaves=(tmp_path / "entry",), place=tmp_path, path=tmp_path / "entry")
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        run("be_killed", place=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_of_a_worker_lie_in_its_folder(tmp_path):
    assert Path(run("own_folder", str, place=tmp_path)).is_relative_to(tmp_path)


# ---- systems with less --------------------------------------------------------------------------------------------

TRY = """
import json, socket, sys
from dataclasses import asdict
from pathlib import Path
from mlopt import private_network, sandbox
from mlopt.sandbox import landlock, seccomp
lacking = sys.argv[1].split()
if "seccomp" in lacking: seccomp.refuse_sockets = lambda: False
if "namespace" in lacking: private_network.enter = lambda: False
if "landlock" in lacking: landlock.version = lambda: 0
held = asdict(sandbox.enter(sandbox.Reach(), Path(sys.argv[2]), sys.path))
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[3])), timeout=5).close()
    held["connected"] = True
except OSError:
    held["connected"] = False
try:
    Path(sys.argv[4]).write_text("x")
    held["wrote"] = True
except OSError:
    held["wrote"] = False
print(json.dumps(held))
"""


def tried(lacking, tmp_path):
    (tmp_path / "own").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", TRY, lacking, str(tmp_path / "own"), port, str(tmp_path / "theirs")],
            capture_output=True, text=True, check=True,
        )
    return json.loads(done.stdout)


@KERNEL
@pytest.mark.parametrize(
    ("lacking", "network", "connected", "wrote"),
    [
        ("", "seccomp: no sockets at all", False, False),
        ("seccomp", "a private network", False, False),
        ("seccomp namespace", "Landlock: no TCP; UDP and look-ups of names stay", False, False),
        ("seccomp namespace landlock", "", True, True),
        ("landlock", "seccomp: no sockets at all", False, True),
    ],
)
def test_each_protection_takes_the_place_of_the_one_that_is_missing(lacking, network, connected, wrote, tmp_path):
    held = tried(lacking, tmp_path)
    assert (held["network"], held["connected"], held["wrote"]) == (network, connected, wrote)
    assert bool(held["writing"]) is not wrote


@KERNEL
def test_doctor_says_which_protections_hold():
    found = diagnosis.doctor()
    assert [(p.name, p.possible) for p in found.protections] == [
        ("reaching the network", True), ("writing outside its folder", True), ("reading what it was not given", True),
    ]
    assert "yes  writing outside its folder: Landlock" in diagnosis.to_text(found)


def test_doctor_says_that_the_protections_are_off(monkeypatch):
    monkeypatch.setenv("MLOPT_SANDBOX", "0")
    assert diagnosis.to_text(diagnosis.doctor()).count("MLOPT_SANDBOX=0 turns this protection off") == 3


def test_a_private_network_still_reaches_its_own_loopback():
    code = (
        "import socket; from pathlib import Path; from mlopt.sandbox import Network, Reach, enter\n"
        "held = enter(Reach(reads=None, writes=None, network=Network.LOOPBACK), Path('.'), [])\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close()\n"
        "print(held.network)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("a private network", "")
