"""The step of docs/examples/step: a package of its own, found by its entry point, held to the shipped contract."""

import json

import numpy as np
import pytest
from example_sites import EXAMPLES, site

from mlopt.testing import tiny

RECIPE = EXAMPLES / "step/recipe.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and samples, and the environment where the example is installed."""
    folder = tmp_path_factory.mktemp("noise")
    model = tiny.TinyModel(tiny.build("small_convnet"))
    model.model.save(folder / "model.h5")
    for name, count, seed in (("train", 48, 1), ("test", 32, 2)):
        np.savez(folder / f"{name}.npz", **tiny.inputs_for(model, count, seed))
    return site(folder, "step")


def test_it_keeps_the_shipped_contract(place):
    place.keeps_its_contract("step/tests/test_noise.py")


def test_a_recipe_with_it_is_carried_out_and_its_file_is_of_the_network_that_it_left(place):
    run = place.mlopt(
        "compress", "model.h5", "--recipe", RECIPE, "--train", "train.npz", "--test", "test.npz", "--to", "onnx",
        "--precision", "float32", "--max-drop", "0.5", "--out", "out", "--json",
    )
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)
    (step,), (file,) = summary["trained"]["steps"], summary["candidates"]
    assert (step["name"], step["epochs"], step["settings"]["share"]) == ("noise", 2, 0.1)
    assert file["verified"] and file["max_abs_error"] > 1e-3        # a float file of the source is off by 1e-6


def test_its_keys_are_explained_and_a_wrong_one_is_refused_with_its_line(place):
    folder = place.folder
    explained = place.mlopt("recipes", "explain", "noise")
    assert explained.returncode == 0 and "Of a kernel's root mean square" in explained.stdout
    (folder / "wrong.yaml").write_text(
        "schema: 1\nabout: wrong\nsteps:\n  - noise:\n      share: 0.1\n      epochs: 0\n"
    )
    refused = place.mlopt("compress", "model.h5", "--recipe", "wrong.yaml", "--train", "train.npz")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "wrong.yaml:6: `noise` without training makes a network worse" in refused.stderr
