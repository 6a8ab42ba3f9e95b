"""The format of docs/examples/converter: a package of its own, found by its entry point, held to the contract."""

import json

import numpy as np
import pytest
from example_sites import site

from mlopt.exits import Exit
from mlopt.testing import tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with models and samples, and the environment where the example is installed."""
    folder = tmp_path_factory.mktemp("dense")
    for name in ("autoencoder", "small_convnet"):
        model = tiny.TinyModel(tiny.build(name))
        model.model.save(folder / f"{name}.h5")
        np.savez(folder / f"{name}.npz", **tiny.inputs_for(model, 64))
    return site(folder, "converter")


def test_it_keeps_the_shipped_contract(place):
    place.keeps_its_contract("converter/tests/test_dense.py")


def test_its_files_are_made_proven_and_timed_like_any_other(place):
    folder = place.folder
    options = ["--test", "autoencoder.npz", "--to", "dense", "--out", "out", "--json"]
    run = place.mlopt("compress", "autoencoder.h5", *options)
    assert run.returncode == 0, run.stderr
    found = {c["precision"]: c for c in json.loads(run.stdout)["candidates"]}
    assert found.keys() == {"float32", "int8-weights"} and all(c["verified"] for c in found.values())
    assert all(c["latency_ratio"] > 0 for c in found.values())
    # 24*16 + 16*4 + 4*16 + 16*24 kernels: one byte each in place of four, and as many bytes around them
    assert found["float32"]["bytes"] - found["int8-weights"]["bytes"] == 3 * (24 * 16 + 16 * 4 + 4 * 16 + 16 * 24)
    with np.load(folder / "out" / found["int8-weights"]["path"]) as stored:
        assert stored["0.kernel"].dtype == np.int8


def test_what_it_cannot_hold_is_a_finding_and_the_other_formats_are_made(place):
    run = place.mlopt(
        "compress", "small_convnet.h5", "--test", "small_convnet.npz", "--to", "dense,onnx", "--precision", "float32",
        "--out", "convnet", "--json",
    )
    assert run.returncode == Exit.INCOMPLETE, run.stderr
    summary = json.loads(run.stdout)
    (said,) = [found["message"] for found in summary["findings"] if found["severity"] == "failure"]
    assert "Conv2D in conv2d" in said
    assert {c["format"] for c in summary["candidates"] if c["verified"]} == {"onnx"}


def test_doctor_knows_what_it_gives(place):
    doctor = place.mlopt("doctor", "--json")
    extras = {extra["name"]: extra for extra in json.loads(doctor.stdout)["extras"]}
    assert extras["dense"]["gives"] == "writes dense networks as .npz files and runs them in NumPy"
    assert extras["dense"]["versions"]["numpy"] == np.__version__


def test_a_step_cannot_time_it_since_it_has_no_draft_and_a_misspelt_format_is_put_right(place):
    folder = place.folder
    for name, said in (("dense", "it can time tflite and onnx: name one in `format`"), ("onxx", "Did you mean 'onnx'")):
        recipe = folder / f"{name}.yaml"
        recipe.write_text(f"schema: 1\nabout: x\nsteps:\n  - slim: {{latency: 0.75, format: {name}}}\n")
        run = place.mlopt("compress", "autoencoder.h5", "--recipe", recipe, "--train", "autoencoder.npz")
        assert run.returncode == Exit.BAD_INPUT and "Traceback" not in run.stderr
        assert said in " ".join(run.stderr.split())
