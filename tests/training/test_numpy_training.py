"""The loop trains whatever brings a step: here one dense layer in numpy, killed and continued to the same bytes."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.errors import BadRequest, TrainingDiverged
from mlopt.frameworks.fitting import FitTask, Hold, LabelLoss, Optimizer, Schedule
from mlopt.frameworks.stepper import Batches, Figure, Lesson, Peers, Steps, Told
from mlopt.model import Signature, TensorSpec
from mlopt.outputs import LabelKind
from mlopt.training import checkpoints, events, loop
from mlopt.training.loop import fit

MOMENTUM = 0.9


class Dense:
    """`Trainable`: y = x W, least squares."""

    framework = "numpy"
    signature = Signature(
        inputs=(TensorSpec(name="x", shape=(None, 3), dtype="float32", layout="nc"),),
        outputs=(TensorSpec(name="y", shape=(None, 2), dtype="float32", layout="nc"),),
    )

    def __init__(self) -> None:
        self.kernel = np.zeros((3, 2))

    @contextmanager
    def stepper(self, lesson: Lesson) -> "Iterator[DenseStepper]":
        yield DenseStepper(self, lesson)

    def hand_over(self, folder: Path) -> None:
        raise BadRequest("one process is enough for a dense layer")


class DenseStepper:
    """Momentum, in float64."""

    parts = ("labels", "total")
    replicas = working = 1
    peers = Peers()
    measures = Figure.MINUS_LOSS
    notes = ("in numpy",)
    ready = True

    def __init__(self, model: Dense, lesson: Lesson) -> None:
        self.model, self.lesson, self.places = model, lesson, slice(0, lesson.task.batch)
        self.kernel, self.momentum = model.kernel.copy(), np.zeros_like(model.kernel)
        self.held: Mapping[str, Hold] = {}

    def place(self, batches: Batches) -> Batches:
        return batches

    def run(self, steps: Steps, rates: Sequence[float], placed: Batches) -> Iterator[Told]:
        assert placed.labels is not None
        losses = []
        for rate, x, y in zip(rates, placed.inputs["x"], placed.labels, strict=True):
            error = x @ self.kernel - y
            self.momentum = MOMENTUM * self.momentum + 2 * x.T @ error / error.size
            self.kernel = self.kernel - rate * self.momentum
            self._make_true()
            losses.append([np.mean(error**2)] * 2)
        yield steps, np.array(losses)

    def drained(self) -> Iterator[Told]:
        return iter(())

    def figure(self) -> float:
        validation = self.lesson.validation
        if validation is None:
            return float("nan")
        return -float(np.mean((validation.inputs["x"] @ self.kernel - validation.labels) ** 2))

    def weights(self) -> dict[str, np.ndarray]:
        return self.values()

    def hold(self, holds: Mapping[str, Hold], *, now: bool) -> None:
        self.held = holds
        if now:
            self._make_true()

    def _make_true(self) -> None:
        for hold in self.held.values():
            assert hold.mask is not None
            self.kernel = self.kernel * hold.mask

    def values(self) -> dict[str, np.ndarray]:
        return {"dense/kernel": self.kernel.copy()}

    def optimizer(self) -> dict[str, np.ndarray]:
        return {"momentum": self.momentum.copy()}

    def restore(self, values: Mapping[str, np.ndarray], optimizer: Mapping[str, np.ndarray] | None = None) -> None:
        self.kernel = values["dense/kernel"].copy()
        if optimizer is not None:
            self.momentum = optimizer["momentum"].copy()

    def deliver(self) -> None:
        self.model.kernel = self.kernel.copy()


TRUE = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]])


def write(folder: Path, count: int, seed: int) -> Path:
    x = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    write_arrays(folder, {"x": x}, role=Role.TEST, labels=(x @ TRUE).astype(np.float32))
    return folder


def task_of(folder: Path) -> FitTask:
    """Samples and checkpoints beneath this folder."""
    if not (folder / "train").exists():
        write(folder / "train", 43, 0)
        write(folder / "validation", 16, 1)
    return FitTask(
        samples=folder / "train", validation=folder / "validation", epochs=6, batch=8, checkpoint_every_s=0.0,
        losses=(LabelLoss(output="y", kind=LabelKind.VALUES),), checkpoints=folder / "checkpoints", seed=5,
        optimizer=Optimizer(name="sgd", learning_rate=0.1),
    )


class Masking:
    """From step 10 on, the first row of the kernel is zero."""

    every = 5

    def holds(self, step, steps, weights):
        mask = np.ones((3, 2), bool)
        mask[0] = step < 10
        return {"dense/kernel": Hold(mask=mask)}


def told(result):
    return [(f.epoch, f.losses, f.validation, f.learning_rate) for f in result.epochs]


def test_the_loop_minimises_and_says_how_far_it_came(tmp_path):
    model, heard = Dense(), []
    optimizer = Optimizer(name="sgd", learning_rate=0.1, schedule=Schedule.CONSTANT)
    result = fit(model, replace(task_of(tmp_path), epochs=60, optimizer=optimizer), heard.append)
    np.testing.assert_allclose(model.kernel, TRUE, atol=1e-3)
    assert (result.steps, len(result.epochs), result.replicas) == (300, 60, 1)
    assert heard[-1]["done"] == 300
    assert result.notes[0] == "in numpy"
    assert "3 samples of each epoch, others each time, fill no batch and are left out" in result.notes
    assert result.validation == result.epochs[-1].validation > -1e-5


def test_the_weights_are_those_of_the_formula_written_out(tmp_path):
    model, task = Dense(), replace(task_of(tmp_path), epochs=2, validation=None)
    fit(model, replace(task, optimizer=Optimizer(learning_rate=0.1, schedule=Schedule.CONSTANT, warmup=0.0)), id)
    samples = np.load(task.samples / "inputs" / "x.npy")
    kernel, momentum = np.zeros((3, 2)), np.zeros((3, 2))
    for epoch in range(2):
        rows = np.random.default_rng([5, 17, epoch]).permutation(43)
        for x in (samples[rows[i : i + 8]] for i in range(0, 40, 8)):
            momentum = 0.9 * momentum + x.T @ (x @ kernel - (x @ TRUE).astype(np.float32)) / 8
            kernel = kernel - 0.1 * momentum
    np.testing.assert_allclose(model.kernel, kernel, atol=1e-6)


class Ended(Exception):
    pass


@pytest.mark.parametrize("step", [3, 10, 17])
def test_a_training_that_ends_anywhere_goes_on_to_the_same_bytes(tmp_path, step, monkeypatch):
    monkeypatch.setattr(events, "EVERY_S", 0.0)
    task = replace(task_of(tmp_path), holder=Masking(), early_stopping=3)
    undisturbed, model = Dense(), Dense()
    expected = fit(undisturbed, replace(task, checkpoints=tmp_path / "other"), lambda event: None)

    def until(event):
        if event["done"] >= step:
            raise Ended

    with pytest.raises(Ended):
        fit(Dense(), task, until)
    result = fit(model, task, lambda event: None)
    assert 0 < result.resumed_at_step <= step
    assert model.kernel.tobytes() == undisturbed.kernel.tobytes()
    assert told(result) == told(expected)
    assert (model.kernel[0] == 0).all()


def test_a_process_that_is_killed_in_an_epoch_goes_on_to_the_same_bytes(tmp_path):
    def job(checkpoints: str, ends_at: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, __file__, str(tmp_path), checkpoints, str(ends_at)], check=False,
            capture_output=True, text=True,
        )

    task_of(tmp_path)
    killed = job("killed", 13)
    assert killed.returncode == -signal.SIGKILL
    resumed, *ended = job("killed", 0).stdout.split()
    assert 10 <= int(resumed) < 30
    assert ended == job("undisturbed", 0).stdout.split()[1:]


def test_the_best_weights_come_back_where_it_stops_early(tmp_path):
    class Worse(DenseStepper):
        """Its figure falls after the second epoch."""

        measured = 0

        def figure(self):
            self.measured += 1
            return {1: 0.1, 2: 0.9}.get(self.measured, 0.5)

    class Model(Dense):
        best = None

        @contextmanager
        def stepper(self, lesson):
            yield Worse(self, lesson)

    model, two = Model(), Dense()
    result = fit(model, replace(task_of(tmp_path), early_stopping=2), lambda event: None)
    assert (len(result.epochs), result.best_epoch, result.validation) == (4, 2, 0.9)
    stopped = checkpoints.Progress(step=20)
    assert result.steps == stopped.step
    with two.stepper(loop.lesson.prepared(two.signature, task_of(tmp_path))) as stepper:
        saved, _ = checkpoints.read(
            tmp_path / "checkpoints",
            checkpoints.digest(replace(task_of(tmp_path), early_stopping=2), stepper.values(), 1),
            stepper.values(), stepper.optimizer(),
        )
    assert model.kernel.tobytes() == saved.best["dense/kernel"].tobytes() != saved.values["dense/kernel"].tobytes()


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    optimizer = Optimizer(name="sgd", learning_rate=1e200, schedule=Schedule.CONSTANT)
    with np.errstate(all="ignore"), pytest.raises(TrainingDiverged):
        fit(Dense(), replace(task_of(tmp_path), optimizer=optimizer), lambda event: None)


def test_early_stopping_without_a_figure_is_refused_before_the_first_step(tmp_path):
    class Blind(DenseStepper):
        measures = Figure.NOTHING

    class Model(Dense):
        @contextmanager
        def stepper(self, lesson):
            yield Blind(self, lesson)

    heard = []
    with pytest.raises(BadRequest, match="early stopping needs a figure"):
        fit(Model(), replace(task_of(tmp_path), early_stopping=1), heard.append)
    assert heard == []


def main() -> None:
    """Train in a process of its own: folder, name of the checkpoints, step at which it kills itself (0: never)."""
    folder, name, ends_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    events.EVERY_S = 0.0
    model = Dense()

    def on_event(event):
        if ends_at and event["done"] >= ends_at:
            os.kill(os.getpid(), signal.SIGKILL)

    result = fit(model, replace(task_of(folder), checkpoints=folder / name), on_event)
    figures = hashlib.sha256(repr(told(result)).encode()).hexdigest()
    print(result.resumed_at_step, hashlib.sha256(model.kernel.tobytes()).hexdigest(), figures)


if __name__ == "__main__":
    main()
