import hashlib
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from sklearn.datasets import load_digits

from mlopt.frameworks import open_model
from mlopt.frameworks.keras import graph, statistics, synthesis
from mlopt.frameworks.keras.starts import noise
from mlopt.location import ModelLocation
from mlopt.model import TensorSpec
from mlopt.testing import tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),   # that is the point
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),       # of Keras, when it saves
    pytest.mark.filterwarnings("ignore::ResourceWarning"),                  # tf.saved_model.load leaves a file open
]


def flat(path):
    opened = open_model(ModelLocation(path))
    return graph.flatten(opened.concrete_function(None), opened._owners(), opened._owner_of)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("small_convnet", "h5"), ("streaming_conv1d", "h5"), ("small_convnet", "folder"), ("autoencoder", "folder")],
)
def test_batch_norm_statistics_are_found_fused_or_spelt_out(tmp_path, name, suffix):
    model = tiny.build(name)
    model.save(tmp_path / f"m.{suffix}", save_format="tf" if suffix == "folder" else "h5")
    found = statistics.normalisations(flat(tmp_path / f"m.{suffix}"))
    norms = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    assert len(found) == len(norms)
    for site, layer in zip(found, norms, strict=True):
        np.testing.assert_allclose(site.mean.ravel(), layer.moving_mean)
        np.testing.assert_allclose(site.variance.ravel(), layer.moving_variance)


def test_batch_norm_of_a_keras_3_export_is_found(tmp_path):
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3), norm, keras.layers.Flatten()])
    norm.moving_mean.assign([1.0, 2.0, 3.0])
    model.export(tmp_path / "m", verbose=False)
    [site] = statistics.normalisations(flat(tmp_path / "m"))
    assert site.mean.tolist() == [[[[1, 2, 3]]]]


def test_layer_norm_is_not_taken_for_batch_norm(tmp_path):
    tiny.build("small_transformer").save(tmp_path / "m.h5")
    assert statistics.normalisations(flat(tmp_path / "m.h5")) == []


def test_mismatch_is_zero_for_matching_samples_and_grows_as_defined():
    tensor = np.array([[1.0], [3.0]], np.float32)           # mean 2, variance 1

    def site(mean: float, variance: float) -> statistics.Site:
        one = np.ones((1, 1), np.float32)
        return statistics.Site(tensor=None, mean=mean * one, variance=variance * one)

    assert float(synthesis.mismatch([site(2, 1)], [tensor])) == pytest.approx(0, abs=1e-5)
    # mean off by 3 deviations of 2: (6 / 2)^2 = 9, and deviation 1 for 2: (1/2 - 1)^2 = 0.25
    assert float(synthesis.mismatch([site(8, 4)], [tensor])) == pytest.approx(9.25, rel=2e-3)


@pytest.mark.parametrize(
    ("layer", "low", "high"),
    [
        (lambda: tf_keras.layers.Rescaling(1 / 255), 0, 255),
        (lambda: tf_keras.layers.Rescaling(1 / 127.5, offset=-1), 0, 255),
        (lambda: tf_keras.layers.Rescaling(2.0, offset=-1.0), 0, 1),
    ],
)
def test_a_rescaling_layer_states_the_range_of_its_input(tmp_path, layer, low, high):
    image = tf_keras.Input((8, 8, 3), name="image")
    tf_keras.Model(image, tf_keras.layers.Conv2D(2, 3)(layer()(image))).save(tmp_path / "m.h5")
    stated = statistics.stated_range(flat(tmp_path / "m.h5"), "image")
    assert (stated.low, stated.high) == pytest.approx((low, high))


def test_a_normalization_layer_states_mean_and_deviation(tmp_path):
    vector = tf_keras.Input((2,), name="x")
    norm = tf_keras.layers.Normalization(mean=[100.0, -5.0], variance=[400.0, 0.25])
    tf_keras.Model(vector, tf_keras.layers.Dense(2)(norm(vector))).save(tmp_path / "m.h5")
    stated = statistics.stated_range(flat(tmp_path / "m.h5"), "x")
    np.testing.assert_allclose(stated.center, [100, -5], rtol=1e-5)
    np.testing.assert_allclose(stated.spread, [20, 0.5], rtol=1e-5)


def test_a_plain_network_states_nothing(tmp_path):
    tiny.build("small_convnet").save(tmp_path / "m.h5")
    assert statistics.stated_range(flat(tmp_path / "m.h5"), "image") is None


