"""Two runs of the same recipe at once: one works, and what it finished is not done again."""

from pathlib import Path

import pytest

from mlopt.cache import Cache
from mlopt.errors import OutputUnwritable
from mlopt.location import ModelLocation
from mlopt.model import Signature
from mlopt.pipeline.request import CompressRequest
from mlopt.pipeline.training import Training, _alone
from mlopt.pipeline.workspace import Workspace
from mlopt.recipe.steps import Recipe
from mlopt.steps.finetune import Finetune
from mlopt.worker import Crew


@pytest.fixture
def training(tmp_path):
    with Crew() as crew:
        yield Training(
            request=CompressRequest(model=ModelLocation(tmp_path / "model.h5"), out=tmp_path / "out"),
            recipe=Recipe(schema=1, about="Once.", steps=(Finetune(epochs=1),)),
            signature=Signature(inputs=(), outputs=()), samples=tmp_path / "samples", framework="keras",
            at=Workspace(crew=crew, store=Cache(tmp_path / "cache")),
        )


def task_of(training):
    entry = training.at.store.entry("step", code="", of="a test")
    return training._task(1, model=ModelLocation(Path("none.h5")), holds=None, entry=entry)


def test_a_step_that_another_run_finished_meanwhile_is_not_done_again(training):
    task = task_of(training)
    task.dest.mkdir()
    training._run(task)      # its model is no file: a worker that began would fail
    assert not list(task.dest.iterdir())


def test_a_step_that_another_run_is_at_work_on_is_left_to_it(training):
    task = task_of(training)
    task.work.mkdir()
    with _alone(task.work, training.at.store.root / "locks"), pytest.raises(OutputUnwritable, match="same step"):
        training._run(task)
    assert task.work.is_dir()
