"""Opening models that can be changed, saving them, and opening what was saved."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mlopt.errors import BadRequest, ModelUnreadable, UntrustedCode
from mlopt.frameworks import open_model, open_trainable
from mlopt.frameworks.keras.network.model import trainable
from mlopt.location import ModelLocation
from mlopt.testing import tiny

L = tf_keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")      # Keras 3, saving
ALL = (*tiny.TINY, "inverted_residuals", "squeeze_excite", "unet", "densenet", "siamese", "nested_outputs", "by_dict",
       "oddities", "volumes")  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_what_is_saved_opens_as_the_same_network(opened, tmp_path, name):
    _, network, given = opened(name)
    network.save(tmp_path / "new")
    again = open_trainable(ModelLocation(tmp_path / "new"))
    assert again.network == network.network and again.signature == network.signature
    for port, value in network.predict(given).items():
        np.testing.assert_array_equal(again.predict(given)[port], value)
    assert open_model(ModelLocation(tmp_path / "new" / "model.h5")).signature == network.signature


def test_a_file_of_the_legacy_keras_opens_taken_apart(opened, tmp_path):
    model, network, given = opened("siamese")
    model.save(tmp_path / "siamese.h5")
    found = open_trainable(ModelLocation(tmp_path / "siamese.h5"))
    assert found.network == network.network
    np.testing.assert_array_equal(found.predict(given)["same"], network.predict(given)["same"])


def test_saving_gives_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from mlopt.isolation import hide, TORCH, NEVER_NEEDED;"
        "hide(TORCH | NEVER_NEEDED); from mlopt.testing import tiny;"
        "from mlopt.frameworks.keras.network.model import trainable; model = tiny.build('small_convnet');"
        "trainable(model, tiny.TinyModel(model).signature).folded().save(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, capture_output=True)
    model = tiny.build("small_convnet")
    trainable(model, tiny.TinyModel(model).signature).folded().save(tmp_path / "here")
    assert (tmp_path / "here" / "model.h5").read_bytes() == (tmp_path / "there" / "model.h5").read_bytes()
    assert [file.name for file in (tmp_path / "here").iterdir()] == ["model.h5"]


def test_a_keras_3_model_opens_as_its_counterpart(tmp_path):
    import keras

    image = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.ops.relu(keras.layers.BatchNormalization(name="norm")(x))
    model = keras.Model(image, keras.layers.Dense(2, name="out")(keras.layers.GlobalAveragePooling2D()(x)))
    model.save(tmp_path / "model.keras")
    network = open_trainable(ModelLocation(tmp_path / "model.keras"))
    rows = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(network.folded().predict({"image": rows})["out"], model(rows), rtol=1e-4, atol=1e-5)
    assert [node.kind.value for node in network.network.nodes][:4] == ["input", "convolution", "normalization", "pass"]


def test_a_saved_model_is_refused_with_what_to_give_instead(opened, tmp_path):
    model, _, _ = opened("autoencoder")
    tf.saved_model.save(model, str(tmp_path / "saved"))
    with pytest.raises(BadRequest, match=r"a SavedModel holds none.*\.h5 or \.keras"):
        open_trainable(ModelLocation(tmp_path / "saved"))


def test_a_keras_3_model_without_a_counterpart_is_refused_with_the_reason(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((8, 3)), keras.layers.GroupNormalization(3), keras.layers.RMSNormalization()])
    model.save(tmp_path / "model.keras")
    with pytest.raises(BadRequest, match=r"no counterpart there \(.*RMSNormalization"):
        open_trainable(ModelLocation(tmp_path / "model.keras"))


def test_what_is_no_model_fails_as_it_does_elsewhere(tmp_path):
    with pytest.raises(ModelUnreadable, match="no such file"):
        open_trainable(ModelLocation(tmp_path / "nothing.h5"))
    with pytest.raises(ModelUnreadable):
        open_trainable(ModelLocation(tmp_path))


def test_open_sizes_are_fixed_by_the_caller(tmp_path):
    image = tf_keras.Input((None, None, 3), name="image")
    model = tf_keras.Model(image, L.Conv2D(2, 1, name="mask")(L.Conv2D(4, 3, padding="same", name="conv")(image)))
    model.save(tmp_path / "open.h5")
    network = open_trainable(ModelLocation(tmp_path / "open.h5", input_shapes={"image": (1, 6, 8, 3)}))
    assert network.network.node("mask").shape == (6, 8, 2)
    assert network.network.node("conv").macs == 6 * 8 * 4 * 27
    network.save(tmp_path / "fixed")
    assert open_trainable(ModelLocation(tmp_path / "fixed")).signature == network.signature


class Doubled(tf_keras.layers.Layer):
    def call(self, x):
        return x * 2


def test_a_layer_of_the_user_s_own_is_kept_and_pins_its_channels(ports):
    vector = tf_keras.Input((3,), name="vector")
    model = tf_keras.Model(vector, L.Dense(2, name="out")(Doubled(name="own")(L.Dense(4, name="dense")(vector))))
    network = trainable(model, ports(model), {"Doubled": Doubled})
    node = network.network.node("own")
    assert node.kind == "other" and node.note == "Doubled is not a layer of Keras"
    rows = {"vector": np.ones((2, 3), np.float32)}
    np.testing.assert_array_equal(network.folded().predict(rows)["out"], model(rows["vector"]))


def test_a_masked_recurrent_network_keeps_its_mask(ports, rows):
    tokens = tf_keras.Input((6,), dtype="int32", name="tokens")
    x = L.GRU(4, name="gru")(L.Embedding(10, 3, mask_zero=True)(tokens))
    model = tf_keras.Model(tokens, L.Dense(2, name="out")(x))
    network = trainable(model, ports(model))
    given = {"tokens": np.array([[1, 2, 0, 0, 0, 0], [3, 4, 5, 6, 7, 8]], np.int32)}
    np.testing.assert_allclose(network.predict(given)["out"], model(given["tokens"]), rtol=1e-5)
    step_by_step = network.outputs_of(network.forward(given))["out"]
    np.testing.assert_allclose(step_by_step, model(given["tokens"]), rtol=1e-5)


def test_statistics_of_a_normalization_layer_come_along(ports):
    vector = tf_keras.Input((3,), name="vector")
    normal = L.Normalization(name="normal")
    normal.adapt(np.random.default_rng(0).normal(3, 2, (50, 3)).astype(np.float32))
    model = tf_keras.Model(vector, L.Dense(2, name="out")(normal(vector)))
    network, rows = trainable(model, ports(model)), np.ones((2, 3), np.float32)
    np.testing.assert_allclose(network.folded().predict({"vector": rows})["out"], model(rows), rtol=1e-5)


def test_weights_are_set_by_name_and_come_back_as_copies(opened):
    _, network, given = opened("autoencoder")
    model = network.folded()
    weights = model.weights()
    weights["dense/kernel"][:] = 0
    assert model.weights()["dense/kernel"].any()
    model.set_weights({"dense/kernel": weights["dense/kernel"]})
    assert not model.weights()["dense/kernel"].any()
    np.testing.assert_allclose(np.ptp(model.predict(given)["reconstruction"], axis=0), 0, atol=1e-6)
    with pytest.raises(ValueError, match="no weight nobody/kernel"):
        model.set_weights({"nobody/kernel": weights["dense/kernel"]})


def test_many_rows_are_predicted_as_few_are(opened):
    _, network, _ = opened("small_convnet")
    rows = np.random.default_rng(0).normal(size=(600, 8, 8, 3)).astype(np.float32)
    whole = network.predict({"image": rows})["label"]
    assert whole.shape == (600, 4)
    np.testing.assert_allclose(whole[590:], network.predict({"image": rows[590:]})["label"], rtol=1e-5)
    with pytest.raises(ValueError, match="no node nobody"):
        network.activations(["nobody"], {"image": rows})


@pytest.mark.parametrize("name", ALL)
def test_layer_by_layer_gives_what_the_whole_gives(opened, name):
    _, network, given = opened(name)
    values = network.forward({key: tf.constant(value) for key, value in given.items()})
    for port, value in network.predict(given).items():
        np.testing.assert_allclose(network.outputs_of(values)[port], value, rtol=1e-4, atol=1e-5)


def test_saving_says_nothing(opened, tmp_path, caplog, capfd):
    _, network, _ = opened("autoencoder")
    network.save(tmp_path / "quiet")
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_a_lambda_that_the_user_trusts_is_carried_along(tmp_path):
    vector = tf_keras.Input((4,), name="vector")
    x = L.Lambda(lambda x: x * 2, name="twice")(L.Dense(3, name="dense")(vector))
    model = tf_keras.Model(vector, L.Dense(2, name="out")(x))
    model.save(tmp_path / "model.h5")
    with pytest.raises(UntrustedCode, match="twice"):
        open_trainable(ModelLocation(tmp_path / "model.h5"))
    network = open_trainable(ModelLocation(tmp_path / "model.h5", trust_code=True))
    assert network.network.node("twice").kind == "other"
    rows = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(network.folded().predict({"vector": rows})["out"], model(rows), rtol=1e-6)
