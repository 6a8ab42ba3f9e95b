"""A step's settings become one training task, or a sentence before anything is trained."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tf_keras

from mlopt.errors import BadRequest, DataMismatch
from mlopt.frameworks.fitting import Hold, LabelLoss, TeacherLoss, Teachers
from mlopt.location import ModelLocation
from mlopt.outputs import LabelKind
from mlopt.steps.distill import Distill
from mlopt.steps.finetune import Finetune
from mlopt.steps.slim import Slim
from mlopt.testing import steps, tiny
from mlopt.training.objective import balanced, trainer


def task(settings, context, **more):
    return trainer(settings, context).task(context.model, settings.epochs, "x", **more)


def test_labels_and_teacher_share_the_objective_and_every_setting_arrives(tmp_path):
    context = steps.context(tmp_path, seed=3)
    settings = Finetune(
        epochs=4, batch=16, learning_rate=0.01, schedule="linear", optimizer="sgd", weight_decay=0.1, labels=0.25,
        temperature=2.0, early_stopping=2, label_smoothing=0.1,
    )
    made = task(settings, context)
    assert made.losses == (
        LabelLoss(output="label", kind=LabelKind.CATEGORIES, weight=0.25, smoothing=0.1),
        TeacherLoss(output="label", weight=0.75, temperature=2.0),
    )
    assert (made.epochs, made.batch, made.seed, made.early_stopping) == (4, 16, 3, 2)
    assert (made.optimizer.name, made.optimizer.learning_rate, made.optimizer.weight_decay) == ("sgd", 0.01, 0.1)
    assert made.optimizer.schedule == "linear"
    assert made.checkpoints == context.work / "x/checkpoints" and made.logs == tmp_path / "logs/x"


def test_without_a_teacher_labels_are_all(tmp_path):
    made = task(Finetune(epochs=1, teacher="none"), steps.context(tmp_path))
    assert made.losses == (LabelLoss(output="label", kind=LabelKind.CATEGORIES, weight=1.0),) and made.teachers is None


def test_labels_alone_ask_no_teacher(tmp_path):
    assert task(Finetune(epochs=1, labels=1.0), steps.context(tmp_path)).teachers is None


def test_unlabelled_samples_need_labels_zero_and_a_teacher(tmp_path):
    context = steps.context(tmp_path, labels="none")
    made = task(Finetune(epochs=1, labels=0.0), context)
    assert made.losses == (TeacherLoss(output="label", weight=1.0, temperature=4.0),)
    with pytest.raises(BadRequest, match=r"no labels.*say `labels: 0`"):
        trainer(Finetune(epochs=1), context)
    with pytest.raises(BadRequest, match="nothing to learn from"):
        trainer(Finetune(epochs=1, teacher="none"), context)


def test_the_teachers_answers_are_computed_once_and_are_the_models_own(tmp_path):
    context = steps.context(tmp_path)
    first = task(Finetune(epochs=1), context).teachers
    stamp = (first.outputs / "label.npy").stat().st_mtime_ns
    again = task(Distill(epochs=2, labels=0.0), context).teachers
    assert again == first == Teachers(outputs=first.outputs)
    assert (again.outputs / "label.npy").stat().st_mtime_ns == stamp
    from mlopt.data.samples import Samples

    samples = Samples.open(context.train)
    expected = context.model.predict(samples.rows(0, samples.count))["label"]
    np.testing.assert_allclose(np.load(first.outputs / "label.npy"), expected, atol=1e-6)


def test_a_teacher_opened_with_other_code_of_the_user_is_asked_again(tmp_path, monkeypatch):
    module = tmp_path / "code_of_the_user.py"
    monkeypatch.syspath_prepend(tmp_path)
    context = steps.context(tmp_path)

    def teachers(code):
        module.write_text(code)
        source = ModelLocation(context.source.path, custom_objects=("code_of_the_user:layer",))
        return task(Finetune(epochs=1), replace(context, source=source)).teachers

    first = teachers("def layer(): return 1\n")
    assert teachers("def layer(): return 2\n") != first
    assert teachers("def layer(): return 1\n") == first


def test_a_teacher_of_the_same_pixels_seen_on_another_scale_is_asked_again(tmp_path):
    context = steps.context(tmp_path)
    first = task(Finetune(epochs=1), context).teachers
    meta = json.loads((context.train / "meta.json").read_text())
    (context.train / "meta.json").write_text(json.dumps(meta | {"scale": 0.5}))
    again = task(Finetune(epochs=1), context).teachers
    assert not np.allclose(np.load(again.outputs / "label.npy"), np.load(first.outputs / "label.npy"))


def test_only_the_taylor_criterion_needs_an_objective_to_cut_without_training(tmp_path):
    context = steps.context(tmp_path, labels="none")
    trainer(Slim(macs=0.5, criterion="magnitude"), context)
    with pytest.raises(BadRequest, match="no labels"):
        trainer(Slim(macs=0.5, criterion="taylor"), context)


def test_varied_samples_need_the_teacher_beside_the_student(tmp_path):
    context = steps.context(tmp_path)
    assert task(Finetune(epochs=1, augment=("flip",)), context).teachers == Teachers(live=(context.source,))


def test_several_teachers_are_averaged_as_probabilities_whatever_they_give(tmp_path):
    context = steps.context(tmp_path)
    scores = tiny.build("small_convnet", seed=5)
    scores.layers[-1].activation = tf_keras.activations.linear       # logits where the student has probabilities
    scores = tf_keras.models.clone_model(scores)
    scores.set_weights(tiny.build("small_convnet", seed=5).get_weights())
    scores.save(tmp_path / "logits.h5")
    teachers = f"source,{tmp_path / 'logits.h5'}"
    found = np.load(task(Finetune(epochs=1, teacher=teachers), context).teachers.outputs / "label.npy")
    from mlopt.data.samples import Samples

    images = Samples.open(context.train).rows(0, 96)["image"]
    second = tiny.build("small_convnet", seed=5).predict(images, verbose=0)
    first = tf_keras.models.load_model(context.source.path, compile=False).predict(images, verbose=0)
    np.testing.assert_allclose(found, (first + second) / 2, atol=1e-5)


def test_a_teacher_with_other_classes_is_refused_with_both_shapes(tmp_path):
    context = steps.context(tmp_path)
    image = tf_keras.Input((8, 8, 3))
    other = tf_keras.layers.Dense(7, activation="softmax")(tf_keras.layers.Flatten()(image))
    tf_keras.Model(image, other).save(tmp_path / "other.h5")
    with pytest.raises(BadRequest, match=r"float32 \[N, 7\] against label: float32 \[N, 4\]"):
        trainer(Finetune(epochs=1, teacher=str(tmp_path / "other.h5")), context)


def test_a_missing_teacher_is_refused(tmp_path):
    with pytest.raises(BadRequest, match=r"there is no teacher .*none.h5"):
        trainer(Finetune(epochs=1, teacher=str(tmp_path / "none.h5")), steps.context(tmp_path))


def test_a_label_beyond_the_classes_is_refused_wherever_it_stands(tmp_path):
    labels = np.zeros(1000, np.int64)
    labels[517] = 4
    with pytest.raises(DataMismatch, match="from 0 to 4"):
        trainer(Finetune(epochs=1), steps.context(tmp_path, labels=labels, count=1000))


def test_an_autoencoder_learns_numbers_and_anomaly_marks_leave_it_to_the_teacher(tmp_path):
    marks = np.tile([0, 0, 0, 1], 24)
    context = steps.context(tmp_path / "marked", "autoencoder", labels=marks)
    assert [type(loss) for loss in task(Finetune(epochs=1), context).losses] == [TeacherLoss]
    assert "follows the teacher alone" in trainer(Finetune(epochs=1), context).objective(context.model).notes[0]
    with pytest.raises(BadRequest, match="normal and anomalous"):
        trainer(Finetune(epochs=1, teacher="none"), context)
    numbers = np.random.default_rng(0).normal(size=(96, 24)).astype(np.float32)
    context = steps.context(tmp_path / "numbers", "autoencoder", labels=numbers)
    assert task(Finetune(epochs=1), context).losses[0].kind is LabelKind.VALUES
    with pytest.raises(BadRequest, match="label_smoothing"):
        trainer(Finetune(epochs=1, label_smoothing=0.1), context)
    with pytest.raises(BadRequest, match="one class a sample"):
        trainer(Finetune(epochs=1, class_weights="balanced"), context)


def test_balanced_weights_are_inverse_to_frequency_with_mean_one(tmp_path):
    labels = np.array([0] * 60 + [1] * 30 + [3] * 6)
    made = task(Finetune(epochs=1, class_weights="balanced"), steps.context(tmp_path, labels=labels))
    weights = made.losses[0].class_weights
    assert weights == pytest.approx((96 / 180, 96 / 90, 1.0, 96 / 18))
    assert np.mean(np.array(weights)[labels]) == pytest.approx(1)
    assert balanced(np.array([1, 1]), 2) == (1.0, 1.0)


def test_every_output_listens_to_the_teacher(tmp_path):
    context = steps.context(tmp_path, "two_inputs_two_outputs", labels="none")
    made = task(Finetune(epochs=1, labels=0.0), context)
    assert [loss.output for loss in made.losses] == [spec.name for spec in context.model.signature.outputs]
    assert sum(loss.weight for loss in made.losses) == pytest.approx(1)
    assert sorted(path.stem for path in made.teachers.outputs.iterdir()) == sorted(loss.output for loss in made.losses)


def test_what_earlier_steps_hold_is_held_in_every_training(tmp_path):
    context = steps.context(tmp_path)
    name, shape = next((w.name, w.shape) for w in context.model.network.weights().values() if w.role == "kernel")
    mask = np.arange(np.prod(shape)).reshape(shape) % 2 == 0
    held = steps.context(tmp_path, holds={name: Hold(mask=mask)})
    holder = task(Finetune(epochs=1), held).holder
    assert holder.holds(0, 10, {})[name].mask is mask and holder.holds(5, 10, {}) is None
    wrong = steps.context(tmp_path, holds={"gone/kernel": Hold(mask=mask)})
    with pytest.raises(BadRequest, match="none of that name"):
        task(Finetune(epochs=1), wrong)


def test_an_output_that_nothing_holds_is_told(tmp_path):
    context = steps.context(tmp_path, "two_inputs_two_outputs")
    alone = trainer(Finetune(epochs=1, teacher="none"), context).objective(context.model)
    assert alone.notes == ("no label and no teacher holds size: training changes what it gives",)
    assert trainer(Finetune(epochs=1), context).objective(context.model).notes == ()
