"""The framework of docs/examples/framework: a package of its own, found by its entry point, held to the contract."""

import json

import numpy as np
import pytest
from example_sites import site

from mlopt.exits import Exit

WEIGHTS = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]], np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and samples, and the environment where the example is installed."""
    folder = tmp_path_factory.mktemp("linear")
    np.savez(folder / "model.npz", weights=WEIGHTS, bias=np.zeros(2, np.float32))
    np.savez(folder / "samples.npz", x=np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
    return site(folder, "framework")


def test_it_keeps_the_shipped_contract(place):
    place.keeps_its_contract("framework/tests/test_linear.py")


def test_load_says_what_its_model_is(place):
    told = "import mlopt, json; s = mlopt.load('model.npz'); print(json.dumps([s.framework, s.parameters, s.macs]))"
    done = place.python("-c", told)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["linear", 8, 6]


def test_an_error_of_its_own_comes_out_of_the_worker_as_a_sentence(place):
    folder = place.folder
    (folder / "cut.npz").write_bytes((folder / "model.npz").read_bytes()[:300])
    run = place.mlopt("compress", "cut.npz")
    assert run.returncode == Exit.BAD_INPUT
    said = " ".join(run.stderr.split())
    assert "cut.npz: it cannot be read: File is not a zip file. Write it with numpy.savez" in said


def test_compress_says_which_formats_write_no_models_of_it(place):
    options = ["--data", "samples.npz", "--to", "tflite,onnx", "--out", "out", "--json"]
    run = place.mlopt("compress", "model.npz", *options)
    assert run.returncode == Exit.INCOMPLETE, run.stderr
    said = {f["message"] for f in json.loads(run.stdout)["findings"] if f["severity"] == "failure"}
    wanted = "{} has no exporter for linear models; it writes those of keras."
    assert said == {wanted.format(name) for name in ("tflite", "onnx")}


def test_a_step_of_a_recipe_trains_its_model(place):
    folder = place.folder
    x = np.random.default_rng(1).normal(size=(256, 3)).astype(np.float32)
    for name, rows in (("train", x[:192]), ("test", x[192:])):
        np.savez(folder / f"{name}.npz", x=rows, labels=(rows @ -WEIGHTS).astype(np.float32))
    (folder / "recipe.yaml").write_text(
        "schema: 1\nabout: The opposite of what it says.\nsteps:\n  - finetune: {epochs: 20, batch: 16, optimizer: sgd,"
        " learning_rate: 0.02, teacher: none}\nexport:\n  - {to: tflite, precision: float32}\n"
    )
    options = ["--train", "train.npz", "--test", "test.npz", "--recipe", "recipe.yaml", "--out", "trained", "--json"]
    run = place.mlopt("compress", "model.npz", *options)
    assert run.returncode == Exit.INCOMPLETE, run.stderr
    (step,) = json.loads((folder / "trained/report.json").read_text())["trained"]["steps"]
    assert step["epochs"] == 20
    assert step["validation_before"] < 0 and step["validation"] > 0.999      # R2 of the opposite, and of what it learnt


def test_a_file_that_no_framework_takes_is_refused_with_all_that_are_taken(place):
    (place.folder / "letter.txt").write_text("no model")
    run = place.mlopt("compress", "letter.txt")
    assert run.returncode == Exit.BAD_INPUT
    assert "trained Keras models" in run.stderr and "linear models: a .npz file" in run.stderr


def test_doctor_knows_what_it_gives(place):
    extras = {extra["name"]: extra for extra in json.loads(place.mlopt("doctor", "--json").stdout)["extras"]}
    assert extras["linear"]["gives"] == "opens and trains linear models in .npz files"
