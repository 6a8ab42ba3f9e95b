import numpy as np
import pytest

from mlopt.errors import DataMismatch
from mlopt.model import Signature, TensorSpec
from mlopt.outputs import OutputKind
from mlopt.verify.task import Scoring, identify_task, prepare_labels


def signature(input_shape, *outputs):
    def spec(name, shape):
        return TensorSpec(name=name, shape=(None, *shape), dtype="float32", layout="N" + "?" * len(shape))

    return Signature(inputs=(spec("x", input_shape),), outputs=tuple(spec(n, s) for n, s in outputs))


def task_of(reference, activation="unknown", labels=None, input_shape=(7, 7)):
    reference = np.asarray(reference, dtype=np.float32)
    return identify_task(signature(input_shape, ("y", reference.shape[1:])), (activation,), {"y": reference}, labels)


LOGITS = np.random.default_rng(0).normal(size=(6, 3))
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def test_softmax_outputs_are_class_scores_with_or_without_labels():
    assert task_of(SOFTMAX, "softmax").main.kind is OutputKind.CLASSES
    found = task_of(SOFTMAX, "softmax", np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8))
    assert (found.metric, found.scoring) == ("top1", Scoring.TOP_CLASS)


@pytest.mark.parametrize("labels", [None, np.arange(12) % 3])
def test_a_source_that_answers_the_same_for_every_sample_is_told(labels):
    random = np.random.default_rng(1)
    still = np.array([0.2, 0.3, 0.5]) + random.uniform(-1e-4, 1e-4, (12, 3))
    [note] = task_of(still, "softmax", labels).notes
    assert "answers the same for every sample (y moves by less than 0.1%" in note
    assert task_of(still + random.uniform(0, 0.01, (12, 3)), "softmax", labels).notes == ()
    assert task_of(still[:3], "softmax", None if labels is None else labels[:3]).notes == ()


def test_an_unknown_output_whose_rows_sum_to_one_is_class_scores():
    assert task_of(SOFTMAX).main.kind is OutputKind.CLASSES
    assert task_of(LOGITS).main.kind is OutputKind.VALUES


def test_integer_labels_turn_logits_into_class_scores():
    assert task_of(LOGITS, "linear", np.array([0, 1, 2, 0, 1, 2])).main.kind is OutputKind.CLASSES


def test_logits_without_labels_say_that_they_may_be_an_embedding():
    assert "may be class scores or an embedding" in task_of(LOGITS, "linear").notes[0]


def test_one_hot_labels_and_column_labels_become_class_indices():
    wanted = [2, 0, 1, 1, 0, 2]
    for labels in (np.eye(3)[wanted], np.array(wanted)[:, None], np.array(wanted, dtype=float)):
        task = task_of(SOFTMAX, "softmax", labels)
        assert prepare_labels(task, labels, SOFTMAX).tolist() == wanted


def test_a_sigmoid_beside_zeros_and_ones_is_measured_by_auc():
    task = task_of([[0.2], [0.9]], "sigmoid", np.array([0, 1]))
    assert (task.main.kind, task.metric, task.main.threshold) == (OutputKind.BINARY, "auc", 0.5)
    assert task_of([[-2.0], [3.0]], "linear", np.array([0, 1])).main.threshold == 0.0


def test_labels_of_one_class_leave_a_note():
    assert "no AUC" in task_of([[0.2], [0.9]], "sigmoid", np.array([1, 1])).notes[0]


def test_a_one_channel_mask_is_scored_by_position():
    masks = np.random.default_rng(0).random((2, 4, 4, 1))
    task = task_of(masks, "sigmoid", np.ones((2, 4, 4), dtype=int), input_shape=(4, 4, 3))
    assert (task.main.kind, task.scoring, task.metric) == (OutputKind.BINARY, Scoring.DECISION, "top1")


def test_several_flags_a_sample_are_scored_flag_by_flag():
    labels = np.array([[1, 1, 0]] * 6)
    task = task_of(1 / (1 + np.exp(-LOGITS)), "sigmoid", labels)
    assert (task.scoring, task.main.kind) == (Scoring.DECISION, OutputKind.BINARY)


def test_float_labels_of_the_outputs_shape_are_measured_by_r2():
    assert task_of(LOGITS, "linear", LOGITS + 0.1).metric == "r2"
    assert task_of(LOGITS[:, :1], "linear", LOGITS[:, 0] + 0.1).metric == "r2"


def test_an_output_of_the_inputs_shape_is_a_reconstruction_and_flags_mark_anomalies():
    assert task_of(LOGITS, "linear", input_shape=(3,)).main.mirrors == "x"
    task = task_of(LOGITS, "linear", np.array([0, 1, 0, 1, 0, 1]), input_shape=(3,))
    assert (task.scoring, task.metric, task.main.kind) == (Scoring.RECONSTRUCTION, "auc", OutputKind.VALUES)


def test_two_logits_beside_two_features_are_classes_and_no_reconstruction():
    assert task_of(LOGITS[:, :2], "linear", np.array([0, 1, 0, 1, 0, 1]), input_shape=(2,)).metric == "top1"


def test_labels_belong_to_the_first_output_that_they_fit():
    both = signature((7,), ("size", (1,)), ("kind", (3,)))
    reference = {"size": LOGITS[:, :1], "kind": SOFTMAX}
    task = identify_task(both, ("linear", "softmax"), reference, np.eye(3)[[0, 1, 2, 0, 1, 2]])
    assert task.main.name == "kind" and [o.kind for o in task.outputs] == [OutputKind.VALUES, OutputKind.CLASSES]


@pytest.mark.parametrize(
    "labels", [np.array([1, 2, 3, 1, 2, 3]), np.array([0, 1]), np.full(6, -1), np.array(list("abcabc"))]
)
def test_labels_that_fit_no_output_are_refused_with_what_would_fit(labels):
    with pytest.raises(DataMismatch, match="integers from 0 to 2"):
        task_of(SOFTMAX, "softmax", labels)
