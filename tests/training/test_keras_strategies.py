"""Several devices and several processes: the same training as on one, and a member that is killed is survived."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.errors import BadRequest, WorkerCrashed, WorkerTimeout
from mlopt.frameworks.fitting import FitResult, FitTask, InputFacts, LabelLoss, Optimizer, Strategy
from mlopt.frameworks.keras.fitting import remote
from mlopt.frameworks.keras.network.model import trainable as take_apart
from mlopt.grid import ActivationGrid
from mlopt.network import Kind
from mlopt.outputs import LabelKind
from mlopt.scheme import INT8
from mlopt.testing import tiny
from mlopt.training import cluster
from mlopt.worker import Cancelled

JOB = Path(__file__).with_name("strategy_job.py")


def trainable(name="small_transformer"):
    one = tiny.TinyModel(tiny.build(name))
    return take_apart(one.model, one.signature)


@pytest.fixture
def samples(tmp_path):
    random = np.random.default_rng(0)
    tokens = random.normal(size=(64, 6, 8)).astype(np.float32)
    classes = np.arange(64, dtype=np.int32) % 4
    tokens[np.arange(64), 0, classes] += 2
    write_arrays(tmp_path / "samples", {"tokens": tokens}, role=Role.TEST, labels=classes)
    return tmp_path / "samples"


def task_of(samples, work, *, strategy, batch, epochs):
    return FitTask(
        samples=samples, validation=samples, epochs=epochs, batch=batch, checkpoints=work, checkpoint_every_s=0.0,
        strategy=strategy, losses=(LabelLoss(output="topic", kind=LabelKind.CATEGORIES),),
        augment=("time-shift", "noise"),
        optimizer=Optimizer(name="sgd", learning_rate=0.05, clip_norm=1.0, weight_decay=0.01),
    )


def alone(samples, work, epochs):
    """Weights after the same training in one process, with a batch of twice the size."""
    model = trainable()
    result = model.fit(
        task_of(samples, work, strategy=Strategy.ONE, batch=16, epochs=epochs), lambda event: None
    )
    return model.weights(), result


# Sums over 16 samples in another order than 8 and 8: rounding of float32 through the steps, nothing more.
TOLERANCE = 1e-5


def test_two_mirrored_replicas_are_one_with_a_batch_of_twice_the_size(samples, tmp_path):
    work = tmp_path / "mirrored"
    done = subprocess.run(
        [sys.executable, str(JOB), str(samples), str(work)], capture_output=True, text=True, check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    replicas, steps, loss = done.stdout.split()[-3:]
    expected, result = alone(samples, tmp_path / "alone", 3)
    assert (replicas, steps) == ("2", "12")
    assert float(loss) == pytest.approx(result.epochs[-1].losses["total"], rel=1e-5)
    with np.load(work / "weights.npz") as found:
        for name, array in expected.items():
            np.testing.assert_allclose(found[name.replace("/", "|")], array, atol=TOLERANCE)


def members():
    """Processes of the cluster that this process started: children of the one that watches them."""
    return [process for child in psutil.Process().children() for process in child.children()]


@dataclass
class Killing:
    """Ends one member by SIGKILL once the training stands at `step`."""

    step: int
    killed: int = 0
    restarts: int = 0

    def __call__(self, event):
        self.restarts += event.get("doing") == "restarting"
        if not self.killed and event.get("done", 0) >= self.step:
            victim = members()[-1]
            self.killed = victim.pid
            victim.kill()


def test_two_workers_of_which_one_is_killed_end_as_one_with_a_batch_of_twice_the_size(samples, tmp_path):
    model, killing = trainable(), Killing(step=40)
    result = model.fit(
        task_of(samples, tmp_path / "together", strategy=Strategy.MULTI_WORKER, batch=8, epochs=60), killing
    )
    expected, undisturbed = alone(samples, tmp_path / "alone", 60)
    assert killing.killed
    assert killing.restarts == 1
    assert (result.replicas, result.steps) == (2, 240)
    assert result.resumed_at_step > 0
    assert any("1 times a member was lost" in note for note in result.notes)
    assert len(result.epochs) == 60
    assert result.epochs[-1].losses["total"] == pytest.approx(undisturbed.epochs[-1].losses["total"], abs=1e-3)
    for name, array in model.weights().items():
        np.testing.assert_allclose(array, expected[name], atol=1e-3)      # 240 steps of rounding
    assert members() == []


def test_workers_around_a_server_train_and_survive_a_kill(samples, tmp_path):
    model, killing = trainable(), Killing(step=60)
    result = model.fit(
        task_of(samples, tmp_path / "around", strategy=Strategy.PARAMETER_SERVER, batch=8, epochs=40), killing
    )
    assert killing.killed
    assert killing.restarts == 1
    assert (result.replicas, result.steps) == (2, 320)
    assert result.resumed_at_step > 0
    assert result.epochs[-1].losses["total"] < 0.8 * result.epochs[0].losses["total"]
    assert any("do not agree bit for bit" in note for note in result.notes)
    assert members() == []


def test_what_one_process_refuses_starts_no_cluster(samples, tmp_path):
    task = task_of(samples, tmp_path / "c", strategy=Strategy.MULTI_WORKER, batch=100, epochs=1)
    with pytest.raises(BadRequest, match="larger than the data"):
        trainable().fit(task, lambda event: None)


def test_a_network_on_its_grid_travels_to_other_processes(tmp_path):
    plain = trainable("small_convnet").folded()
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    nodes = [node.name for node in plain.network.nodes if node.kind is not Kind.INPUT]
    ranges = {
        name: ActivationGrid(low=min(0.0, float(a.min())), high=float(a.max()) + 0.1)
        for name, a in plain.activations(nodes, {"image": x}).items()
    }
    kernels = {node.name: INT8.weights[0] for node in plain.network.nodes if node.kind is Kind.CONVOLUTION}
    gridded = plain.on_grid(ranges, kernels)
    task = FitTask(samples=tmp_path, validation=None, losses=(), epochs=1, checkpoints=tmp_path)
    (tmp_path / remote.REQUEST).write_bytes(remote._packed(gridded, task))
    twin, arrived = remote.unpacked(tmp_path / remote.REQUEST)
    assert arrived == task
    np.testing.assert_array_equal(twin.keras_model(x), gridded.predict({"image": x})["label"])
    assert set(twin.variables) == {name for name in gridded.variables}


def test_a_holder_that_cannot_travel_is_refused_in_a_sentence(samples, tmp_path):
    class Local:
        every = 1

        def holds(self, step, steps, weights):
            return None

    from dataclasses import replace

    task = task_of(samples, tmp_path / "c", strategy=Strategy.MULTI_WORKER, batch=8, epochs=1)
    with pytest.raises(BadRequest, match="cannot be handed to other processes"):
        trainable().fit(replace(task, holder=Local()), lambda event: None)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(Local())


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}'])
def test_a_tf_config_that_is_no_cluster_is_refused(text):
    with pytest.raises(BadRequest, match="TF_CONFIG is no cluster"):
        cluster.given({"TF_CONFIG": text})


def test_a_place_in_a_given_cluster_is_read():
    config = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    place = cluster.given({"TF_CONFIG": json.dumps(config)})
    assert (place.spec, place.kind, place.index) == ({"worker": ["a:1", "b:2"]}, "worker", 1)
    assert cluster.given({}) is None


def test_only_what_may_do_better_the_next_time_is_begun_again():
    watch = cluster._Watch()
    assert cluster._may_return(WorkerCrashed("t", "was ended by SIGKILL"), watch)
    assert cluster._may_return(cluster.MemberLost("t", "gone"), watch)
    assert not cluster._may_return(WorkerCrashed("t", "failed with KeyError: 'x'"), watch)
    assert not cluster._may_return(WorkerTimeout("t", 1.0), watch)
    watch.steps |= {8, 16}
    assert cluster._may_return(WorkerCrashed("t", "failed with InternalError"), watch)


@pytest.mark.parametrize(("place", "leading"), [
    (cluster.Given(spec={"worker": ["a:1", "b:2"]}, kind="worker", index=1), {("worker", 1): True}),
    (None, {("worker", 0): True, ("worker", 1): False}),
])
def test_the_member_whose_caller_waits_brings_the_weights_back(place, leading, monkeypatch):
    told = {}

    class Crew:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def stop(self):
            pass

        def run(self, job, kind, hear):
            told[job.arguments["kind"], job.arguments["index"]] = job.arguments["leads"]
            if not job.arguments["leads"]:
                raise Cancelled("stopped")          # as when the one that leads is done
            return FitResult(
                epochs=(), best_epoch=0, validation=0.0, steps=1, replicas=2, resumed_at_step=0,
                input=InputFacts(waiting=0.0, samples_per_second=1.0, applied=(), advice=()),
            )

    monkeypatch.setattr(cluster, "Crew", Crew)
    cluster._attempt("request", place or cluster._here(0), alone=place is None, watch=cluster._Watch())
    assert told == leading
