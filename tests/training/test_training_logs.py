"""What a training tells beside its result: events, TensorBoard's files, a real MLflow server."""

import json
import math
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from mlopt.errors import OutputUnwritable
from mlopt.frameworks.fitting import FitTask, LabelLoss, Optimizer
from mlopt.frameworks.keras.fitting import logs
from mlopt.frameworks.keras.network.model import trainable as take_apart
from mlopt.frameworks.keras.quiet import tf
from mlopt.outputs import LabelKind
from mlopt.testing import tiny
from mlopt.training import tracking

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow", "ignore::FutureWarning:mlflow")


def trainable():
    one = tiny.TinyModel(tiny.build("small_convnet"))
    return take_apart(one.model, one.signature)


@pytest.fixture
def task(blobs, tmp_path):
    return FitTask(
        samples=blobs("train", 32), validation=blobs("validation", 16, seed=1), epochs=2, batch=8,
        losses=(LabelLoss(output="label", kind=LabelKind.CATEGORIES),), optimizer=Optimizer(learning_rate=5e-3),
        checkpoints=tmp_path / "checkpoints",
    )


def test_event_files_hold_losses_validation_rate_and_waiting(task, tmp_path):
    result = trainable().fit(replace(task, logs=tmp_path / "logs"), lambda event: None)
    read = EventAccumulator(str(tmp_path / "logs"), size_guidance={"tensors": 0})
    read.Reload()
    tags = set(read.Tags()["tensors"])
    assert {"loss/labels", "loss/total", "validation", "learning_rate", "waiting", "epoch/total"} <= tags
    told = [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in read.Tensors("validation")]
    assert told == [(4 * f.epoch, pytest.approx(f.validation)) for f in result.epochs]
    assert read.Tensors("learning_rate")[-1].step == 8
    curve = scalar_pb("validation", 0.5).value[0].metadata.plugin_data         # how TensorBoard itself writes a number
    assert read.SummaryMetadata("validation").plugin_data == curve


def test_events_come_at_most_twice_a_second_with_the_time_left(monkeypatch):
    now, told = [100.0], []
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    events = logs.Events(told.append, steps=100, epochs=2)
    for done in range(1, 13):
        events.tell(done=done, epoch=1, loss=1.0, validation=float("nan"))
        now[0] += 0.125
        events.timed(0.125, 1)
    events.validation_s = 3.0
    events.tell(done=13, epoch=1, loss=1.0, validation=0.5)
    assert [event["done"] for event in told] == [1, 5, 9, 13]
    assert math.isnan(told[0]["left_s"])
    assert told[1]["left_s"] == pytest.approx(95 * 0.125)
    assert told[3]["left_s"] == pytest.approx(87 * 0.125 + 2 * 3.0)


def test_a_server_that_is_not_there_is_told_before_the_first_step(task):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    events = []
    with pytest.raises(OutputUnwritable, match="no MLflow server answers there"):
        trainable().fit(replace(task, track=f"mlflow:http://127.0.0.1:{port}"), events.append)
    assert events == []


class Server:
    """A real MLflow server on loopback with SQLite."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = (folder / "server.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers",
             "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
             "--artifacts-destination", str(folder / "artifacts")],
            stdout=self.log, stderr=self.log, start_new_session=True,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def await_answer(self, seconds=180):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, "the server ended"
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.5)
        pytest.fail("the MLflow server did not start")

    def asked(self, path, **body):
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def kill(self):
        import signal

        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    one = Server(folder)
    yield one
    one.kill()


def test_a_real_server_gets_figures_and_its_death_costs_figures_alone(task, server):
    server.await_answer()
    tracked = replace(task, track=f"mlflow:{server.uri}")
    result = trainable().fit(tracked, lambda event: None)
    experiment = server.asked("experiments/search", max_results=10, filter="name = 'mlopt'")["experiments"][0]
    run = server.asked("runs/search", experiment_ids=[experiment["experiment_id"]])["runs"][0]
    params = {p["key"]: p["value"] for p in run["data"]["params"]}
    metrics = {m["key"]: m["value"] for m in run["data"]["metrics"]}
    assert run["info"]["status"] == "FINISHED"
    assert (params["epochs"], params["optimizer"], params["batch"]) == ("2", "adam", "8")
    assert metrics["validation"] == result.validation
    assert metrics["loss/labels"] == pytest.approx(result.epochs[-1].losses["labels"])

    def killing(event):
        if event["epoch"] == 2:
            server.kill() if server.process.poll() is None else None

    undisturbed = trainable()
    undisturbed.fit(replace(task, epochs=3, checkpoints=task.checkpoints.with_name("u")), lambda event: None)
    model = trainable()
    monkey = logs.EVERY_S
    logs.EVERY_S = 0.0
    try:
        lost = model.fit(replace(tracked, epochs=3, checkpoints=task.checkpoints.with_name("k")), killing)
    finally:
        logs.EVERY_S = monkey
    assert any("did not reach" in note and "epoch 2, 3" in note for note in lost.notes)
    assert all((array == model.weights()[name]).all() for name, array in undisturbed.weights().items())


def test_a_server_that_does_not_answer_is_told_before_anything_is_begun():
    with pytest.raises(OutputUnwritable, match="no MLflow server answers there"):
        tracking.check("mlflow:http://127.0.0.1:9")
    tracking.check("")
