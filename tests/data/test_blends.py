"""Blends of two samples."""

import numpy as np

from mlopt.data.blends import with_blends


def test_the_samples_come_first_and_unchanged():
    given = {"x": np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)}
    made = with_blends(given, 10, seed=0)
    assert made["x"].dtype == np.float32 and np.array_equal(made["x"][:6], given["x"])


def test_a_blend_lies_between_two_different_samples_and_both_inputs_share_the_blend():
    corners = np.eye(5, dtype=np.float32)
    made = with_blends({"a": corners, "b": 2 * corners}, 200, seed=1)
    blends = made["a"][5:]
    assert np.allclose(blends.sum(axis=1), 1) and ((blends > 0).sum(axis=1) == 2).all()
    assert blends.max() <= 0.7 and np.allclose(made["b"][5:], 2 * blends)


def test_token_inputs_are_taken_whole_from_one_of_the_two():
    made = with_blends({"ids": np.array([[7, 7], [9, 9]])}, 20, seed=0)
    assert {tuple(row) for row in made["ids"][2:].tolist()} <= {(7, 7), (9, 9)}


def test_one_sample_alone_is_blended_with_itself():
    made = with_blends({"x": np.array([[4.0]], np.float32)}, 3, seed=0)
    assert np.allclose(made["x"], 4.0)
