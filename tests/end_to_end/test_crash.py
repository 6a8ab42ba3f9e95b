"""What dies in a worker costs that candidate, or that format, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"       # with mlopt_zipped
MLOPT = str(Path(sys.executable).with_name("mlopt"))

DOOR = '''
from mlopt.convert.protocol import Exporter, Precision
from mlopt_zipped import ZippedConverter

MAKE = "mlopt_doomed.room:make"

class Doomed(ZippedConverter):
    name = "doomed"
    precisions = (
        *ZippedConverter.precisions[:1],
        Precision(name="killed", about="Ends as a full memory ends it.", needs_samples=False, make=MAKE),
        Precision(name="refused", about="Says why it cannot be made.", needs_samples=False, make=MAKE),
        Precision(name="broken", about="A bug with a traceback.", needs_samples=False, make=MAKE),
        ZippedConverter.precisions[1],
    )

class Stillborn(ZippedConverter):
    name = "stillborn"
    exporters = {"keras": Exporter(function="mlopt_doomed.room:export")}
'''
ROOM = '''
import os
import signal
from mlopt.errors import UnsupportedOps
from mlopt_zipped import files

def export(model, signature, dest):
    os.abort()

def make(float_file, precision, dest, **rest):
    if precision == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if precision == "refused":
        raise UnsupportedOps("Doomed", {"Conv2D": ["conv2d_1"]})
    if precision == "broken":
        raise ZeroDivisionError("a bug")
    return files.make(float_file, precision, dest, **rest)
'''


@pytest.fixture(scope="module")
def ended(files, cache, tmp_path_factory):
    """A run with a converter installed beside ours, two of whose precisions end their worker."""
    site = tmp_path_factory.mktemp("site")
    package, metadata = site / "mlopt_doomed", site / "mlopt_doomed-1.0.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").write_text(DOOR)
    (package / "room.py").write_text(ROOM)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mlopt-doomed\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[mlopt.converters]\ndoomed = mlopt_doomed:Doomed\nstillborn = mlopt_doomed:Stillborn\n"
    )
    out = tmp_path_factory.mktemp("ended") / "bundle"
    environment = os.environ | {"MLOPT_CACHE": str(cache), "PYTHONPATH": os.pathsep.join([str(site), str(SUPPORT)])}
    run = subprocess.run(
        [MLOPT, "compress", str(files / "model.h5"), "--test", str(files / "test.npz"), "--out", str(out),
         "--to", "stillborn,doomed,tflite", "--precision", "killed,refused,broken,int8", "--max-drop", "0.5", "--json"],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )
    assert run.stdout, run.stderr
    return run, json.loads(run.stdout)


def test_the_others_are_made_and_the_exit_code_says_that_some_are_not(ended):
    run, summary = ended
    verified = {(c["format"], c["precision"]): c["verified"] for c in summary["candidates"]}
    assert verified == {
        ("doomed", "float32"): True, ("doomed", "killed"): False, ("doomed", "refused"): False,
        ("doomed", "broken"): False, ("doomed", "int8"): True, ("tflite", "float32"): True, ("tflite", "int8"): True,
        ("stillborn", "float32"): False, ("stillborn", "int8"): False,
    }
    assert run.returncode == 3


def test_each_failure_is_a_finding_about_its_candidate_or_format(ended):
    _, summary = ended
    told = {f["about"]: f["message"] for f in summary["findings"] if f["severity"] == "failure"}
    assert told.keys() == {"doomed/killed", "doomed/refused", "doomed/broken", "stillborn"}
    assert "ended by SIGABRT" in told["stillborn"]
    assert "ended by SIGKILL; the system was probably out of memory" in told["doomed/killed"]
    assert "Conv2D in conv2d_1" in told["doomed/refused"]
    assert "ZeroDivisionError: a bug" in told["doomed/broken"]


def test_what_failed_is_never_recommended(ended):
    _, summary = ended
    assert {(c["format"], c["precision"]) for c in summary["candidates"] if c["recommended"]} == {
        ("doomed", "int8"), ("tflite", "int8")}
