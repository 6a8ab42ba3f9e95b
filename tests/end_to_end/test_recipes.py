"""A recipe from the command line: what it leaves, what it survives, and what it refuses before it begins."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from once import made_once

from mlopt.testing import tiny

MLOPT = str(Path(sys.executable).with_name("mlopt"))
RECIPE = """\
schema: 1
about: A tiny one.
steps:
  - slim: {macs: 0.8, epochs: 2, rounds: 2}
  - quantize: {scheme: int8, epochs: 3}
export:
  - {to: tflite, precision: int8}
  - {to: onnx, precision: int8}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    model = tiny.TinyModel(tiny.build("small_convnet"))
    inputs = tiny.inputs_for(model, 400, 5)
    labels = model.predict(inputs)["label"].argmax(axis=1)
    path = tmp_path_factory.mktemp("train") / "train.npz"
    np.savez(path, image=inputs["image"], label=labels)
    return path


def command(files, train, recipe, out):
    return [MLOPT, "compress", str(files / "model.h5"), "--recipe", str(recipe), "--train", str(train), "--test",
            str(files / "test.npz"), "--out", str(out), "--max-drop", "0.5", "--json"]


def run(files, train, recipe, out, cache):
    environment = os.environ | {"MLOPT_CACHE": str(cache), "COLUMNS": "120"}
    return subprocess.run(command(files, train, recipe, out), env=environment, capture_output=True, text=True,
                          timeout=600, check=False)


@pytest.fixture(scope="module")
def trained(files, train, recipe, tmp_path_factory):
    def carry_out(place):
        done = run(files, train, recipe, place / "bundle", place / "cache")
        assert done.returncode == 0, done.stderr
        (place / "stdout.json").write_text(done.stdout)

    place = made_once(tmp_path_factory, "trained", carry_out)
    return place, json.loads((place / "stdout.json").read_text())


def test_files_come_from_what_the_recipe_trained_and_are_held_against_the_source(trained):
    place, printed = trained
    report = json.loads((place / "bundle/report.json").read_text())
    assert [(c["format"], c["precision"]) for c in printed["candidates"]] == [
        ("tflite", "float32"), ("tflite", "int8"), ("onnx", "float32"), ("onnx", "int8")]
    assert all(c["verified"] for c in printed["candidates"])
    assert printed["source"]["path"].endswith("model.h5") and report["baseline"]["value"] == 1.0
    steps = printed["trained"]["steps"]
    assert [(s["name"], s["epochs"]) for s in steps] == [("slim", 2), ("quantize", 3)]
    assert steps[0]["macs"] <= 0.8 * printed["source"]["macs"]
    manifest = json.loads((place / "bundle/manifest.json").read_text())
    assert manifest["lineage"]["recipe"] == printed["trained"]["sha256"] != ""
    assert printed["trained"]["train_samples"] + printed["trained"]["validation_samples"] <= 400


def test_integer_files_give_the_answers_of_the_graph_that_was_trained(trained):
    report = json.loads((trained[0] / "bundle/report.json").read_text())
    said = [c["choices"]["training graph"] for c in report["candidates"] if c["precision"] == "int8"]
    assert len(said) == 2
    for sentence in said:
        assert float(sentence.split("answer on ")[1].split(" ")[0]) >= 0.97


def test_event_files_for_tensorboard_stand_beside_the_bundle(trained):
    assert [p for p in (trained[0] / "bundle-logs").rglob("events.out.tfevents*")]


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and p.parent != folder}


def test_five_kills_anywhere_change_nothing(files, train, recipe, trained, tmp_path):
    moments = random.Random(4)
    environment = os.environ | {"MLOPT_CACHE": str(tmp_path / "cache")}
    for _ in range(5):
        with subprocess.Popen(command(files, train, recipe, tmp_path / "bundle"), env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                process.wait(timeout=moments.uniform(4, 20))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
    done = run(files, train, recipe, tmp_path / "bundle", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "bundle") == contents(trained[0] / "bundle")


def test_a_worker_that_the_system_kills_is_told_with_the_way_on(files, train, tmp_path):
    long = tmp_path / "long.yaml"
    long.write_text("schema: 1\nabout: Long.\nsteps:\n  - finetune: {epochs: 5000, batch: 16, teacher: none}\n")
    environment = os.environ | {"MLOPT_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command(files, train, long, tmp_path / "bundle"), env=environment, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert any("training, epoch" in line for line in process.stderr)
        for worker in psutil.Process(process.pid).children():
            worker.kill()
        said = process.stderr.read()
    assert process.returncode == 75 and "Traceback" not in said, said
    assert re.search(r"step 1, finetune: .*SIGKILL.* The same command goes on from its last checkpoint", said), said
    assert not (tmp_path / "bundle").exists()


BAD = {
    "unknown-key": ("- finetune: {epochs: 1, learning_rat: 0.1}", "recipe.yaml:4.*learning_rat.*learning_rate"),
    "wrong-type": ("- finetune: {epochs: many}", "recipe.yaml:4.*epochs.*whole number"),
    "impossible-target": ("- slim: {macs: 0.0001, epochs: 1}", "smallest|at least|cannot"),
    "missing-teacher": ("- distill: {teacher: nobody.h5, epochs: 1}", "nobody.h5"),
    "a-file-that-is-no-teacher": ("- distill: {teacher: /etc/passwd, epochs: 1}", "/etc/passwd: this is not a model"),
    "a-folder-that-is-no-teacher": ("- distill: {teacher: /etc, epochs: 1}", "/etc: this folder has no saved_model.pb"),
    "all-zeros": ("- prune: {sparsity: 1.0, epochs: 1}", "sparsity"),
    "zero-epochs": ("- finetune: {epochs: 0}", "epochs"),
    "after-quantize": ("- quantize: {epochs: 1}\n  - slim: {macs: 0.5, epochs: 1}", "recipe.yaml:5"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recipe_is_refused_before_any_training(name, mlopt_here, files, train, tmp_path):
    steps, message = BAD[name]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"schema: 1\nabout: Bad.\nsteps:\n  {steps}\n")
    done = mlopt_here(*command(files, train, recipe, tmp_path / "bundle")[1:])
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr and "training, epoch" not in done.stderr
    assert re.search(message, " ".join(last)), done.stderr
    assert not (tmp_path / "bundle").exists()


def test_a_teacher_with_other_classes_is_refused_before_any_training(mlopt_here, files, train, tmp_path):
    tiny.build("depthwise_convnet").save(tmp_path / "teacher.h5", save_format="h5")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"schema: 1\nabout: Bad.\nsteps:\n  - distill: {{teacher: {tmp_path}/teacher.h5, epochs: 1}}\n")
    done = mlopt_here(*command(files, train, recipe, tmp_path / "bundle")[1:])
    assert done.returncode == 2 and "teacher.h5" in done.stderr and "training, epoch" not in done.stderr


def test_a_recipe_without_training_samples_says_what_is_missing(files, recipe, mlopt, tmp_path):
    done = mlopt("compress", files / "model.h5", "--recipe", recipe, "--out", tmp_path / "bundle")
    assert done.returncode == 2 and "--train" in done.stderr


def test_training_samples_without_a_recipe_would_not_be_used(files, train, mlopt, tmp_path):
    done = mlopt("compress", files / "model.h5", "--train", train, "--out", tmp_path / "bundle")
    assert done.returncode == 2 and "nothing is trained without --recipe" in " ".join(done.stderr.split())
