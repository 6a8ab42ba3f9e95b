"""The float TFLite file of a Keras model."""


import numpy as np
import pytest
from mlopt_tflite.exporter import export
from mlopt_tflite.runtime import open_runtime

from mlopt.errors import UnsupportedOps
from mlopt.location import ModelLocation
from mlopt.testing import tiny

pytestmark = pytest.mark.filterwarnings(
    # LiteRT says that keeping every tensor costs memory, which is what was asked for
    "ignore:.*experimental_preserve_all_tensors.*:UserWarning"
)


@pytest.mark.parametrize("name", sorted(tiny.TINY))
def test_an_exported_file_computes_what_the_model_computes(exported, name):
    case = exported(name)
    runtime = open_runtime(case.file, case.signature)
    expected, found = case.model.predict(case.inputs), runtime.predict(case.inputs)
    assert found.keys() == expected.keys()
    for output in expected:
        assert found[output].shape == expected[output].shape and found[output].dtype == np.float32
        assert np.allclose(found[output], expected[output], atol=1e-5)


def test_exporting_twice_writes_the_same_bytes(exported, tmp_path):
    case = exported("two_inputs_two_outputs")
    export(case.model, case.signature, tmp_path / "again.tflite")
    assert (tmp_path / "again.tflite").read_bytes() == case.file.read_bytes()


def test_an_operation_that_tflite_lacks_is_named_with_its_layer(tmp_path):
    import tensorflow as tf
    import tf_keras

    class Scorer(tf_keras.layers.Layer):
        def call(self, x):
            return tf.math.erfinv(x * 0.1)

    vector = tf_keras.Input((4,), name="vector")
    model = tiny.TinyModel(tf_keras.Model(vector, Scorer(name="scorer")(tf_keras.layers.Dense(3)(vector))))
    with pytest.raises(UnsupportedOps) as caught:
        export(model, model.signature, tmp_path / "o.tflite")
    assert caught.value.layers_by_op == {"Erfinv": ["scorer"]} and not (tmp_path / "o.tflite").exists()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")      # of Keras, when it saves
def test_a_keras_3_model_with_random_layers_is_exported_with_its_names(tmp_path):
    """TensorFlow cannot save the seed of such a layer, and its converter then drops the signature without a word."""
    import keras

    from mlopt.frameworks import open_model

    image = keras.Input((6, 6, 1), name="image")
    x = keras.layers.Conv2D(2, 3)(keras.layers.RandomFlip(name="flip")(image))
    keras.Model(image, keras.layers.Flatten(name="flat")(x)).save(tmp_path / "m.keras")
    model = open_model(ModelLocation(tmp_path / "m.keras"))
    export(model, model.signature, tmp_path / "m.tflite")
    inputs = tiny.inputs_for(model, 4)
    outputs = open_runtime(tmp_path / "m.tflite", model.signature).predict(inputs)
    np.testing.assert_allclose(outputs["flat"], model.predict(inputs)["flat"], atol=1e-5)


# what slimming must keep
