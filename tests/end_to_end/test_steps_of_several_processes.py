"""A step that several processes train, from the command line: all of them are held in, and find each other."""

import json

import numpy as np

from mlopt.testing import tiny

RECIPE = """\
about: One epoch.
schema: 1
steps:
  - finetune: {epochs: 1, teacher: none}
"""


def test_workers_that_step_together_train_inside(mlopt, files, tmp_path):
    model = tiny.TinyModel(tiny.build("small_convnet"))
    inputs = tiny.inputs_for(model, 600, 1)
    np.savez(tmp_path / "train.npz", image=inputs["image"], label=model.predict(inputs)["label"].argmax(axis=1))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = mlopt(
        "compress", files / "model.h5", "--recipe", tmp_path / "recipe.yaml", "--train", tmp_path / "train.npz",
        "--strategy", "multi-worker", "--to", "tflite", "--precision", "float16", "--max-drop", "0.9", "--out",
        tmp_path / "bundle", "--json", cache_folder=tmp_path / "cache",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "bundle" / "report.json").read_text())["trained"]["steps"][0]["epochs"] == 1
