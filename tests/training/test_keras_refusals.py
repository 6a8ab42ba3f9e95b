"""What cannot be trained is refused in a sentence, before the first step."""

from dataclasses import replace

import numpy as np
import pytest

from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.errors import BadRequest, DataMismatch, DataUnreadable
from mlopt.frameworks.fitting import (
    AttentionLoss,
    FitTask,
    HintLoss,
    LabelLoss,
    Optimizer,
    Strategy,
    TeacherLoss,
    Teachers,
)
from mlopt.frameworks.keras.network import saving
from mlopt.frameworks.keras.network.model import trainable as take_apart
from mlopt.frameworks.keras.quiet import tf_keras
from mlopt.location import ModelLocation
from mlopt.outputs import LabelKind
from mlopt.testing import tiny

LABELS = LabelLoss(output="label", kind=LabelKind.CATEGORIES)
TEACHER = TeacherLoss(output="label")


def trainable(name):
    one = tiny.TinyModel(tiny.build(name))
    return take_apart(one.model, one.signature)


@pytest.fixture(scope="module")
def model():
    return trainable("small_convnet")


@pytest.fixture
def task(blobs, tmp_path):
    return FitTask(
        samples=blobs("train", 16), validation=blobs("validation", 8, seed=1), losses=(LABELS,), epochs=1, batch=8,
        checkpoints=tmp_path / "checkpoints",
    )


def refused(model, task, message, error=BadRequest):
    before, events = model.weights(), []
    with pytest.raises(error, match=message):
        model.fit(task, events.append)
    assert events == []
    assert all(np.array_equal(array, model.weights()[name]) for name, array in before.items())


@pytest.mark.parametrize(("change", "message"), [
    ({"epochs": 0}, "epochs is 0"),
    ({"batch": 17}, "larger than the data, 16 samples"),
    ({"batch": 0}, "batch is 0"),
    ({"losses": ()}, "no loss"),
    ({"losses": (replace(LABELS, output="lable"),)}, "names the output lable; the model has label"),
    ({"losses": (replace(LABELS, weight=-1.0),)}, "weight of a loss is -1"),
    ({"losses": (replace(LABELS, smoothing=1.0),)}, "label smoothing"),
    ({"losses": (replace(LABELS, class_weights=(1.0, 2.0)),)}, "2 class weights for 4 classes"),
    ({"losses": (replace(LABELS, kind=LabelKind.BINARY),)}, "do not fit the output label"),
    ({"losses": (LABELS, TEACHER)}, "asks for a teacher, and none is given"),
    ({"optimizer": Optimizer(name="lion")}, "no optimizer lion"),
    ({"optimizer": Optimizer(learning_rate=0.0)}, "learning rate is 0"),
    ({"optimizer": Optimizer(warmup=1.0)}, "warm-up"),
    ({"augment": ("rotate",)}, "no augmentation rotate"),
    ({"freeze": ("conv/kernel",)}, "no weight is called conv/kernel; the model has"),
    ({"validation": None, "early_stopping": 2}, "early stopping looks at validation samples"),
    ({"track": "wandb:x"}, "mlflow:URI"),
    ({"strategy": Strategy.TPU}, "TPU"),
])
def test_settings_that_make_no_sense(model, task, change, message):
    refused(model, replace(task, **change), message)


def test_labels_that_are_missing_or_beyond_the_classes(model, task, blobs, tmp_path):
    refused(model, replace(task, samples=blobs("bare", 16, labels=False)), "has no labels")
    images = np.zeros((16, 8, 8, 3), np.float32)
    write_arrays(tmp_path / "five", {"image": images}, role=Role.TEST, labels=np.full(16, 4, np.int32))
    refused(model, replace(task, samples=tmp_path / "five"), "labels go from 4 to 4, and.*label has the classes 0 to 3")
    write_arrays(tmp_path / "real", {"image": images}, role=Role.TEST, labels=np.zeros(16, np.float32))
    refused(model, replace(task, samples=tmp_path / "real"), "counted in whole numbers")


