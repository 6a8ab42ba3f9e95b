"""The framework of docs/examples/framework: a package of its own, found by its entry point, held to the contract."""

import json
import subprocess
import sys

import numpy as np
import pytest
from example_sites import EXAMPLES, installed

from mlopt.exits import Exit

WEIGHTS = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]], np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and samples, and the environment where the example is installed."""
    folder = tmp_path_factory.mktemp("linear")
    environment = installed("framework", folder / "site") | {"MLOPT_CACHE": str(folder / "cache")}
    np.savez(folder / "model.npz", weights=WEIGHTS, bias=np.zeros(2, np.float32))
    np.savez(folder / "samples.npz", x=np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
    return folder, environment


def python(place, *words):
    folder, environment = place
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )


def mlopt(place, *words):
    return python(place, "-c", "from mlopt.cli import main; main()", *words)


def test_it_keeps_the_shipped_contract(place):
    tests = EXAMPLES / "framework/tests/test_linear.py"
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", tests.parent, "-c", "/dev/null"]
    done = python(place, "-m", "pytest", *options, tests)
    assert done.returncode == 0, done.stdout[-4000:]


def test_load_says_what_its_model_is(place):
    told = "import mlopt, json; s = mlopt.load('model.npz'); print(json.dumps([s.framework, s.parameters, s.macs]))"
    done = python(place, "-c", told)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["linear", 8, 6]


def test_an_error_of_its_own_comes_out_of_the_worker_as_a_sentence(place):
    folder, _ = place
    (folder / "cut.npz").write_bytes((folder / "model.npz").read_bytes()[:300])
    run = mlopt(place, "compress", "cut.npz")
    assert run.returncode == Exit.BAD_INPUT
    said = " ".join(run.stderr.split())
    assert "cut.npz: it cannot be read: File is not a zip file. Write it with numpy.savez" in said


def test_compress_says_which_formats_write_no_models_of_it(place):
    options = ["--data", "samples.npz", "--to", "tflite,onnx", "--out", "out", "--json"]
    run = mlopt(place, "compress", "model.npz", *options)
    assert run.returncode == Exit.INCOMPLETE, run.stderr
    said = {f["message"] for f in json.loads(run.stdout)["findings"] if f["severity"] == "failure"}
    wanted = "{} has no exporter for linear models; it writes those of keras."
    assert said == {wanted.format(name) for name in ("tflite", "onnx")}


def test_a_file_that_no_framework_takes_is_refused_with_all_that_are_taken(place):
    (place[0] / "letter.txt").write_text("no model")
    run = mlopt(place, "compress", "letter.txt")
    assert run.returncode == Exit.BAD_INPUT
    assert "trained Keras models" in run.stderr and "linear models: a .npz file" in run.stderr


def test_doctor_knows_what_it_gives(place):
    extras = {extra["name"]: extra for extra in json.loads(mlopt(place, "doctor", "--json").stdout)["extras"]}
    assert extras["linear"]["gives"] == "opens and trains linear models in .npz files"