def test_noise_is_standardised_and_smooth_where_asked():
    spec = TensorSpec(name="x", shape=(None, 32, 32, 3), dtype="float32", layout="NHWC")
    white, pink = (noise(np.random.default_rng(0), spec, 16, fall) for fall in (0, 1))
    for made in (white, pink):
        np.testing.assert_allclose(made.mean((0, 1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(made.std((0, 1, 2)), 1, atol=1e-4)

    def step(values):
        return float(np.square(np.diff(values, axis=1)).mean())

    assert step(white) == pytest.approx(2, rel=0.05)         # neighbours independent: variance of a difference is 2
    assert step(pink) < 0.8


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    """A small depthwise network, trained on digits in an odd range: -72 to 40."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(0)
    images = load_digits().images[..., None].astype(np.float32) * -7 + 40
    image = tf_keras.Input((8, 8, 1), name="image")
    x = image
    for width in (12, 16):
        x = tf_keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = tf_keras.layers.ReLU(6.0)(tf_keras.layers.BatchNormalization(momentum=0.9)(x))
        x = tf_keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = tf_keras.layers.ReLU(6.0)(tf_keras.layers.BatchNormalization(momentum=0.9)(x))
    x = tf_keras.layers.GlobalAveragePooling2D()(x)
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, activation="softmax")(x))
    model.compile(tf_keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(images, load_digits().target, epochs=6, batch_size=64, verbose=0)
    path = tmp_path_factory.mktemp("digits") / "m.h5"
    model.save(path)
    return path, images


@pytest.fixture(scope="module")
def synthesised(digits_model):
    """64 samples of seed 0, and the sentence on them."""
    made, sentence = open_model(ModelLocation(digits_model[0])).synthesise(64, 0)
    return made["image"], sentence


def test_an_unknown_input_scale_is_found_from_the_model_alone(digits_model, synthesised):
    _, images = digits_model
    found, sentence = synthesised
    assert found.shape == (64, 8, 8, 1) and found.dtype == np.float32
    assert found.std() == pytest.approx(images.std(), rel=0.35)
    assert abs(found.mean() - images.mean()) < 0.35 * images.std()
    assert "4 batch-norm statistics" in sentence and "no measure of accuracy" in sentence


def test_synthesised_inputs_use_the_hidden_layers_as_real_ones_do(digits_model, synthesised):
    path, images = digits_model
    found, _ = synthesised
    network = flat(path)
    sites = statistics.normalisations(network)
    probe = network.function.prune(list(network.inputs.values()), [site.tensor for site in sites])

    def far(inputs: np.ndarray) -> float:
        return float(synthesis.mismatch(sites, probe(tf.constant(inputs, tf.float32))))

    gauss = np.random.default_rng(0).normal(size=(64, 8, 8, 1))
    assert far(found) < 0.05
    assert far(gauss) > 0.5
    assert far(found) < 2 * far(images[:64]) + 0.02


def test_the_same_seed_makes_the_same_bytes_in_another_process_which_keeps_quiet(digits_model):
    path, _ = digits_model
    environment = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES")}
    script = f"""
        from mlopt.isolation import NEVER_NEEDED, TORCH, hide
        hide(TORCH | NEVER_NEEDED)
        import hashlib
        from pathlib import Path
        from mlopt.frameworks import open_model
        from mlopt.location import ModelLocation
        made, _ = open_model(ModelLocation(Path({str(path)!r}))).synthesise(16, 3)
        print(hashlib.sha256(made["image"].tobytes()).hexdigest())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, env=environment
    )
    made = open_model(ModelLocation(path)).synthesise(16, 3)[0]["image"]
    assert hashlib.sha256(made.tobytes()).hexdigest() == done.stdout.strip()
    assert done.stderr == ""


def test_without_batch_norm_the_sentence_says_how_little_is_proven(tmp_path):
    tokens = tf_keras.Input((6,), dtype="int32", name="tokens")
    x = tf_keras.layers.GlobalAveragePooling1D()(tf_keras.layers.Embedding(11, 4)(tokens))
    tf_keras.Model(tokens, tf_keras.layers.Dense(2)(x)).save(tmp_path / "m.h5")
    made, sentence = open_model(ModelLocation(tmp_path / "m.h5")).synthesise(200, 0)
    assert made["tokens"].dtype == np.int32 and set(np.unique(made["tokens"])) == set(range(11))
    assert "no batch-norm statistics" in sentence and "may be wrong" in sentence


def test_large_networks_get_fewer_samples_moved_and_the_rest_as_variations():
    spec = TensorSpec(name="x", shape=(None, 4, 4, 1), dtype="float32", layout="NHWC")
    few = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)
    many = synthesis._stretched(few, spec, 8, np.random.default_rng(0))
    assert many.shape == (8, 4, 4, 1)
    np.testing.assert_array_equal(many[:3], few)
    np.testing.assert_allclose(np.sort(many[3].ravel()), np.sort(few[0].ravel()))


@pytest.mark.parametrize("suffix", [".h5", ""])
def test_a_swish_after_batch_norm_does_not_stand_in_the_way(tmp_path, suffix):
    """TensorFlow gives swish a gradient of its own, which is tied to the graph that the layer was traced in."""
    image = tf_keras.Input((8, 8, 2), name="image")
    x = tf_keras.layers.BatchNormalization()(tf_keras.layers.Conv2D(4, 3, activation="swish")(image))
    x = tf_keras.layers.BatchNormalization()(tf_keras.layers.Conv2D(4, 3)(tf_keras.layers.Activation("swish")(x)))
    path = tmp_path / f"m{suffix}"
    tf_keras.Model(image, tf_keras.layers.Flatten()(x)).save(path, save_format="h5" if suffix else "tf")
    inputs, how = open_model(ModelLocation(path)).synthesise(4, 0)
    assert inputs["image"].shape == (4, 8, 8, 2) and np.isfinite(inputs["image"]).all() and "2 batch-norm" in how
