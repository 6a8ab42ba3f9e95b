"""What an output is, on the cases where two readers could differ; the proof of a file and its training read it here."""

import numpy as np
import pytest

from mlopt.errors import DataMismatch
from mlopt.model import Signature, TensorSpec
from mlopt.outputs import Head, LabelKind, OutputKind, decide, head_of, looks_like

random = np.random.default_rng(0)
LOGITS = random.normal(size=(12, 3))
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
CLASSES = np.arange(12) % 3
UNIT = LOGITS / np.linalg.norm(LOGITS, axis=1, keepdims=True)
MASKS = random.dirichlet(np.ones(5), (6, 4, 4))         # [6, 4, 4, 5]: five classes at each place
FLAGS = random.random((12, 3))


def signature(shape, input_shape=(7, 7)):
    def spec(name, sizes):
        return TensorSpec(name=name, shape=(None, *sizes), dtype="float32", layout="N" + "?" * len(sizes))

    return Signature(inputs=(spec("x", input_shape),), outputs=(spec("y", shape),))


def read(values, activation="unknown", labels=None, **options):
    values = np.asarray(values, np.float32)
    return decide(signature(values.shape[1:], **options), (activation,), {"y": values}, labels)


@pytest.mark.parametrize(("values", "head"), [
    (SHARES, Head.SOFTMAX), (SHARES * 1.0009, Head.SOFTMAX), (SHARES * 0.9991, Head.SOFTMAX),
    (SHARES * 0.995, Head.SIGMOID), (SHARES * 0.9, Head.SIGMOID),       # a sum 5e-3 away is none of probabilities
    (SHARES.astype(np.float16), Head.SOFTMAX), (random.dirichlet(np.ones(1000), 8).astype(np.float16), Head.SOFTMAX),
    (FLAGS, Head.SIGMOID), (np.ones((4, 1)), Head.SIGMOID), (np.ones(4), Head.SIGMOID),
    (LOGITS, Head.PLAIN), (np.abs(LOGITS) + 1, Head.PLAIN), (np.full((4, 2), np.nan), Head.PLAIN),
    (np.zeros((0, 3)), Head.PLAIN), (MASKS, Head.SOFTMAX),
], ids=str)
def test_values_of_unknown_making_are_read_with_one_tolerance(values, head):
    assert looks_like(values) is head


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "log_softmax"])
def test_a_known_activation_is_believed_before_any_values(activation):
    assert head_of(activation, SHARES) is Head.PLAIN and head_of("softmax", LOGITS) is Head.SOFTMAX
    assert head_of("hard_sigmoid", LOGITS) is head_of("sigmoid", LOGITS) is Head.SIGMOID


@pytest.mark.parametrize(("values", "activation", "kind", "classes", "threshold"), [
    (SHARES, "softmax", OutputKind.CLASSES, 3, 0.5),
    (SHARES, "unknown", OutputKind.CLASSES, 3, 0.5),
    (LOGITS, "log_softmax", OutputKind.CLASSES, 3, 0.0),
    (MASKS, "softmax", OutputKind.CLASSES, 5, 0.5),
    (SHARES, "linear", OutputKind.VALUES, 0, 0.0),              # logits that happen to be shares
    (FLAGS, "linear", OutputKind.VALUES, 0, 0.0),               # logits, or a regression, that happen to be in 0..1
    (FLAGS, "sigmoid", OutputKind.VALUES, 0, 0.5),              # several flags, or values that a sigmoid bounds
    (FLAGS[:, :1], "sigmoid", OutputKind.BINARY, 2, 0.5),
    (FLAGS[:, :1], "unknown", OutputKind.VALUES, 0, 0.5),
    (FLAGS[:, :1], "linear", OutputKind.VALUES, 0, 0.0),        # a regression in 0..1
    (UNIT, "unknown", OutputKind.EMBEDDING, 0, 0.0),
    (UNIT, "linear", OutputKind.EMBEDDING, 0, 0.0),
    (UNIT * 1.01, "unknown", OutputKind.VALUES, 0, 0.0),
    (np.sign(LOGITS[:, :1]), "linear", OutputKind.VALUES, 0, 0.0),      # length 1, and no direction
])
def test_without_labels_activation_and_values_say_what_an_output_is(values, activation, kind, classes, threshold):
    main = read(values, activation).main
    assert (main.kind, main.classes, main.threshold) == (kind, classes, threshold)


@pytest.mark.parametrize(("values", "activation", "labels", "kind", "of_output"), [
    (LOGITS, "linear", CLASSES, LabelKind.CATEGORIES, OutputKind.CLASSES),
    (UNIT, "linear", CLASSES, LabelKind.CATEGORIES, OutputKind.CLASSES),
    (SHARES, "softmax", np.eye(3)[CLASSES], LabelKind.CATEGORIES, OutputKind.CLASSES),
    (MASKS, "softmax", MASKS.argmax(-1), LabelKind.CATEGORIES, OutputKind.CLASSES),
    (FLAGS, "sigmoid", (FLAGS > 0.3).astype(int), LabelKind.BINARY, OutputKind.BINARY),
    (FLAGS[:, :1], "sigmoid", CLASSES % 2, LabelKind.BINARY, OutputKind.BINARY),
    (FLAGS[:, :1], "sigmoid", np.zeros(12, int), LabelKind.BINARY, OutputKind.BINARY),       # one class alone
    (MASKS[..., :1], "sigmoid", np.ones((6, 4, 4), int), LabelKind.BINARY, OutputKind.BINARY),
    (FLAGS[:, :1], "linear", FLAGS[:, :1], LabelKind.VALUES, OutputKind.VALUES),
    (UNIT, "linear", UNIT, LabelKind.VALUES, OutputKind.EMBEDDING),
])
def test_labels_decide_what_they_are_of(values, activation, labels, kind, of_output):
    found = read(values, activation, labels)
    assert (found.labels, found.main.kind) == (kind, of_output)
    assert found.main.classes == {OutputKind.CLASSES: values.shape[-1], OutputKind.BINARY: 2}.get(of_output, 0)


def test_zeros_and_ones_beside_an_output_of_the_inputs_shape_mark_anomalies():
    found = read(LOGITS, "linear", CLASSES % 2, input_shape=(3,))
    assert (found.labels, found.main.mirrors, found.main.kind) == (LabelKind.ANOMALIES, "x", OutputKind.VALUES)


def test_labels_that_fit_no_output_are_refused_with_what_would_fit():
    with pytest.raises(DataMismatch, match="integers from 0 to 2"):
        read(SHARES, "softmax", CLASSES + 1)
