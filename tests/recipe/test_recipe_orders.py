"""Orders and settings that cannot work are refused with the reason; sensible ones are not."""

import itertools

import pytest

from mlopt.recipe.check import find_problem
from mlopt.recipe.load import RecipeInvalid, load
from mlopt.recipe.steps import Recipe
from mlopt.steps.cluster import Cluster
from mlopt.steps.distill import Distill, Student
from mlopt.steps.finetune import Finetune
from mlopt.steps.prune import Prune
from mlopt.steps.quantize import Quantize
from mlopt.steps.slim import Slim

SENSIBLE = {
    "distill": Distill(epochs=1), "slim": Slim(macs=0.5, epochs=1), "prune": Prune(epochs=1),
    "cluster": Cluster(epochs=1), "quantize": Quantize(epochs=1), "finetune": Finetune(epochs=1),
}
# What each step may not stand after, worked out by hand.
NEVER_AFTER = {
    "distill": {"quantize"}, "finetune": {"quantize"}, "quantize": {"quantize"},
    "slim": {"quantize"}, "prune": {"quantize", "cluster", "prune"},
    "cluster": {"quantize", "cluster"},
}


def recipe(*steps) -> Recipe:
    return Recipe(schema=1, about="x", steps=steps)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(SENSIBLE, SENSIBLE)))
def test_a_pair_of_steps_is_refused_exactly_where_the_second_undoes_the_first(first, second):
    pair = recipe(SENSIBLE[first], SENSIBLE[second])
    problem = find_problem(pair)
    assert (problem is not None and problem.step == 1) if first in NEVER_AFTER[second] else problem is None


@pytest.mark.parametrize(("steps", "said"), [
    ((Finetune(),), "for how many `epochs`"),
    ((Distill(),), "for how many `epochs`"),
    ((Prune(),), "nothing trains the rest"),
    ((Distill(epochs=1, teacher="none"),), "needs a teacher"),
    ((Distill(epochs=1, labels=1.0),), "no weight"),
    ((Distill(epochs=1, hints=1.0, teacher="a.h5,b.h5"),), "features of one teacher"),
    ((Distill(epochs=1, student=Student(width=0.5, depth=0.5)),), "width and depth"),
    ((Distill(epochs=1, student=Student(width=1.0)),), "keeps everything"),
    ((Slim(),), "exactly one target"),
    ((Slim(macs=0.5, latency=0.5),), "macs and latency"),
    ((Slim(macs=0.5, format="onnx"),), "name it with `latency` alone"),
    ((Slim(macs=0.5, epochs=2, rounds=3),), "at least one epoch a round"),
    ((Slim(macs=1.0),), "at least 0 and below 1"),
    ((Prune(epochs=1, sparsity=1.0),), "above 0 and below 1"),
    ((Prune(epochs=1, sparsity=float("nan")),), "above 0 and below 1"),
    ((Prune(epochs=1, pattern="2:4", sparsity=0.6),), "exactly half"),
    ((Prune(epochs=1, begin=0.8),), "begin earlier"),
    ((Quantize(bytes=100),), "budget of mixed-4-8"),
    ((Quantize(scheme="mixed-4-8"),), "bytes or share"),
    ((Finetune(epochs=1, teacher="none", labels=0.5),), "leaves the labels alone"),
    ((Finetune(epochs=1, labels=0.0, class_weights="balanced"),), "`labels: 0`"),
    ((Finetune(epochs=3, early_stopping=3),), "cannot pass in 3"),
    ((Slim(macs=0.5, epochs=6, rounds=3, early_stopping=2),), "cannot pass in 2"),
    ((Cluster(learning_rate=0.1),), "say `epochs` too"),
    ((Slim(macs=0.5), Distill(epochs=1, student=Student(file="s.h5"))), "put this `distill` first"),
    ((Prune(epochs=1, pattern="2:4"), Distill(epochs=1, student=Student(width=0.5))), "before `prune`"),
    ((Prune(epochs=1, pattern="2:4"), Finetune(epochs=1), Slim(macs=0.5)), "out of the pattern 2:4"),
    ((Prune(epochs=1, pattern="block-1x4"), Slim(macs=0.5)), "out of the pattern block-1x4"),
    ((Prune(epochs=9, early_stopping=2),), "older than the zeros"),
    ((Prune(epochs=1, pattern="2:4", scope="global"),), "half of every kernel"),
    ((Prune(epochs=1, sparsity=0.7), Prune(epochs=1, sparsity=0.6)), "reached 0.7 already"),
    ((Prune(epochs=1, sparsity=0.7), Prune(epochs=1, pattern="2:4")), "nothing left to choose"),
])
def test_what_cannot_work_is_refused_with_the_reason(steps, said):
    problem = find_problem(recipe(*steps))
    assert problem is not None and said in problem.sentence


@pytest.mark.parametrize("steps", [
    (Prune(), Finetune(epochs=1)),
    (Prune(epochs=1, sparsity=0.5), Prune(epochs=1, sparsity=0.8)),
    (Prune(epochs=1), Cluster(), Distill(epochs=1), Quantize(epochs=1)),
    (Distill(epochs=1, student=Student(file="s.h5")), Slim(macs=0.5), Slim(latency=0.9), Quantize()),
    (Slim(macs=0.5), Distill(epochs=1, student=Student(width=0.5))),
    (Prune(epochs=1), Distill(epochs=1, student=Student(width=0.5)), Slim(macs=0.5), Quantize()),
    (Finetune(epochs=1, teacher="none", labels=1.0),),
    (Distill(epochs=1, labels=1.0, hints=0.5),),
])
def test_what_can_work_is_let_through(steps):
    assert find_problem(recipe(*steps)) is None


def test_a_senseless_order_in_a_file_is_said_at_the_step(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("schema: 1\nabout: x\nsteps:\n  - quantize: {epochs: 1}\n  - finetune:\n      epochs: 2\n")
    with pytest.raises(RecipeInvalid, match=r"r.yaml:6: `finetune` would move weights off the grid"):
        load(path)


def test_a_default_that_is_written_down_counts_as_said(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("schema: 1\nabout: x\nsteps:\n  - finetune:\n"
                    "      epochs: 2\n      teacher: none\n      labels: 0.3\n")
    with pytest.raises(RecipeInvalid, match=r"r.yaml:7: `labels` shares"):
        load(path)
