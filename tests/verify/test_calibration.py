"""The curve of answers by their probability, counted by hand and beside a plain loop."""

import numpy as np
import pytest

from mlopt.outputs import Head, Output, OutputKind
from mlopt.verify.calibration import BINS, UNIT, CalibrationTally
from mlopt.verify.outputs_seen import OutputsSeen, answered


def classes(head=Head.SOFTMAX, count=3):
    return Output(name="y", kind=OutputKind.CLASSES, head=head, classes=count)


BINARY = Output(name="y", kind=OutputKind.BINARY, head=Head.SIGMOID, classes=2)


def test_answers_fall_in_the_step_of_their_probability():
    tally = CalibrationTally(classes())
    tally.add(np.array([0, 1, 1]), np.array([[0.52, 0.24, 0.24], [0.0, 1.0, 0.0], [0.53, 0.2, 0.27]]))
    curve = tally.curve()
    assert [(i, step.answers, step.right) for i, step in enumerate(curve) if step.answers] == [(10, 2, 1), (19, 1, 1)]
    assert curve[10].probability == round(0.52 * UNIT) + round(0.53 * UNIT) and curve[19].probability == UNIT


@pytest.mark.parametrize("head", [Head.SOFTMAX, Head.PLAIN])
def test_the_curve_is_that_of_a_plain_loop_in_any_pieces(head):
    random = np.random.default_rng(0)
    scores = random.normal(size=(200, 3)) * 2
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = random.integers(0, 3, 200)
    values = scores if head is Head.PLAIN else shares
    tally = CalibrationTally(classes(head))
    for rows in np.array_split(np.arange(200), 7):
        tally.add(labels[rows], values[rows])
    expected = np.zeros((BINS, 2), int)
    for row, label in zip(shares, labels, strict=True):
        expected[int(row.max() * BINS)] += (1, int(row.argmax() == label))
    assert [(step.answers, step.right) for step in tally.curve()] == [tuple(step) for step in expected.tolist()]


def test_the_probability_of_no_is_what_yes_leaves():
    answers, shares = answered(BINARY, np.array([[0.1], [0.7], [np.nan]]))
    assert answers.ravel().tolist() == [0, 1, -1]
    np.testing.assert_array_equal(shares.ravel(), [0.9, 0.7, np.nan])


def test_what_is_not_finite_is_no_answer_and_is_counted_apart():
    values = np.array([[0.1, 0.2, 0.7], [np.nan, 0.5, 0.5]], np.float32)
    tally, seen = CalibrationTally(classes()), OutputsSeen((classes(),))
    tally.add(np.array([2, 1]), values)
    seen.add({"y": values})
    found = seen.fingerprints()["y"]
    assert sum(step.answers for step in tally.curve()) == 1
    assert (found.count, found.top_classes) == (2, {"2": 1})
    assert found.channels[0].nonfinite == found.confidence.nonfinite == 1


def test_a_map_of_classes_has_an_answer_at_each_place():
    maps = np.random.default_rng(1).dirichlet(np.ones(4), (5, 3, 2)).astype(np.float32)
    seen = OutputsSeen((classes(count=4),))
    for one in maps:
        seen.add({"y": one[None]})
    found = seen.fingerprints()["y"]
    counts = np.bincount(maps.argmax(-1).ravel(), minlength=4)
    assert found.top_classes == {str(c): int(n) for c, n in enumerate(counts) if n} and len(found.channels) == 4
