"""A training loop on tiny real models: what it optimises, what it holds, and that it repeats."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from mlopt.data.materialise import write_arrays
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.errors import TrainingDiverged
from mlopt.frameworks.fitting import (
    EpochFacts,
    FitTask,
    Hold,
    LabelLoss,
    Optimizer,
    Schedule,
    TeacherLoss,
    Teachers,
)
from mlopt.frameworks.keras.fitting import loop, pipeline
from mlopt.frameworks.keras.fitting.checkpoints import Progress
from mlopt.frameworks.keras.fitting.updates import learning_rate
from mlopt.frameworks.keras.network.model import trainable as take_apart
from mlopt.frameworks.keras.quiet import tf, tf_keras
from mlopt.location import ModelLocation
from mlopt.outputs import LabelKind
from mlopt.testing import tiny


def trainable(name: str, seed: int = 0):
    one = tiny.TinyModel(tiny.build(name, seed))
    return take_apart(one.model, one.signature)


def categories(**settings) -> LabelLoss:
    return LabelLoss(output="label", kind=LabelKind.CATEGORIES, **settings)


def quiet(event):
    pass


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def apart(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


@pytest.fixture
def task(blobs, tmp_path):
    return FitTask(
        samples=blobs("train", 64), validation=blobs("validation", 32, seed=1), losses=(categories(),), epochs=2,
        batch=16, optimizer=Optimizer(learning_rate=5e-3), checkpoints=tmp_path / "checkpoints",
    )


def test_a_training_learns_and_tells_each_epoch(task):
    model, events = trainable("small_convnet"), []
    result = model.fit(replace(task, epochs=8), events.append)
    assert [facts.epoch for facts in result.epochs] == list(range(1, 9))
    assert result.epochs[-1].losses["total"] < 0.5 * result.epochs[0].losses["total"]
    assert result.validation == result.epochs[-1].validation > 0.9
    assert (result.steps, result.replicas, result.resumed_at_step) == (32, 1, 0)
    last = events[-1]
    assert (last["done"], last["total"], last["epoch"], last["epochs"], last["left_s"]) == (32, 32, 8, 8, 0.0)
    assert last["validation"] == result.validation
    scored = np.argmax(model.predict(Samples.open(task.validation).rows(0, 32))["label"], 1)
    assert result.validation == np.mean(scored == Samples.open(task.validation).labels)


class ByKeras:
    """The same training with Keras's own optimizer and losses, step by step: the oracle."""

    def __init__(self, name: str, task: FitTask, optimizer) -> None:
        self.model, self.task, self.optimizer = tiny.build(name), task, optimizer
        samples = Samples.open(task.samples)
        self.x = samples.rows(0, samples.count)["image"]
        self.y = np.asarray(samples.labels)

    def trained(self) -> list[np.ndarray]:
        loss = tf_keras.losses.SparseCategoricalCrossentropy()
        each = len(self.x) // self.task.batch
        for step in range(self.task.epochs * each):
            rows = pipeline.order(len(self.x), self.task.seed, step // each)
            rows = rows[step % each * self.task.batch :][: self.task.batch]
            self.optimizer.learning_rate = learning_rate(self.task.optimizer, step, self.task.epochs * each)
            with tf.GradientTape() as tape:
                value = loss(self.y[rows], self.model(self.x[rows], training=True))
            variables = self.model.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        return [w.numpy() for w in self.model.weights]


@pytest.mark.parametrize("schedule", list(Schedule))
def test_adam_moves_weights_and_statistics_as_keras_does(task, schedule):
    task = replace(task, optimizer=Optimizer(learning_rate=2e-3, schedule=schedule, warmup=0.25))
    expected = ByKeras("small_convnet", task, tf_keras.optimizers.legacy.Adam(epsilon=1e-7)).trained()
    model = trainable("small_convnet")
    model.fit(task, quiet)
    for mine, its in zip(model.keras_model.weights, expected, strict=True):
        if mine.name != "conv2d_1/bias:0":      # before a batch norm: its gradient is rounding, which Adam makes large
            assert np.allclose(mine.numpy(), its, atol=1e-4), mine.name


def test_nesterov_momentum_with_clipping_and_decay_is_the_written_formula(task):
    optimizer = Optimizer(
        name="sgd", learning_rate=0.05, schedule=Schedule.CONSTANT, warmup=0.0, weight_decay=0.1, clip_norm=0.5
    )
    model = trainable("small_convnet")
    twin = tiny.build("small_convnet")
    samples = Samples.open(task.samples)
    x, y = samples.rows(0, 64)["image"], np.asarray(samples.labels)
    momentum = [np.zeros(v.shape, np.float32) for v in twin.trainable_variables]
    for epoch in range(task.epochs):
        for step in range(4):
            rows = pipeline.order(64, 0, epoch)[16 * step : 16 * step + 16]
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(
                    tf_keras.losses.sparse_categorical_crossentropy(y[rows], twin(x[rows], training=True))
                )
            gradients = [g.numpy() for g in tape.gradient(value, twin.trainable_variables)]
            norm = np.sqrt(sum(float(np.square(g).sum()) for g in gradients))
            for i, variable in enumerate(twin.trainable_variables):
                g = gradients[i] * min(1.0, 0.5 / norm)
                momentum[i] = 0.9 * momentum[i] + g
                decay = 0.1 if "kernel" in variable.name else 0.0
                variable.assign(variable * (1 - 0.05 * decay) - 0.05 * (g + 0.9 * momentum[i]))
    model.fit(replace(task, optimizer=optimizer), quiet)
    pairs = zip(model.keras_model.weights, twin.weights, strict=True)
    assert all(np.allclose(a.numpy(), b.numpy(), atol=2e-5) for a, b in pairs)


def test_two_runs_agree_bit_for_bit_with_dropout_and_augmentation(tmp_path):
    random = np.random.default_rng(0)
    inputs = {"features": random.normal(size=(48, 12, 6, 1)).astype(np.float32)}
    write_arrays(tmp_path / "train", inputs, role=Role.TEST, labels=np.arange(48, dtype=np.int32) % 3)
    task = FitTask(
        samples=tmp_path / "train", validation=None, epochs=2, batch=8, checkpoints=tmp_path / "a", seed=3,
        losses=(LabelLoss(output="word", kind=LabelKind.CATEGORIES),),
        augment=("time-shift", "time-mask", "frequency-mask", "noise", "mixup"),
    )
    trained = []
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        model = trainable("depthwise_convnet")
        model.fit(replace(task, checkpoints=tmp_path / folder, seed=seed), quiet)
        trained.append(model.weights())
    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


def test_how_many_steps_a_call_takes_changes_no_bit(task, monkeypatch, tmp_path):
    from mlopt.frameworks.keras.fitting import loop

    trained = []
    for most in (1, 3):
        monkeypatch.setattr(loop, "MOST_STEPS", most)
        monkeypatch.setattr(loop, "CALL_S", 100.0)
        model = trainable("small_convnet")
        result = model.fit(replace(task, checkpoints=tmp_path / str(most), augment=("flip", "shift")), quiet)
        trained.append((model.weights(), [facts.losses for facts in result.epochs]))
    assert same(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]


@dataclass
class Recorded:
    """A holder that masks the smallest of one kernel from the second question on, and ties another's values."""

    masked: str
    tied: str
    every: int = 3
    asked: list[int] = field(default_factory=list)

    def holds(self, step, steps, weights):
        self.asked.append(step)
        if step == 0:
            return None
        kernel = weights[self.masked]
        return {
            self.masked: Hold(mask=np.abs(kernel) > np.median(np.abs(kernel))),
            self.tied: Hold(ties=(np.arange(weights[self.tied].size) % 5).reshape(weights[self.tied].shape) + 7),
        }


def test_what_is_held_holds_after_every_step_and_is_asked_for_on_time(task):
    model = trainable("small_convnet")
    holder = Recorded(masked="conv2d/kernel", tied="label/kernel")
    model.fit(replace(task, holder=holder, epochs=3), quiet)
    assert holder.asked == [0, 3, 6, 9]
    assert np.mean(model.weights()["conv2d/kernel"] == 0) == 0.5
    tied = model.weights()["label/kernel"].ravel()
    assert len(set(tied.tolist())) == 5
    assert all(len(set(tied[i::5].tolist())) == 1 for i in range(5))


def test_a_mask_holds_at_once_and_ties_become_the_mean_of_what_is_kept(task):
    class Now:
        every = 1 << 20

        def holds(self, step, steps, weights):
            kernel = weights["label/kernel"]
            mask = np.ones(kernel.shape, bool)
            mask[0, 0] = False
            ties = np.arange(kernel.size).reshape(kernel.shape)
            ties[0, 0] = ties[1, 0] = ties[2, 0]
            return {"label/kernel": Hold(mask=mask, ties=ties.astype(np.int32))}

    model = trainable("small_convnet")
    before = model.weights()["label/kernel"]
    frozen = tuple(model.weights())
    frozen = tuple(name for name in frozen if name != "conv2d/kernel")
    model.fit(replace(task, holder=Now(), freeze=frozen, epochs=1), quiet)
    after = model.weights()["label/kernel"]
    assert after[0, 0] == 0
    assert after[1, 0] == after[2, 0] == pytest.approx((before[1, 0] + before[2, 0]) / 2, rel=1e-6)
    assert np.array_equal(after[3:], before[3:])


def test_frozen_weights_and_statistics_stay_and_others_move(task):
    model = trainable("small_convnet")
    before = model.weights()
    frozen = ("conv2d/kernel", "batch_normalization/moving_mean")
    model.fit(replace(task, freeze=frozen), quiet)
    moved = {name for name, array in model.weights().items() if not np.array_equal(array, before[name])}
    assert moved == set(before) - set(frozen)


def test_early_stopping_brings_the_best_weights_back(task, tmp_path):
    task = replace(
        task, epochs=30, early_stopping=2,
        optimizer=Optimizer(learning_rate=0.05, schedule=Schedule.CONSTANT, warmup=0.0, name="sgd"),
    )
    model = trainable("small_convnet")
    result = model.fit(task, quiet)
    figures = [facts.validation for facts in result.epochs]
    assert len(figures) < 30
    assert result.best_epoch == 1 + int(np.argmax(figures))
    assert len(figures) == result.best_epoch + 2
    x, y = Samples.open(task.validation).rows(0, 32), Samples.open(task.validation).labels
    assert np.mean(np.argmax(model.predict(x)["label"], 1) == y) == result.validation == max(figures)


def test_epochs_before_the_last_change_of_what_is_held_are_not_the_best(task):
    class Late:
        every = 4

        def holds(self, step, steps, weights):
            mask = np.zeros(weights["conv2d/kernel"].shape, bool) if step >= 8 else None
            return {"conv2d/kernel": Hold(mask=mask)} if step >= 8 else None

    model = trainable("small_convnet")
    result = model.fit(replace(task, epochs=5, early_stopping=5, holder=Late()), quiet)
    assert result.best_epoch > 2
    assert not model.weights()["conv2d/kernel"].any()


def test_a_diverging_training_stops_with_step_and_rate(task):
    wild = Optimizer(name="sgd", learning_rate=1e30, schedule=Schedule.CONSTANT, warmup=0.0)
    with pytest.raises(TrainingDiverged, match=r"at step \d+ the loss is not a number, at a learning rate of 1e\+30"):
        trainable("small_convnet").fit(replace(task, optimizer=wild, epochs=5), quiet)


def test_a_model_of_two_inputs_and_outputs_learns_from_labels_and_a_teacher(tmp_path):
    from mlopt.frameworks.keras.network import saving

    random = np.random.default_rng(0)
    inputs = {
        "image": random.normal(size=(48, 8, 8, 1)).astype(np.float32),
        "extra": random.normal(size=(48, 3)).astype(np.float32),
    }
    kinds = (inputs["extra"][:, 0] > 0).astype(np.int32)
    write_arrays(tmp_path / "train", inputs, role=Role.TEST, labels=kinds)
    teacher = tiny.build("two_inputs_two_outputs", seed=5)
    saving.save(teacher, tmp_path / "teacher")
    task = FitTask(
        samples=tmp_path / "train", validation=tmp_path / "train", epochs=6, batch=8, checkpoints=tmp_path / "c",
        losses=(
            LabelLoss(output="kind", kind=LabelKind.CATEGORIES, weight=0.5), TeacherLoss(output="size", weight=2.0)
        ),
        teachers=Teachers(live=(ModelLocation(tmp_path / "teacher"),)), optimizer=Optimizer(learning_rate=0.02),
    )
    model = trainable("two_inputs_two_outputs")
    result = model.fit(task, quiet)
    first, last = result.epochs[0].losses, result.epochs[-1].losses
    assert set(first) == {"labels", "teacher", "total"}
    assert last["labels"] < first["labels"]
    assert last["teacher"] < 0.5 * first["teacher"]
    assert last["total"] == pytest.approx(0.5 * last["labels"] + 2.0 * last["teacher"], rel=1e-5)


def test_an_autoencoder_learns_to_give_back_what_it_takes(tmp_path):
    random = np.random.default_rng(0)
    x = (random.normal(size=(96, 3)) @ random.normal(size=(3, 24))).astype(np.float32)
    write_arrays(tmp_path / "train", {"spectrum": x}, role=Role.TEST)
    task = FitTask(
        samples=tmp_path / "train", validation=tmp_path / "train", epochs=15, batch=16, checkpoints=tmp_path / "c",
        losses=(LabelLoss(output="reconstruction", kind=LabelKind.VALUES),), optimizer=Optimizer(learning_rate=0.02),
    )
    model = trainable("autoencoder")
    result = model.fit(task, quiet)
    assert any("held to the input spectrum" in note for note in result.notes)
    error = np.mean(np.square(model.predict({"spectrum": x})["reconstruction"] - x))
    assert result.validation == pytest.approx(-error, rel=1e-4)
    assert result.epochs[-1].losses["labels"] < 0.5 * result.epochs[0].losses["labels"]


def test_a_yes_or_no_output_learns(tmp_path):
    random = np.random.default_rng(0)
    frames = random.normal(size=(64, 16, 5)).astype(np.float32)
    wake = (frames[:, :, 0].mean(1) > 0).astype(np.int32)
    frames[wake == 1, :, 1] += 1
    write_arrays(tmp_path / "train", {"frames": frames}, role=Role.TEST, labels=wake)
    task = FitTask(
        samples=tmp_path / "train", validation=tmp_path / "train", epochs=12, batch=16, checkpoints=tmp_path / "c",
        losses=(LabelLoss(output="wake", kind=LabelKind.BINARY, smoothing=0.1, class_weights=(1.2, 0.8)),),
        optimizer=Optimizer(learning_rate=0.02), augment=("time-mask",),
    )
    model = trainable("streaming_conv1d")
    assert model.fit(task, quiet).validation > 0.9


def test_labels_over_places_learn_and_move_with_their_picture(tmp_path):
    random = np.random.default_rng(0)
    images = random.normal(0, 0.1, size=(48, 8, 8, 3)).astype(np.float32)
    left = np.zeros((48, 8, 8), np.int32)
    left[:, :, :3] = 1
    images[left == 1] += 1
    write_arrays(tmp_path / "train", {"image": images}, role=Role.TEST, labels=left)
    task = FitTask(
        samples=tmp_path / "train", validation=tmp_path / "train", epochs=12, batch=8, checkpoints=tmp_path / "c",
        losses=(LabelLoss(output="mask", kind=LabelKind.CATEGORIES),), optimizer=Optimizer(learning_rate=0.02),
        augment=("flip", "shift"),
    )
    assert trainable("mobile_block").fit(task, quiet).validation > 0.9


def test_a_transformer_trains(tmp_path):
    random = np.random.default_rng(0)
    tokens = random.normal(size=(32, 6, 8)).astype(np.float32)
    write_arrays(tmp_path / "train", {"tokens": tokens}, role=Role.TEST, labels=np.arange(32, dtype=np.int32) % 4)
    task = FitTask(
        samples=tmp_path / "train", validation=None, epochs=6, batch=8, checkpoints=tmp_path / "c",
        losses=(LabelLoss(output="topic", kind=LabelKind.CATEGORIES),), optimizer=Optimizer(learning_rate=0.01),
    )
    result = trainable("small_transformer").fit(task, quiet)
    assert result.epochs[-1].losses["total"] < result.epochs[0].losses["total"]
    assert np.isnan(result.validation)


def test_samples_that_fill_no_batch_are_left_out_and_told(task, blobs):
    model = trainable("small_convnet")
    result = model.fit(replace(task, samples=blobs("odd", 40), epochs=1), quiet)
    assert result.steps == 2
    assert any(note.startswith("8 samples of each epoch") for note in result.notes)


@pytest.mark.parametrize(("figures", "better"), [((0.5, 0.9, 0.8), "epoch 2 had the better"), ((1.0, 1.0), "")])
def test_an_earlier_epoch_is_called_better_only_where_its_figure_is(figures, better):
    epochs = tuple(
        EpochFacts(epoch=n, losses={}, validation=figure, learning_rate=0.1, seconds=1.0)
        for n, figure in enumerate(figures, 1)
    )
    best = max(figures)
    note = loop._better(Progress(epochs=epochs, best=best, best_epoch=1 + figures.index(best)))
    assert better in note if better else not note