def test_samples_of_another_shape(model, task, tmp_path):
    write_arrays(tmp_path / "big", {"image": np.zeros((16, 9, 8, 3), np.float32)}, role=Role.TEST)
    refused(model, replace(task, samples=tmp_path / "big"), r"image \[16, 9, 8, 3\]", DataMismatch)


def test_everything_frozen(model, task):
    refused(model, replace(task, freeze=tuple(model.variables)), "no weight is left to train")


def test_a_teacher_of_other_classes_or_inputs(model, task, tmp_path):
    saving.save(tiny.build("mobile_block"), tmp_path / "masks")
    saving.save(tiny.build("depthwise_convnet"), tmp_path / "words")
    expected = {"masks": "gives mask.*and the student label", "words": "takes features.*the student image"}
    for name, message in expected.items():
        taught = replace(task, losses=(TEACHER,), teachers=Teachers(live=(ModelLocation(tmp_path / name),)))
        refused(model, taught, message)


def test_stored_outputs_of_other_samples_or_classes(model, task, tmp_path):
    taught = replace(task, losses=(TEACHER,), teachers=Teachers(outputs=tmp_path))
    refused(model, taught, "no outputs of a teacher", DataUnreadable)
    np.save(tmp_path / "label.npy", np.ones((16, 3), np.float32))
    refused(model, taught, "the teacher knows other classes")
    np.save(tmp_path / "label.npy", np.ones((15, 4), np.float32))
    refused(model, taught, "for 15 samples; there are 16")
    np.save(tmp_path / "label.npy", np.array([{}] * 16), allow_pickle=True)
    refused(model, taught, "no outputs of a teacher", DataUnreadable)


def test_hints_without_a_running_teacher_or_at_nodes_that_are_not_there(model, task, tmp_path):
    hint = HintLoss(student_node="re_lu", teacher_node="re_lu")
    np.save(tmp_path / "label.npy", np.ones((16, 4), np.float32))
    refused(model, replace(task, losses=(hint,), teachers=Teachers(outputs=tmp_path)), "a teacher that runs beside")
    saving.save(tiny.build("small_convnet"), tmp_path / "same")
    live = Teachers(live=(ModelLocation(tmp_path / "same"),))
    wrong = AttentionLoss(student_node="nowhere", teacher_node="re_lu")
    refused(model, replace(task, losses=(wrong,), teachers=live), "the student has no node nowhere")
    wrong = AttentionLoss(student_node="re_lu", teacher_node="nowhere")
    refused(model, replace(task, losses=(wrong,), teachers=live), "the teacher has no node nowhere")
    refused(model, replace(task, losses=(replace(hint, teacher_node="flatten"),), teachers=live), "number of axes")


def test_early_stopping_without_a_figure(model, task, blobs, tmp_path):
    np.save(tmp_path / "label.npy", np.full((16, 4), 0.25, np.float32))
    taught = replace(
        task, losses=(TEACHER,), teachers=Teachers(outputs=tmp_path), early_stopping=1,
        validation=blobs("bare", 8, labels=False),
    )
    refused(model, taught, "needs a figure on the validation samples")


def test_labels_of_frames_are_not_left_behind_when_samples_are_shifted_in_time(tmp_path):
    sound = tf_keras.Input((8, 4), name="sound")
    layer = tf_keras.layers.Conv1D(3, 3, padding="same", activation="softmax", name="label")
    model = tf_keras.Model(sound, layer(sound))
    random = np.random.default_rng(0)
    write_arrays(
        tmp_path / "frames", {"sound": random.normal(size=(16, 8, 4)).astype(np.float32)}, role=Role.TRAIN,
        labels=random.integers(0, 3, (16, 8)).astype(np.int32),
    )
    task = FitTask(
        samples=tmp_path / "frames", validation=None, losses=(LABELS,), epochs=1, batch=8, checkpoints=tmp_path / "c",
        augment=("time-shift",),
    )
    tiny_one = tiny.TinyModel(model)
    refused(take_apart(model, tiny_one.signature), task, r"time-shift moves samples, and their labels \[16, 8\]")
