"""Each kind of file really written by the Keras of its time, opened, and compared with the model that was saved."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mlopt.errors import ModelUnreadable, UntrustedCode
from mlopt.frameworks import open_model
from mlopt.frameworks.keras.quiet import CHATTER
from mlopt.location import ModelLocation
from mlopt.testing import tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),   # that is the point
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),       # of Keras, when it saves
    pytest.mark.filterwarnings("ignore::ResourceWarning"),                  # tf.saved_model.load leaves a file open
]

MACS = {   # by hand: output positions x taps x channels in x channels out; attention 2 x heads x 6 x 6 x 4 twice
    "small_convnet": 8 * 8 * 27 * 8 + 8 * 8 * 72 * 8 + 32 * 4,
    "depthwise_convnet": 6 * 3 * 15 * 8 + 6 * 3 * 9 * 8 + 6 * 3 * 8 * 12 + 12 * 3,
    "autoencoder": 24 * 16 + 16 * 4 + 4 * 16 + 16 * 24,
    "streaming_conv1d": 16 * 15 * 8 + 16 * 3 * 8 + 16 * 8 * 8 + 8,
    "two_inputs_two_outputs": 6 * 6 * 9 * 4 + 3 * 4 + 8 * 3 + 8,
    "small_transformer": 4 * 6 * 8 * 8 + 2 * (2 * 6 * 6 * 4) + 2 * 6 * 8 * 16 + 8 * 4,
    "mobile_block": 4 * 4 * 27 * 8 + 8 * 4 + 4 * 8 + 4 * 4 * 9 * 8 * 6 + 8 * 8 * 9 * 6 * 6 + 8 * 8 * 6 * 2,
}
ACTIVATIONS = {
    "small_convnet": ("softmax",), "depthwise_convnet": ("softmax",), "autoencoder": ("linear",),
    "streaming_conv1d": ("sigmoid",), "two_inputs_two_outputs": ("softmax", "linear"),
    "small_transformer": ("softmax",), "mobile_block": ("softmax",),
}   # fmt: skip


def rewritten(path: Path, change) -> Path:
    """The .h5 file with its architecture changed as text."""
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = change(file.attrs["model_config"])
    return path


@pytest.mark.parametrize("suffix", ["h5", "keras", "folder"])
@pytest.mark.parametrize("name", ["two_inputs_two_outputs", "streaming_conv1d"])
def test_what_tf_keras_saved_predicts_the_same_when_opened(tmp_path, name, suffix):
    saved = tiny.build(name)
    saved.save(tmp_path / f"m.{suffix}", save_format="tf" if suffix == "folder" else None)
    opened, reference = open_model(ModelLocation(tmp_path / f"m.{suffix}")), tiny.TinyModel(saved)
    inputs = tiny.inputs_for(reference, 3)
    wanted, got = reference.predict(inputs), opened.predict(inputs)
    assert got.keys() == wanted.keys()
    for output, values in wanted.items():
        np.testing.assert_allclose(got[output], values, atol=1e-6)
    assert opened.source.macs == MACS[name]
    assert {s.name: s.shape for s in opened.signature.inputs} == {s.name: s.shape for s in reference.signature.inputs}


@pytest.mark.parametrize("name", list(tiny.TINY))
def test_work_and_activations_are_those_worked_out_by_hand(tmp_path, name):
    saved = tiny.build(name)
    saved.save(tmp_path / "m.h5")
    source = open_model(ModelLocation(tmp_path / "m.h5")).source
    assert source.macs == MACS[name]
    assert source.output_activations == ACTIVATIONS[name]
    assert source.parameters == sum(layer.parameters for layer in source.layers) == saved.count_params()
    assert source.weight_bytes == 4 * saved.count_params() and source.optimizer_bytes == 0


def test_layers_of_nested_models_are_named_outer_inner(tmp_path):
    tiny.build("two_inputs_two_outputs").save(tmp_path / "m.h5")
    layers = {layer.name: layer for layer in open_model(ModelLocation(tmp_path / "m.h5")).source.layers}
    assert layers["encoder/conv2d"].macs == 6 * 6 * 9 * 4
    assert layers["encoder/conv2d"].output_shape == (None, 6, 6, 4)
    assert "image" not in layers


def test_a_shared_layer_counts_its_weights_once_and_its_work_twice(tmp_path):
    vector = tf_keras.Input((6,))
    dense = tf_keras.layers.Dense(6, name="shared")
    tf_keras.Model(vector, dense(dense(vector))).save(tmp_path / "m.h5")
    [layer] = open_model(ModelLocation(tmp_path / "m.h5")).source.layers
    assert (layer.name, layer.parameters, layer.macs) == ("shared", 42, 72)


def test_loops_over_time_are_counted_step_by_step(tmp_path):
    sequence = tf_keras.Input((10, 3))
    tf_keras.Model(sequence, tf_keras.layers.LSTM(4)(sequence)).save(tmp_path / "m.h5")
    assert open_model(ModelLocation(tmp_path / "m.h5")).source.macs == 10 * (3 * 16 + 4 * 16)


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_optimizer_state_is_told_from_weights(tmp_path, suffix):
    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 4)), np.zeros((4, 2)), verbose=0)
    model.save(tmp_path / f"m.{suffix}")
    source = open_model(ModelLocation(tmp_path / f"m.{suffix}")).source
    assert source.weight_bytes == 4 * 10
    # Adam keeps two moments of each weight, and a step counter of 8 bytes; a .keras file holds, besides,
    # the two numbers of the running mean of the loss
    assert source.optimizer_bytes - 2 * 4 * 10 == (8 if suffix == "h5" else 8 + 8)


def old_functional() -> tf_keras.Model:
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.DepthwiseConv2D(3)(image)
    x = tf_keras.layers.BatchNormalization()(x)
    return tf_keras.Model(image, tf_keras.layers.Flatten(name="flat")(x))


def test_a_file_of_the_first_keras_2_opens(tmp_path):
    saved = old_functional()
    saved.save(tmp_path / "m.h5")

    def aged(text: str) -> str:
        config = json.loads(text)
        config["class_name"] = "Model"
        for layer in config["config"]["layers"]:
            for key in ("ragged", "groups", "dtype"):
                layer["config"].pop(key, None)
            if layer["class_name"] == "BatchNormalization":
                layer["config"]["axis"] = [3]
        return json.dumps(config)

    opened = open_model(ModelLocation(rewritten(tmp_path / "m.h5", aged)))
    inputs = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(opened.predict({"image": inputs})["flat"], saved(inputs), atol=1e-6)


def test_mixed_precision_is_read_as_float32(tmp_path):
    dense = tf_keras.layers.Dense(3, dtype="mixed_float16", name="d")
    tf_keras.Sequential([tf_keras.Input((4,)), dense]).save(tmp_path / "m.h5")
    opened = open_model(ModelLocation(tmp_path / "m.h5"))
    assert opened.signature.outputs[0].dtype == "float32"
    assert not [op for op in opened.concrete_function(1).graph.get_operations() if op.type == "Cast"]
    assert "mixed precision read as float32" in opened.source.loaded_by


@pytest.mark.parametrize(("library", "name"), [(tf_keras, "m.h5"), (keras, "m.h5"), (tf_keras, "m.keras"),
                                               (keras, "m.keras")])
@pytest.mark.parametrize(("policy", "said"), [("float16", "float16"), ("mixed_bfloat16", "mixed precision"),
                                              ("float64", "float64")])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5:UserWarning")    # the kind to be opened
def test_a_model_of_another_floating_type_is_read_as_float32_whoever_saved_it(tmp_path, library, name, policy, said):
    inputs = library.Input((4,), dtype="float16" if policy == "float16" else "float32")
    x = library.layers.Dense(3, activation="tanh", dtype=policy)(inputs)
    model = library.Model(inputs, library.layers.BatchNormalization(dtype=policy)(x))
    model.save(tmp_path / name)
    opened = open_model(ModelLocation(tmp_path / name))
    assert {s.dtype for s in (*opened.signature.inputs, *opened.signature.outputs)} == {"float32"}
    assert not [op for op in opened.concrete_function(1).graph.get_operations() if op.type == "Cast"]
    assert f"{said} read as float32" in opened.source.loaded_by
    rows = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    wanted = np.asarray(model(rows, training=False), np.float32)
    np.testing.assert_allclose(next(iter(opened.predict({opened.signature.inputs[0].name: rows}).values())), wanted,
                               atol=0.03)


def keras_3_convnet() -> keras.Model:
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.LeakyReLU(0.3)(keras.layers.DepthwiseConv2D(3)(x))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="label")(keras.layers.Flatten()(x)))


def keras_3_nested() -> keras.Model:
    tokens, extra = keras.Input((6,), dtype="int32", name="tokens"), keras.Input((3,), name="extra")
    x = keras.layers.Embedding(20, 8)(tokens)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.MultiHeadAttention(2, 4)(x, x))
    within = keras.Input((3,))
    inner = keras.Model(within, keras.layers.Dense(3, activation="gelu")(within), name="inner")
    y = inner(keras.ops.relu(inner(extra)) * 2.0)
    x = keras.layers.Concatenate()([x, y])
    outs = {"kind": keras.layers.Dense(3, activation="softmax")(x), "size": keras.layers.Dense(1)(x)}
    return keras.Model({"tokens": tokens, "extra": extra}, outs)


def keras_3_streaming() -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((16, 5), name="frames"), layers.Conv1D(8, 3, padding="causal", activation="relu"),
         layers.Bidirectional(layers.GRU(3)), layers.Dense(1, activation="sigmoid", name="wake")]
    )   # fmt: skip


@pytest.mark.parametrize(
    ("build", "suffix"),
    [(keras_3_convnet, "keras"), (keras_3_convnet, "h5"), (keras_3_nested, "keras"), (keras_3_streaming, "h5")],
)
def test_what_keras_3_saved_opens_as_its_tf_keras_twin(tmp_path, build, suffix):
    keras.utils.set_random_seed(0)
    saved = build()
    saved.save(tmp_path / f"m.{suffix}")
    opened = open_model(ModelLocation(tmp_path / f"m.{suffix}"))
    assert opened.source.loaded_by == "tf_keras twin of keras 3"
    assert isinstance(opened.keras_model, tf_keras.Model)
    random = np.random.default_rng(0)
    inputs = {
        s.name: random.integers(0, 20, (2, *s.shape[1:])).astype(s.dtype) if s.dtype == "int32"
        else random.normal(size=(2, *s.shape[1:])).astype(np.float32)
        for s in opened.signature.inputs
    }   # fmt: skip
    wanted = saved(inputs if len(inputs) > 1 else next(iter(inputs.values())), training=False)
    wanted = wanted if isinstance(wanted, dict) else {opened.signature.outputs[0].name: wanted}
    got = opened.predict(inputs)
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name], values, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [(keras.layers.RMSNormalization, "RMSNormalization"), (lambda: keras.layers.Activation("hard_sigmoid"), "differs")],
)
def test_a_keras_3_model_without_a_twin_is_used_as_it_is(tmp_path, layer, reason):
    """`hard_sigmoid` has another slope in Keras 3: the rebuilt model is caught by running it."""
    saved = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(4), layer(), keras.layers.Dense(2)])
    saved.save(tmp_path / "m.keras")
    opened = open_model(ModelLocation(tmp_path / "m.keras"))
    assert reason in opened.source.loaded_by and opened.keras_model is None
    inputs = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    [got] = opened.predict({"x": inputs}).values()
    np.testing.assert_allclose(got, saved(inputs), atol=1e-6)
    assert opened.source.macs == 4 * 4 + 4 * 2


def test_a_concrete_function_speaks_the_signature_at_a_fixed_batch(tmp_path):
    tiny.build("two_inputs_two_outputs").save(tmp_path / "m.h5")
    function = open_model(ModelLocation(tmp_path / "m.h5")).concrete_function(1)
    given = {spec.name: tuple(spec.shape) for spec in function.structured_input_signature[0]}
    assert given == {"image": (1, 8, 8, 1), "extra": (1, 3)}
    assert {name: tuple(t.shape) for name, t in function.structured_outputs.items()} == {"kind": (1, 3), "size": (1, 1)}


def test_names_that_formats_cannot_hold_are_replaced(tmp_path):
    x = tf_keras.Input((3,), name="my.input-1")
    tf_keras.Model(x, tf_keras.layers.Dense(2, name="the.out")(x)).save(tmp_path / "m.h5")
    signature = open_model(ModelLocation(tmp_path / "m.h5")).signature
    assert (signature.inputs[0].name, signature.outputs[0].name) == ("my_input_1", "the_out")


def test_a_free_dimension_is_named_and_can_be_fixed(tmp_path):
    image = tf_keras.Input((None, None, 3), name="image")
    x = tf_keras.layers.Conv2D(2, 3, padding="same", name="mask")(image)
    tf_keras.Model(image, x).save(tmp_path / "m.h5")
    with pytest.raises(ModelUnreadable, match=r"H \(axis 1\) and W \(axis 2\) open.*--input-shape image=1,SIZE,SIZE,3"):
        open_model(ModelLocation(tmp_path / "m.h5"))
    opened = open_model(ModelLocation(tmp_path / "m.h5", input_shapes={"image": (1, 16, 8, 3)}))
    assert opened.signature.outputs[0].shape == (None, 16, 8, 2)
    assert opened.source.macs == 16 * 8 * 27 * 2
    with pytest.raises(ValueError, match="no input is called picture"):
        open_model(ModelLocation(tmp_path / "m.h5", input_shapes={"picture": (1, 16, 8, 3)}))
    with pytest.raises(ValueError, match="does not fit"):
        open_model(ModelLocation(tmp_path / "m.h5", input_shapes={"image": (1, 16, 8, 4)}))


def test_channels_first_is_told(tmp_path):
    image = tf_keras.Input((3, 8, 8), name="image")
    tf_keras.Model(image, tf_keras.layers.Conv2D(2, 3, data_format="channels_first")(image)).save(tmp_path / "m.h5")
    assert open_model(ModelLocation(tmp_path / "m.h5")).signature.inputs[0].layout == "NCHW"


def test_weights_that_are_not_finite_are_refused_by_layer(tmp_path):
    model = tiny.build("autoencoder")
    model.layers[1].bias.assign(np.where(np.arange(16) == 3, np.nan, 0))
    model.save(tmp_path / "m.h5")
    with pytest.raises(ModelUnreadable, match=r"NaN or infinite in dense \(1 of 16 in bias\)"):
        open_model(ModelLocation(tmp_path / "m.h5"))
    model.save(tmp_path / "folder", save_format="tf")
    with pytest.raises(ModelUnreadable, match=r"NaN or infinite in dense/bias:0 \(1 of 16\)"):
        open_model(ModelLocation(tmp_path / "folder"))


def test_a_model_without_weights_is_refused(tmp_path):
    x = tf_keras.Input((3,))
    tf_keras.Model(x, tf_keras.layers.ReLU()(x)).save(tmp_path / "m.h5")
    with pytest.raises(ModelUnreadable, match="the model has no weights"):
        open_model(ModelLocation(tmp_path / "m.h5"))


@pytest.mark.parametrize("gone", ["model_weights", "model_weights/dense_1", "model_weights/dense/dense/bias:0"])
def test_missing_weights_are_refused(tmp_path, gone):
    tiny.build("autoencoder").save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file[gone]
    with pytest.raises(ModelUnreadable):
        open_model(ModelLocation(tmp_path / "m.h5"))


def test_an_unreadable_layer_setting_is_told_with_the_way_out(tmp_path):
    tiny.build("autoencoder").save(tmp_path / "m.h5")
    broken = rewritten(tmp_path / "m.h5", lambda text: text.replace('"units": 4', '"unites": 4'))
    with pytest.raises(ModelUnreadable, match=r"cannot be rebuilt.*save it again"):
        open_model(ModelLocation(broken))


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_a_lambda_layer_is_refused_and_its_code_does_not_run(tmp_path, name):
    marker = tmp_path / "written"
    x = tf_keras.Input((3,))
    code = eval(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]")   # marshalled into the file
    tf_keras.Model(x, tf_keras.layers.Dense(2)(tf_keras.layers.Lambda(code, name="evil")(x))).save(tmp_path / name)
    marker.unlink()
    with pytest.raises(UntrustedCode, match=r"evil \(Lambda\).*--trust-code"):
        open_model(ModelLocation(tmp_path / name))
    assert not marker.exists()
    open_model(ModelLocation(tmp_path / name, trust_code=True))
    assert marker.exists()                                 # the code was live: only the check held it back


class Halved(tf_keras.layers.Layer):
    def call(self, x):
        return x / 2


def test_custom_layers_open_with_the_callers_own_class(tmp_path, monkeypatch):
    x = tf_keras.Input((3,), name="x")
    saved = tf_keras.Model(x, Halved(name="half")(tf_keras.layers.Dense(2)(x)))
    saved.save(tmp_path / "m.h5")
    with pytest.raises(UntrustedCode, match=r"half \(custom Halved\).*--custom-objects"):
        open_model(ModelLocation(tmp_path / "m.h5", trust_code=True))
    (tmp_path / "my_own_layers.py").write_text(
        "import tf_keras\nclass Halved(tf_keras.layers.Layer):\n    def call(self, x):\n        return x / 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    opened = open_model(ModelLocation(tmp_path / "m.h5", custom_objects=("my_own_layers:Halved",)))
    inputs = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(opened.predict({"x": inputs})["half"], saved(inputs), atol=1e-6)
    with pytest.raises(ModelUnreadable, match=r"my_own_layers:Missing cannot be imported"):
        open_model(ModelLocation(tmp_path / "m.h5", custom_objects=("my_own_layers:Missing",)))


class Plain(tf.Module):
    def __init__(self, path: str = ""):
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), name="first/kernel")
        self.path = path

    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="x")])
    def serve(self, x):
        if self.path:
            tf.io.write_file(self.path, "x")
        return {"y": tf.nn.softmax(x @ self.kernel)}


def test_a_plain_saved_model_opens_by_its_signature(tmp_path):
    module = Plain()
    tf.saved_model.save(module, tmp_path / "m", signatures=module.serve)
    opened = open_model(ModelLocation(tmp_path / "m"))
    [layer] = opened.source.layers
    assert (layer.name, layer.kind, layer.parameters, layer.macs) == ("first", "MatMul", 12, 12)
    assert opened.source.output_activations == ("softmax",)
    inputs = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(opened.predict({"x": inputs})["y"], tf.nn.softmax(module.kernel), atol=1e-6)


def test_a_saved_model_that_writes_files_is_refused_and_writes_none(tmp_path):
    marker = tmp_path / "written"
    module = Plain(str(marker))
    tf.saved_model.save(module, tmp_path / "m", signatures=module.serve)
    with pytest.raises(UntrustedCode, match=r"WriteFile.*--trust-code"):
        open_model(ModelLocation(tmp_path / "m"))
    assert not marker.exists()


def test_a_saved_model_without_its_weights_is_refused(tmp_path):
    module = Plain()
    tf.saved_model.save(module, tmp_path / "m", signatures=module.serve)
    (tmp_path / "m" / "variables" / "variables.index").unlink()
    with pytest.raises(ModelUnreadable, match="weights are missing"):
        open_model(ModelLocation(tmp_path / "m"))
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\x12\xff\xff")
    with pytest.raises(ModelUnreadable, match="damaged or cut short"):
        open_model(ModelLocation(tmp_path / "m"))


def test_only_known_chatter_is_held_back():
    assert CHATTER.search("I0000 1 port.cc:153] oneDNN custom operations are on. You may see")
    assert not CHATTER.search("W0000 1 op.cc:1] out of memory")
