"""A training that was ended anywhere goes on, and ends where the undisturbed one does."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlopt.frameworks.fitting import (
    AttentionLoss,
    FitTask,
    HintLoss,
    Hold,
    LabelLoss,
    Optimizer,
    Strategy,
)
from mlopt.frameworks.keras.fitting import checkpoints
from mlopt.frameworks.keras.network.model import trainable as take_apart
from mlopt.outputs import LabelKind
from mlopt.testing import tiny

JOB = Path(__file__).with_name("fit_job.py")


def trainable(name="small_convnet", seed=0):
    one = tiny.TinyModel(tiny.build(name, seed))
    return take_apart(one.model, one.signature)


class Ended(Exception):
    pass


def until(step):
    def on_event(event):
        if event["done"] >= step:
            raise Ended

    return on_event


@pytest.fixture(autouse=True)
def every_event(monkeypatch):
    from mlopt.frameworks.keras.fitting import logs

    monkeypatch.setattr(logs, "EVERY_S", 0.0)


@pytest.fixture
def task(blobs, tmp_path):
    return FitTask(
        samples=blobs("train", 40), validation=blobs("validation", 16, seed=1), epochs=3, batch=8,
        losses=(LabelLoss(output="label", kind=LabelKind.CATEGORIES),), optimizer=Optimizer(learning_rate=5e-3),
        checkpoints=tmp_path / "checkpoints", checkpoint_every_s=0.0, augment=("flip", "shift"),
    )


class Sparser:
    """Masks more of a kernel every 2 steps, by what it holds at that moment."""

    every = 2

    def holds(self, step, steps, weights):
        kernel = np.abs(weights["conv2d_1/kernel"])
        return {"conv2d_1/kernel": Hold(mask=kernel >= np.quantile(kernel, 0.8 * step / steps))}


@pytest.mark.parametrize("step", [3, 5, 8])
def test_a_training_ended_in_or_between_epochs_goes_on_bit_for_bit(task, tmp_path, step):
    task = replace(task, holder=Sparser(), early_stopping=2)
    undisturbed = trainable()
    expected = undisturbed.fit(replace(task, checkpoints=tmp_path / "other"), lambda event: None)
    with pytest.raises(Ended):
        trainable().fit(task, until(step))
    model = trainable()
    result = model.fit(task, lambda event: None)
    assert 0 < result.resumed_at_step < 15
    for name, array in undisturbed.weights().items():
        assert np.array_equal(array, model.weights()[name]), name
    told = [[(f.epoch, f.validation, f.losses, f.learning_rate) for f in r.epochs] for r in (expected, result)]
    assert told[0] == told[1]
    assert (expected.best_epoch, expected.validation) == (result.best_epoch, result.validation)


def test_a_finished_training_is_not_run_again(task):
    first, second = trainable(), trainable()
    done = first.fit(task, lambda event: None)
    again = second.fit(task, lambda event: None)
    assert (again.resumed_at_step, again.steps, again.epochs) == (15, 15, done.epochs)
    assert all(np.array_equal(a, second.weights()[name]) for name, a in first.weights().items())


def run_job(data, folder, wait_s):
    return subprocess.Popen(
        [sys.executable, str(JOB), str(data), str(folder), str(wait_s)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )


def test_kill_9_in_the_middle_of_an_epoch_changes_nothing_of_the_result(blobs, tmp_path):
    blobs("train", 40)
    blobs("validation", 16, seed=1)
    undisturbed = run_job(tmp_path, tmp_path / "undisturbed", 0)
    with run_job(tmp_path, tmp_path / "killed", 0.4) as victim:
        for line in victim.stdout:
            if line.startswith("step") and int(line.split()[1]) >= 7:
                break
        victim.send_signal(signal.SIGKILL)
    lines = run_job(tmp_path, tmp_path / "killed", 0).communicate()[0].splitlines()
    expected = undisturbed.communicate()[0].splitlines()
    resumed = int(next(line for line in lines if line.startswith("resumed")).split()[1])
    assert 0 < resumed < 20
    assert lines[-1] == expected[-1]
    assert lines[-1].startswith("end ")


def test_a_checkpoint_of_another_training_is_not_continued_and_that_is_told(task):
    with pytest.raises(Ended):
        trainable().fit(task, until(3))
    result = trainable().fit(replace(task, epochs=1), lambda event: None)
    assert result.resumed_at_step == 0
    assert any("not continued: it is of another task" in note for note in result.notes)


def test_the_digest_of_a_training_is_of_what_decides_its_result(task, tmp_path, blobs):
    weights = trainable().weights()
    own = checkpoints.digest(task, weights, 1)
    others = [
        checkpoints.digest(replace(task, epochs=2), weights, 1), checkpoints.digest(replace(task, seed=1), weights, 1),
        checkpoints.digest(replace(task, augment=()), weights, 1), checkpoints.digest(task, weights, 2),
        checkpoints.digest(replace(task, samples=blobs("others", 40, seed=7)), weights, 1),
        checkpoints.digest(task, trainable(seed=5).weights(), 1),
        checkpoints.digest(replace(task, holder=Sparser()), weights, 1),
        *(checkpoints.digest(replace(task, losses=(kind(student_node="a", teacher_node="b"),)), weights, 1)
          for kind in (HintLoss, AttentionLoss)),
    ]
    assert len({own, *others}) == 10
    shutil.copytree(task.samples, tmp_path / "moved")
    elsewhere = replace(
        task, samples=tmp_path / "moved", checkpoints=tmp_path, checkpoint_every_s=9.0, logs=tmp_path / "logs",
        strategy=Strategy.ONE, track="mlflow:somewhere",
    )
    assert checkpoints.digest(elsewhere, weights, 1) == own


def broken(kind, path):
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    elif kind == "pickled":
        np.savez(path, meta=np.array([{"step": 1}], dtype=object))
    elif kind == "huge":
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        np.savez_compressed(path, **arrays, w999=np.zeros(1 << 25, np.float32))


WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(4, np.float32)]
SAVED = checkpoints.Saved(
    progress=checkpoints.Progress(step=3, sums=(1.0, 2.0), best=float("-inf")), weights=WEIGHTS, optimizer=WEIGHTS * 2,
    best=WEIGHTS, holds={"k": Hold(mask=np.eye(2, 3, dtype=bool), ties=np.zeros((2, 3), np.int32))},
)


def read(folder, digest="d", weights=WEIGHTS):
    return checkpoints.read(folder, digest, weights, WEIGHTS * 2, {"k": 0})


def test_a_checkpoint_gives_back_what_was_written(tmp_path):
    checkpoints.write(tmp_path, "d", SAVED)
    saved, why_not = read(tmp_path)
    assert (saved.progress, why_not) == (SAVED.progress, "")
    assert all(np.array_equal(a, b) for a, b in zip(saved.weights, WEIGHTS, strict=True))
    assert saved.holds["k"].mask.tolist() == [[True, False, False], [False, True, False]]
    assert saved.holds["k"].ties.dtype == np.int32
    assert read(tmp_path, digest="other")[0] is None
    assert "another" in read(tmp_path, digest="other")[1]
    assert read(tmp_path, weights=[WEIGHTS[0].T, WEIGHTS[1]])[0] is None


@pytest.mark.parametrize("kind", ["truncated", "text", "flipped", "pickled", "huge"])
def test_a_broken_or_hostile_checkpoint_is_not_read_and_that_is_told(tmp_path, kind):
    checkpoints.write(tmp_path, "d", SAVED)
    broken(kind, tmp_path / checkpoints.FILE)
    saved, why_not = read(tmp_path)
    assert saved is None
    assert "was not continued" in why_not


def test_the_checkpoint_before_stays_whole_when_writing_the_next_one_fails(task, monkeypatch):
    with pytest.raises(Ended):
        trainable().fit(task, until(3))
    before = (task.checkpoints / checkpoints.FILE).read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        trainable().fit(task, lambda event: None)
    assert (task.checkpoints / checkpoints.FILE).read_bytes() == before
    assert [file.name for file in task.checkpoints.iterdir()] == [checkpoints.FILE]
