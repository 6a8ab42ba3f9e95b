"""Students that follow teachers, with labels and without."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from mlopt.data.samples import Samples
from mlopt.errors import MloptError
from mlopt.frameworks.fitting import (
    AttentionLoss,
    FitTask,
    HintLoss,
    LabelLoss,
    Optimizer,
    TeacherLoss,
    Teachers,
)
from mlopt.frameworks.keras.fitting import preparing
from mlopt.frameworks.keras.fitting.arithmetic import Arithmetic
from mlopt.frameworks.keras.network import saving
from mlopt.frameworks.keras.network.model import trainable as take_apart
from mlopt.frameworks.keras.quiet import tf, tf_keras
from mlopt.location import ModelLocation
from mlopt.outputs import LabelKind
from mlopt.testing import tiny


def quiet(event):
    pass


def trainable(name="small_convnet", seed=0):
    one = tiny.TinyModel(tiny.build(name, seed))
    return take_apart(one.model, one.signature)


@pytest.fixture
def teacher(blobs, tmp_path):
    """A trained network's folder."""
    model = trainable(seed=9)
    model.fit(FitTask(
        samples=blobs("lessons", 64, seed=5), validation=None, epochs=8, batch=8, checkpoints=tmp_path / "t",
        losses=(LabelLoss(output="label", kind=LabelKind.CATEGORIES),), optimizer=Optimizer(learning_rate=5e-3),
    ), quiet)
    model.save(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def task(blobs, tmp_path, teacher):
    return FitTask(
        samples=blobs("bare", 64, labels=False), validation=blobs("bare2", 32, seed=1, labels=False), epochs=8,
        batch=8, losses=(TeacherLoss(output="label"),), teachers=Teachers(live=(ModelLocation(teacher),)),
        optimizer=Optimizer(learning_rate=5e-3), checkpoints=tmp_path / "c",
    )


def test_a_student_follows_a_running_teacher_without_any_label(task, blobs):
    model = trainable()
    result = model.fit(task, quiet)
    assert result.epochs[-1].losses["teacher"] < 0.3 * result.epochs[0].losses["teacher"]
    assert result.validation < 0
    assert any("minus the distance to the teacher" in note for note in result.notes)
    scored = Samples.open(blobs("scored", 32, seed=2))
    assert np.mean(np.argmax(model.predict(scored.rows(0, 32))["label"], 1) == scored.labels) > 0.9


def test_validation_labels_give_an_accuracy_also_without_training_labels(task, blobs):
    result = trainable().fit(replace(task, validation=blobs("labelled", 32, seed=1)), quiet)
    assert 0.9 < result.validation <= 1


def test_stored_outputs_teach_as_the_running_teacher_does(task, tmp_path, teacher):
    from mlopt.frameworks import open_model

    x = Samples.open(task.samples)
    outputs = open_model(ModelLocation(teacher / "model.h5")).predict(x.rows(0, x.count))
    (tmp_path / "stored").mkdir()
    np.save(tmp_path / "stored" / "label.npy", outputs["label"])
    running, stored = trainable(), trainable()
    live = running.fit(replace(task, epochs=2), quiet)
    cached = stored.fit(
        replace(task, epochs=2, teachers=Teachers(outputs=tmp_path / "stored"), checkpoints=tmp_path / "s"), quiet
    )
    for a, b in zip(live.epochs, cached.epochs, strict=True):
        assert a.losses["teacher"] == pytest.approx(b.losses["teacher"], rel=2e-2)
    assert np.isnan(cached.validation)
    assert any("there is no figure" in note for note in cached.notes)


def test_two_teachers_are_heard_together(task, teacher, tmp_path):
    saving.save(tiny.build("small_convnet", seed=3), tmp_path / "second")
    both = Teachers(live=(ModelLocation(teacher), ModelLocation(tmp_path / "second")))
    result = trainable().fit(replace(task, teachers=both, epochs=2), quiet)
    assert result.epochs[-1].losses["teacher"] < result.epochs[0].losses["teacher"]


def test_hints_and_attention_draw_features_together_and_leave_nothing_in_the_student(task):
    losses = (
        HintLoss(student_node="re_lu", teacher_node="re_lu_1", weight=0.5),
        HintLoss(student_node="average_pooling2d", teacher_node="re_lu_1", weight=0.5),
        AttentionLoss(student_node="re_lu_1", teacher_node="re_lu_1", weight=2.0),
    )
    model = trainable()
    names = set(model.weights())
    result = model.fit(replace(task, losses=losses), quiet)
    first, last = result.epochs[0].losses, result.epochs[-1].losses
    assert set(first) == {"hints", "attention", "total"}
    assert last["hints"] < first["hints"]
    assert last["attention"] < first["attention"]
    assert set(model.weights()) == names


def test_a_loss_scale_of_any_power_of_two_changes_nothing(task, monkeypatch, tmp_path):
    plain = trainable()
    plain.fit(replace(task, epochs=1), quiet)
    scaled = trainable()
    monkeypatch.setattr(preparing, "chosen", lambda trainee, task, kinds: Arithmetic.FLOAT16)
    scaled.fit(replace(task, epochs=1, checkpoints=tmp_path / "scaled"), quiet)
    for name, array in plain.weights().items():
        np.testing.assert_allclose(scaled.weights()[name], array, atol=1e-6)


def test_a_step_whose_gradients_overflow_moves_nothing_and_halves_the_scale():
    from mlopt.frameworks.keras.fitting.updates import Updates, numbers

    optimizer = Optimizer(name="sgd", learning_rate=1.0, warmup=0.0)
    variable = tf.Variable([1.0, 2.0])
    updates = Updates(optimizer, [variable], [False], tf.distribute.get_strategy(), scaled=True)
    row = tf.constant(numbers(optimizer, 0, 1, 10))[0]
    for gradient, value, scale in (([np.inf, 0.0], [1.0, 2.0], 2.0**14), ([2.0**14, 0.0], [1.0 - 1.9, 2.0], 2.0**14)):
        gradients, finite = updates.finished([tf.constant(gradient)])
        updates.apply(gradients, finite, row, {})
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5)
        assert float(updates.scale) == scale


OWN = """
import tf_keras

class Doubled(tf_keras.layers.Layer):
    def call(self, x):
        return 2.0 * x
"""


def test_a_running_teacher_is_opened_as_the_user_said(task, tmp_path, monkeypatch):
    (tmp_path / "own_layers_of_a_teacher.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("own_layers_of_a_teacher").Doubled(name="doubled")
    image = tf_keras.Input((8, 8, 3), name="image")
    pooled = tf_keras.layers.GlobalAveragePooling2D()(own(image))
    file = tmp_path / "custom.h5"
    tf_keras.Model(image, tf_keras.layers.Dense(4, activation="softmax", name="label")(pooled)).save(file)
    with pytest.raises(MloptError, match="Doubled"):
        trainable().fit(replace(task, epochs=1, teachers=Teachers(live=(ModelLocation(file),))), quiet)
    named = ModelLocation(file, custom_objects=("own_layers_of_a_teacher:Doubled",))
    result = trainable().fit(replace(task, epochs=1, teachers=Teachers(live=(named,))), quiet)
    assert result.epochs[0].losses["teacher"] > 0
