"""The format of docs/examples/converter: a package of its own, found by its entry point, held to the shipped contract."""

import json
import subprocess
import sys

import numpy as np
import pytest
from example_sites import EXAMPLES, installed

from mlopt.testing import tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with models and samples, and the environment where the example is installed."""
    folder = tmp_path_factory.mktemp("dense")
    environment = installed("converter", folder / "site") | {"MLOPT_CACHE": str(folder / "cache")}
    for name in ("autoencoder", "small_convnet"):
        model = tiny.TinyModel(tiny.build(name))
        model.model.save(folder / f"{name}.h5")
        np.savez(folder / f"{name}.npz", **tiny.inputs_for(model, 64))
    return folder, environment


def mlopt(place, *words):
    folder, environment = place
    program = [sys.executable, "-c", "from mlopt.cli import main; main()", *map(str, words)]
    return subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_it_keeps_the_shipped_contract(place):
    _, environment = place
    tests = EXAMPLES / "converter/tests/test_dense.py"
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tests.parent), "-c", "/dev/null", str(tests)]
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_its_files_are_made_proven_and_timed_like_any_other(place):
    folder, _ = place
    run = mlopt(place, "compress", "autoencoder.h5", "--test", "autoencoder.npz", "--to", "dense", "--out", "out", "--json")
    assert run.returncode == 0, run.stderr
    found = {c["precision"]: c for c in json.loads(run.stdout)["candidates"]}
    assert found.keys() == {"float32", "int8-weights"} and all(c["verified"] for c in found.values())
    assert all(c["latency_ratio"] > 0 for c in found.values())
    # 24*16 + 16*4 + 4*16 + 16*24 kernels: one byte each in place of four, and as many bytes around them
    assert found["float32"]["bytes"] - found["int8-weights"]["bytes"] == 3 * (24 * 16 + 16 * 4 + 4 * 16 + 16 * 24)
    with np.load(folder / "out" / found["int8-weights"]["path"]) as stored:
        assert stored["0.kernel"].dtype == np.int8


def test_what_it_cannot_hold_is_a_finding_and_the_other_formats_are_made(place):
    run = mlopt(
        place, "compress", "small_convnet.h5", "--test", "small_convnet.npz", "--to", "dense,onnx", "--precision",
        "float32", "--out", "convnet", "--json",
    )
    summary = json.loads(run.stdout)
    (said,) = [f["message"] for f in summary["findings"] if f["about"].startswith("dense") and f["severity"] == "failure"]
    assert "Conv2D in conv2d" in said
    assert {c["format"] for c in summary["candidates"] if c["verified"]} == {"onnx"}


def test_doctor_and_the_gate_know_it(place):
    doctor = mlopt(place, "doctor", "--json")
    extras = {extra["name"]: extra for extra in json.loads(doctor.stdout)["extras"]}
    assert extras["dense"]["gives"] == "writes dense networks as .npz files and runs them in NumPy"
    assert extras["dense"]["versions"]["numpy"] == np.__version__
