"""Which disk is full: the cache, the temporary folder and the result may lie on three."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from needs import needs_kernel, needs_program, succeeds

from mlopt import disks, files
from mlopt.disks import Place

PRIVATE = ["unshare", "--user", "--map-root-user", "--mount"]



@pytest.fixture
def private_mounts():
    needs_program("unshare")
    needs_kernel(succeeds(*PRIVATE, "true"), "it lets nobody mount a small disk of their own")


SCRIPT = """
import errno, os, sys
from pathlib import Path
from mlopt import cache, files
from mlopt.cli.exit_codes import explained
from mlopt.sandbox import Reach
from mlopt.worker import Crew, Job

def in_a_worker():
    job = Job(task="trying", function="fill:" + sys.argv[1], arguments={"folder": sys.argv[2]},
              leaves=(cache.default_root() / "entry",), reach=Reach(writes=(Path(sys.argv[2]),)))
    with Crew() as crew:
        crew.run(job, object)

sys.exit(explained(in_a_worker))
"""
FILL = """
import tempfile
from pathlib import Path
from mlopt import cache, files, worker

def cache_entry(folder: str) -> None:
    with worker.result(cache.default_root() / "entry") as made:
        (made / "weights").write_bytes(bytes(4 << 20))

def temporary(folder: str) -> None:
    with open(Path(tempfile.gettempdir()) / "kept", "wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass

def result(folder: str) -> None:
    files.write_atomically(Path(folder) / "report.html", bytes(4 << 20))
"""


@pytest.mark.usefixtures("private_mounts")
@pytest.mark.parametrize(("small", "work", "says"), [
    ("cache", "cache_entry", "MLOPT_CACHE"), ("temporary", "temporary", "TMPDIR"), ("result", "result", "report.html")])
def test_the_disk_that_is_full_is_named_with_its_mount_point(tmp_path, small, work, says):
    places = {name: tmp_path / name for name in ("cache", "temporary", "result")}
    for place in places.values():
        place.mkdir()
    (tmp_path / "fill.py").write_text(FILL)
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {
        "MLOPT_CACHE": str(places["cache"]), "TMPDIR": str(places["temporary"]),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
    }
    mount = f"mount -t tmpfs -o size=1m none {places[small]} && exec \"$@\""
    command = [*PRIVATE, "sh", "-c", mount, "sh", sys.executable, str(tmp_path / "script.py"), work,
               str(places["result"])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2, done.stderr
    assert f"No space left on device, on the disk that is mounted at {places[small]}." in said and says in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("private_mounts")
def test_a_page_for_a_full_disk_is_no_fault_of_the_standard_output(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom mlopt import files\nfrom mlopt.cli.exit_codes import explained\n"
        "sys.exit(explained(lambda: files.write_atomically(Path(sys.argv[1]) / 'page.html', bytes(4 << 20))))\n"
    )
    command = [*PRIVATE, "sh", "-c", f"mount -t tmpfs -o size=1m none {tmp_path} && exec \"$@\"", "sh",
               sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and f"mounted at {tmp_path}" in " ".join(done.stderr.split())
    assert "standard output" not in done.stderr


BUNDLE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from mlopt import plugins
from mlopt.cli.exit_codes import explained
from mlopt.pipeline import bundle

made = Path(sys.argv[1])
FORMAT = plugins.format_of(made)
candidate = SimpleNamespace(path="one/" + made.name, format=FORMAT, precision="float32")
material = SimpleNamespace(entries={(FORMAT, "float32"): SimpleNamespace(made=made.parent)})
sys.exit(explained(lambda: bundle.write(SimpleNamespace(candidates=(candidate,)), material, Path(sys.argv[2]))))
"""
UPDATE = "import sys; from mlopt.cli import main; sys.argv[0] = 'mlopt'; main()"


def on_a_small_disk(at, script, *arguments, before=":"):
    mount = f"mount -t tmpfs -o size=1m none {at} && {before}; exec \"$@\""
    command = [*PRIVATE, "sh", "-c", mount, "sh", sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=at.parent)
    return done.returncode, " ".join(done.stderr.split())


@pytest.mark.usefixtures("private_mounts")
@pytest.mark.parametrize("made", ["model.tflite", "model.mlpackage"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_result_that_does_not_fit_names_its_own_disk_and_not_the_one_it_is_copied_from(tmp_path, made, inside):
    (tmp_path / "entry/model.mlpackage/Data").mkdir(parents=True)
    (tmp_path / "entry/model.tflite").write_bytes(bytes(4 << 20))
    (tmp_path / "entry/model.mlpackage/Data/weight.bin").write_bytes(bytes(4 << 20))
    small = tmp_path / "small"
    small.mkdir()
    out = small if inside else small / "bundle"         # a folder that is a disk of its own is filled from inside
    code, said = on_a_small_disk(small, BUNDLE, tmp_path / "entry" / made, out)
    assert code == 2, said
    assert said == (
        f"mlopt: cannot write {out}: No space left on device, on the disk that is mounted at {small}. "
        "Make room there, or choose another folder with --out."
    )


@pytest.mark.usefixtures("private_mounts")
@pytest.mark.parametrize(("command", "name", "remedy"), [
    (["check", "--markdown"], "gate.md", "name another file"),
    (["update", "--out"], "baseline.json", "choose another file with --out"),
])
def test_a_gates_file_that_does_not_fit_is_told_as_every_full_disk(tmp_path, command, name, remedy):
    (tmp_path / "m.tflite").write_bytes(b"no model")
    (tmp_path / "mlopt-budget.toml").write_text(
        'schema = 1\n[[budget]]\nmodel = "*.tflite"\nsize = { max = 50_000 }\n')
    small = tmp_path / "small"
    small.mkdir()
    code, said = on_a_small_disk(small, UPDATE, "gate", command[0], "m.tflite", command[1], small / name,
                                 before=f"cat /dev/zero > {small}/filler 2> /dev/null")
    assert code == 2 and said.endswith(
        f"mlopt: cannot write {small}/{name}: No space left on device, on the disk that is mounted at {small}. "
        f"Make room there, or {remedy}."
    )


def test_a_file_in_no_folder_asks_for_the_folder_and_keeps_its_own_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        files.write_atomically(tmp_path / "not-there/page.html", b"")
    assert str(disks.out_of_room(caught.value, [])) == (
        f"cannot write {tmp_path}/not-there/page.html: No such file or directory. Create the folder.")


def full(path=None):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def test_a_named_file_tells_its_disk_and_who_else_could_hold_it(tmp_path):
    places = [Place(what="finished stages", folder=tmp_path, elsewhere="name another folder in MLOPT_CACHE")]
    said = str(disks.out_of_room(full(str(tmp_path / "a/b")), places))
    assert said == (f"cannot write {tmp_path}/a/b: No space left on device, on the disk that is mounted at "
                    f"{disks.mount_point(tmp_path)}. Make room there, or name another folder in MLOPT_CACHE.")


def test_where_room_came_back_all_places_are_named_with_what_is_free(tmp_path):
    places = [Place(what=name, folder=tmp_path / name, elsewhere=f"move {name}") for name in ("one", "two")]
    for place in places:
        place.folder.mkdir()
    said = str(disks.out_of_room(full(), places))
    assert said.startswith("cannot write one or two: No space left on device. Make room there: ")
    assert all(f"{place.folder} has " in said and place.elsewhere in said for place in places)


def test_a_mount_point_is_a_folder_above_that_is_on_the_same_disk(tmp_path):
    found = disks.mount_point(tmp_path / "not/there/yet")
    assert tmp_path.is_relative_to(found) and os.path.ismount(found)
    assert found.stat().st_dev == tmp_path.stat().st_dev


def test_a_lack_of_permission_asks_for_no_room(tmp_path):
    said = str(disks.out_of_room(PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "x")), []))
    assert "Make it writable" in said and "room" not in said


def test_the_probe_of_a_disk_leaves_nothing_behind(tmp_path):
    assert disks.full([Place(what="x", folder=Path(tmp_path), elsewhere="")]) == ()
    assert list(tmp_path.iterdir()) == []
