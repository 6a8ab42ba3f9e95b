"""What the worker of a training step may reach, by how it trains."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlopt import plain
from mlopt.frameworks.fitting import Strategy
from mlopt.location import ModelLocation
from mlopt.pipeline.step_task import StepTask
from mlopt.pipeline.training import step_reach
from mlopt.sandbox import Network
from mlopt.steps.finetune import Finetune

STORE = Path("/cache")


@pytest.fixture
def task():
    return StepTask(
        number=1, name="finetune", settings=plain.to_plain(Finetune(epochs=1, teacher="source, big.h5")),
        later=(), model=ModelLocation(Path("/m.h5")), holds=None, validation_before=None,
        source=ModelLocation(Path("/m.h5")), framework="keras", train=STORE / "train", validation=STORE / "validation",
        work=STORE / "work",
        logs=Path("/logs"), dest=STORE / "step", seed=0, strategy=Strategy.ONE, track="",
    )


def test_a_step_reads_its_models_and_writes_what_it_continues(task):
    reach = step_reach(task, STORE, {})
    assert reach.reads == (Path("/m.h5"), Path("big.h5"), STORE)
    assert reach.writes == (STORE / "work", Path("/logs"))
    assert reach.network is Network.NOTHING


@pytest.mark.parametrize("strategy", [Strategy.MULTI_WORKER, Strategy.PARAMETER_SERVER])
def test_a_cluster_on_this_machine_has_loopback_and_a_given_one_the_network(task, strategy):
    alone = replace(task, strategy=strategy)
    assert step_reach(alone, STORE, {}).network is Network.LOOPBACK
    assert step_reach(alone, STORE, {"TF_CONFIG": "{}"}).network is Network.EVERYTHING


@pytest.mark.parametrize("strategy", [Strategy.ONE, Strategy.AUTO, Strategy.MIRRORED])
def test_a_cluster_in_the_environment_opens_no_network_for_a_step_that_trains_alone(task, monkeypatch, strategy):
    monkeypatch.setattr("mlopt.pipeline.training._GPUS", "no-such-device*")
    reach = step_reach(replace(task, strategy=strategy), STORE, {"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'})
    assert reach.network is Network.NOTHING


def test_a_tracked_step_reaches_its_server_and_writes_where_the_tracker_does(task, tmp_path):
    assert step_reach(replace(task, track="mlflow:http://server"), STORE, {}).network is Network.EVERYTHING
    local = step_reach(replace(task, track=f"mlflow:sqlite:///{tmp_path}/new/runs.db"), STORE, {})
    assert local.writes == (STORE / "work", Path("/logs"), tmp_path / "new")
    assert (tmp_path / "new").is_dir()
