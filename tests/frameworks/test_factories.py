"""A model that a function of the user's builds, with weights that lie beside it."""

import sys

import h5py
import keras
import numpy as np
import pytest
import tf_keras

import mlopt
from mlopt.errors import BadRequest, ModelUnreadable
from mlopt.frameworks import open_model, open_trainable
from mlopt.location import ModelLocation

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),       # of Keras, when it saves
]

NETWORKS = """
import keras
import tf_keras


def network(library, width=3):
    vector = library.Input((4,), name="vector")
    return library.Model(vector, library.layers.Dense(width, activation="softmax", name="label")(vector))


def build():
    return network(tf_keras)


def build_3():
    return network(keras)


def wider():
    return network(tf_keras, 5)


def no_model():
    return {"layers": 1}
"""
KERNEL = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
BIAS = np.array([0.5, -0.5, 0.0], np.float32)
ROWS = np.array([[1, 0, 0, 0], [0.5, -1, 2, 0.25]], np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder: a module of the user's, and weights that either Keras saved."""
    (tmp_path / "their_networks.py").write_text(NETWORKS)
    for library, name in ((tf_keras, "two"), (keras, "three")):
        model = library.Sequential([library.Input((4,)), library.layers.Dense(3, name="label")])
        model.set_weights([KERNEL, BIAS])
        model.save_weights(tmp_path / f"{name}.weights.h5")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("their_networks", None)


def location(place, function, weights="two.weights.h5"):
    return ModelLocation(place / weights, factory=f"their_networks:{function}")


def softmax(scores):
    grown = np.exp(scores)
    return grown / grown.sum(-1, keepdims=True)


@pytest.mark.parametrize(("function", "weights"), [("build", "two.weights.h5"), ("build_3", "three.weights.h5")])
def test_what_the_function_builds_opens_with_the_weights_beside_it(place, function, weights):
    opened = open_model(location(place, function, weights))
    np.testing.assert_allclose(opened.predict({"vector": ROWS})["label"], softmax(ROWS @ KERNEL + BIAS), atol=1e-6)
    assert opened.source.loaded_by == f"built by their_networks:{function}"
    assert (opened.source.parameters, opened.source.weight_bytes) == (15, 60)


def test_it_can_be_taken_apart_and_trained_like_a_model_that_was_saved_whole(place):
    trainable = open_trainable(location(place, "build"))
    np.testing.assert_array_equal(trainable.weights()["label/kernel"], KERNEL)


@pytest.mark.parametrize(("function", "found"), [
    ("no_model", "gave a dict for it, no Keras model"),
    ("missing", "the function their_networks:missing cannot be imported"),
    ("wider", "its weights do not fit what their_networks:wider builds"),
])  # fmt: skip
def test_what_is_no_network_for_these_weights_is_refused_with_the_functions_name(place, function, found):
    with pytest.raises(ModelUnreadable, match=found):
        open_model(location(place, function))


def test_weights_of_another_kind_of_file_are_refused(place):
    (place / "w.npz").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ModelUnreadable, match=r"no HDF5 weights.*save_weights"):
        open_model(location(place, "build", "w.npz"))


def test_weights_that_point_into_another_file_are_refused(place):
    with h5py.File(place / "linked.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("two.weights.h5", "/layers")
    with pytest.raises(ModelUnreadable):
        open_model(location(place, "build", "linked.weights.h5"))


def test_a_name_that_is_no_function_of_a_module_is_refused_with_an_example(place):
    with pytest.raises(BadRequest, match="module:NAME"):
        open_model(ModelLocation(place / "two.weights.h5", factory="their_networks"))


def test_compress_runs_the_users_module_in_workers_alone(place):
    inputs = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    np.savez(place / "samples.npz", vector=inputs)
    made = mlopt.compress(
        "their_networks:build", weights=place / "two.weights.h5", test=str(place / "samples.npz"), out=place / "out",
        formats=("tflite",), precisions=("float32",),
    )
    assert [c.precision for c in made.report.candidates if c.verified] == ["float32"]
    assert made.report.source.loaded_by == "built by their_networks:build"
    assert "their_networks" not in sys.modules
