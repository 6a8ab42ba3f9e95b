"""Every step, and every pair of steps that makes sense, on a tiny network: what the first made holds afterwards."""

import json
from itertools import product

import numpy as np
import pytest

from mlopt import plain
from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.frameworks import open_trainable
from mlopt.frameworks.fitting import Strategy
from mlopt.grid import Grid
from mlopt.location import ModelLocation
from mlopt.pipeline.step_task import HOLDS, MODEL, RECORD, StepTask
from mlopt.pipeline.workers.step import read_holds, run_step
from mlopt.recipe.check import find_problem
from mlopt.recipe.steps import Recipe
from mlopt.steps.cluster import Cluster
from mlopt.steps.distill import Distill
from mlopt.steps.finetune import Finetune
from mlopt.steps.prune import Prune
from mlopt.steps.quantize import Quantize
from mlopt.steps.slim import Slim
from mlopt.testing import tiny

STEPS = {
    "distill": Distill(epochs=1),
    "slim": Slim(macs=0.7, multiple=1, epochs=1),
    "prune": Prune(sparsity=0.5, epochs=1),
    "cluster": Cluster(values=8, epochs=1),
    "quantize": Quantize(scheme="int8", epochs=1),
    "mixed": Quantize(scheme="mixed-4-8", share=0.8, epochs=1),
    "finetune": Finetune(epochs=1),
}


def sensible(*names):
    recipe = Recipe(schema=1, about="", steps=tuple(STEPS[name] for name in names), export=())
    return find_problem(recipe) is None


PAIRS = [pair for pair in product(STEPS, repeat=2) if sensible(*pair)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    model = tiny.build("small_convnet")
    model.save(folder / "model.h5", save_format="h5")
    wrapped = tiny.TinyModel(model)
    for role, seed, count in ((Role.TRAIN, 1, 128), (Role.VALIDATION, 2, 64)):
        inputs = tiny.inputs_for(wrapped, count, seed)
        labels = wrapped.predict(inputs)["label"].argmax(axis=1)
        write_arrays(folder / role.value, inputs, role=role, labels=labels, signature=wrapped.signature)
    return folder


@pytest.fixture(scope="module")
def carried_out(files, tmp_path_factory):
    """Carry out steps in order, each chain of first steps once; gives the folder of the last."""
    folders = {}

    def run(*names):
        if names not in folders:
            before = run(*names[:-1]) if len(names) > 1 else None
            place = tmp_path_factory.mktemp("-".join(names))
            run_step(StepTask(
                number=len(names), later=(), name=STEPS[names[-1]].name, settings=plain.to_plain(STEPS[names[-1]]),
                model=ModelLocation(before / MODEL if before else files / "model.h5"),
                holds=before / HOLDS if before else None, validation_before=None,
                source=ModelLocation(files / "model.h5"), framework="keras",
                train=files / "train", validation=files / "validation", work=place / "work", logs=place / "logs",
                dest=place / "done", seed=3, strategy=Strategy.ONE, track="",
            ))
            folders[names] = place / "done"
        return folders[names]

    return run


@pytest.mark.parametrize("names", [(name,) for name in STEPS] + PAIRS, ids="-".join)
def test_steps_leave_a_model_that_opens_and_keeps_what_they_made(names, carried_out, files):
    folder = carried_out(*names)
    model = open_trainable(ModelLocation(folder / MODEL))
    record = json.loads((folder / RECORD).read_text())
    source = open_trainable(ModelLocation(files / "model.h5"))
    assert record["epochs"] >= 1 and record["parameters"] <= record["parameters_before"]
    assert record["macs"] == model.network.macs
    if "slim" in names:
        assert model.network.macs <= 0.7 * source.network.macs
    weights = model.weights()
    if "prune" in names:
        masked = [name for name, hold in read_holds(folder / HOLDS).items() if hold.mask is not None]
        kernels = [weights[name] for name in masked]
        assert kernels and all(np.mean(kernel == 0) >= 0.45 for kernel in kernels)
    if "cluster" in names and not {"quantize", "mixed"} & set(names):
        tied = {name: hold for name, hold in read_holds(folder / HOLDS).items() if hold.ties is not None}
        assert tied and all(len(np.unique(weights[name])) <= 8 for name in tied)
    if {"quantize", "mixed"} & set(names):
        grid = Grid.read(folder)
        assert grid.weights and grid.activations and grid.probe_outputs()
        assert {g.bits for g in grid.weights.values()} <= ({8} if "quantize" in names else {4, 8})
    else:
        assert not (folder / "grid.json").exists()


def test_what_comes_after_quantize_makes_no_sense():
    assert not any(first in ("quantize", "mixed") for first, _ in PAIRS)
    assert {(a, b) for a, b in PAIRS if a == "slim"} >= {("slim", "quantize"), ("slim", "prune"), ("slim", "finetune")}
