"""A recipe that cuts to a latency: drafts are made and timed in the sandbox, in the format that the recipe names."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A network whose time is in its channels, and samples."""
    import tf_keras

    folder = tmp_path_factory.mktemp("wide")
    layers = [
        tf_keras.layers.Input((24, 24, 8), name="image"),
        *(tf_keras.layers.Conv2D(64, 3, padding="same", activation="relu") for _ in range(2)),
        tf_keras.layers.GlobalAveragePooling2D(), tf_keras.layers.Dense(4, activation="softmax", name="label"),
    ]
    tf_keras.utils.set_random_seed(1)
    tf_keras.Sequential(layers).save(folder / "model.h5")
    for seed, name in enumerate(("train", "test")):
        images = np.random.default_rng(seed).normal(size=(64, 24, 24, 8)).astype(np.float32)
        np.savez(folder / f"{name}.npz", image=images)
    return folder


def test_a_network_is_cut_to_a_latency_that_drafts_of_the_named_format_have(wide, mlopt, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "schema: 1\nabout: faster\nsteps:\n  - slim: {latency: 0.7, least: 0.5, criterion: magnitude, format: onnx}\n"
        "export:\n  - {to: onnx, precision: float32}\n"
    )
    done = mlopt(
        "compress", wide / "model.h5", "--recipe", recipe, "--train", wide / "train.npz", "--test", wide / "test.npz",
        "--max-drop", "0.9", "--out", tmp_path / "out", "--json",
    )
    assert done.returncode == 0, done.stderr
    (step,) = json.loads((tmp_path / "out/report.json").read_text())["trained"]["steps"]
    assert step["settings"]["format"] == "onnx"
    assert step["facts"]["latency"]["smallest_us"] < 0.7 * step["facts"]["latency"]["whole_us"]
    assert step["parameters"] < step["parameters_before"] == (9 * 8 + 1) * 64 + (9 * 64 + 1) * 64 + 65 * 4
