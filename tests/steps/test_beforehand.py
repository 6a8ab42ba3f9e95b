"""A recipe that cannot be finished is refused before its first step trains, not hours later."""

import numpy as np
import pytest

from mlopt.errors import BadRequest
from mlopt.recipe.steps import Step
from mlopt.steps import beforehand
from mlopt.steps.beforehand import Numbered
from mlopt.steps.cluster import Cluster
from mlopt.steps.distill import Distill, Student
from mlopt.steps.finetune import Finetune
from mlopt.steps.prune import Prune
from mlopt.steps.quantize import Quantize
from mlopt.steps.slim import Slim
from mlopt.testing import steps, tiny

FIRST = Finetune(epochs=1, batch=32)
LATER: dict[str, tuple[Step, str]] = {
    "batch": (Finetune(epochs=1, batch=4096), "batch of 4,096 .* 96: say `batch: 96`"),
    "augmentation": (Finetune(epochs=1, batch=32, augment=("time-mask",)), "time"),
    "slimmer-than-can-be": (Slim(macs=0.01, epochs=1, batch=32), "smallest share"),
    "fewer-bytes-than-4-bits": (Quantize(scheme="mixed-4-8", bytes=10), "10 bytes cannot be reached"),
    "values": (Cluster(values=256, epochs=1, batch=32), "too few to share"),
}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return steps.context(tmp_path_factory.mktemp("beforehand"))


def check(context, *recipe: Step) -> None:
    beforehand.check([Numbered(number=at, step=step) for at, step in enumerate(recipe, 1)], context)


def test_a_recipe_that_can_be_carried_out_passes(context):
    check(context, Slim(macs=0.8, epochs=1, batch=32), Prune(epochs=1, batch=32), Quantize(epochs=1, batch=32))


@pytest.mark.parametrize("name", LATER)
def test_a_later_step_is_refused_by_its_number(name, tmp_path):
    step, sentence = LATER[name]
    dense = {"augmentation": "autoencoder"}.get(name, "small_convnet")
    around = steps.context(tmp_path, dense, labels=np.zeros((96, 24)) if dense == "autoencoder" else "answers")
    with pytest.raises(BadRequest, match=f"step 2, {step.name}: .*{sentence}"):
        check(around, FIRST, step)


def test_a_batch_of_the_first_step_is_looked_at_before_a_teacher_is_asked(context):
    with pytest.raises(BadRequest, match="step 1, finetune: a batch of 97"):
        check(context, Finetune(epochs=1, batch=97))


def test_a_teacher_of_another_task_is_refused_before_an_earlier_step_trains(context, tmp_path):
    tiny.build("depthwise_convnet").save(tmp_path / "words.h5")
    with pytest.raises(BadRequest, match=r"step 2, distill: the teacher .*words\.h5 has other inputs"):
        check(context, FIRST, Distill(epochs=1, batch=32, teacher=str(tmp_path / "words.h5")))


def test_missing_labels_are_missed_before_a_step_that_needs_none_trains(tmp_path):
    around = steps.context(tmp_path, labels="none")
    with pytest.raises(BadRequest, match="step 2, quantize: the training samples have no labels"):
        check(around, Finetune(epochs=1, batch=32, labels=0), Quantize(epochs=1, batch=32))


@pytest.mark.parametrize(
    "first", [Slim(macs=0.5, epochs=1, batch=32), Distill(student=Student(width=0.5), epochs=1, batch=32)],
    ids=["slim", "student"],
)
def test_targets_behind_a_step_that_changes_widths_are_left_to_their_own_step(first, context):
    check(context, first, Quantize(scheme="mixed-4-8", bytes=400))
    with pytest.raises(BadRequest, match="400 bytes cannot be reached"):
        check(context, FIRST, Quantize(scheme="mixed-4-8", bytes=400))


def test_bytes_that_no_cut_can_reach_are_refused_before_the_cut(context):
    cut = Slim(macs=0.5, epochs=1, batch=32)
    with pytest.raises(BadRequest, match=r"step 2, quantize: even with one channel in each group: .*10 bytes"):
        check(context, cut, Quantize(scheme="mixed-4-8", bytes=10, epochs=1, batch=32))


class Told(Exception):
    """Training would begin now."""


def begin(context, recipe, model) -> None:
    """The first step's training of a model that it made."""
    def train(*args, **keywords):
        raise Told

    numbered = [Numbered(number=at, step=step) for at, step in enumerate(recipe, 1)]
    beforehand.watched(train, numbered, context)(model, 1, "first", holds={})


def test_targets_are_looked_at_once_the_widths_are_known(context):
    """By hand: kernels at 4 bits are half of their bytes at 8, biases and scales stay, so no network gets to half."""
    steps = [Distill(student=Student(width=0.5), epochs=1, batch=32), Quantize(scheme="mixed-4-8", share=0.5)]
    check(context, *steps)
    with pytest.raises(BadRequest, match=r"step 2, quantize: .* cannot be reached"):
        begin(context, steps, context.model)


def test_widths_in_the_middle_of_several_rounds_decide_nothing(context):
    steps = [Slim(macs=0.5, rounds=2, epochs=2, batch=32), Quantize(scheme="mixed-4-8", share=0.5)]
    with pytest.raises(Told):
        begin(context, steps, context.model)


def test_targets_behind_a_second_resizing_wait_for_it(context):
    steps = [
        Distill(student=Student(width=0.5), epochs=1, batch=32), Slim(macs=0.8, epochs=1, batch=32),
        Quantize(scheme="mixed-4-8", share=0.5),
    ]
    with pytest.raises(Told):
        begin(context, steps, context.model)
