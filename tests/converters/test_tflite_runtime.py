"""TFLite files as they are read back and run."""


import numpy as np
import pytest
from mlopt_tflite import flatfile
from mlopt_tflite.engine import Engine
from mlopt_tflite.exporter import export
from mlopt_tflite.layers import layer_errors
from mlopt_tflite.packing import pack
from mlopt_tflite.runtime import open_runtime
from mlopt_tflite.storage import read_storage

from mlopt.errors import DataMismatch, MloptError, ModelUnreadable
from mlopt.model import Signature, TensorSpec
from mlopt.testing import tiny

pytestmark = pytest.mark.filterwarnings(
    # LiteRT says that keeping every tensor costs memory, which is what was asked for
    "ignore:.*experimental_preserve_all_tensors.*:UserWarning"
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"not a model at all", "TFL3"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), "refuses|damaged|no graph"),
    ],
)
def test_what_is_no_tflite_file_is_refused_in_words(tmp_path, content, says):
    (tmp_path / "x.tflite").write_bytes(content)
    with pytest.raises(ModelUnreadable, match=says):
        read_storage(tmp_path / "x.tflite")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelUnreadable, match=r"gone\.tflite"):
        read_storage(tmp_path / "gone.tflite")


def test_truncated_and_flipped_files_never_raise_anything_but_our_errors(exported, tmp_path):
    content = exported("small_convnet").file.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for attempt in range(120):
        broken = bytearray(content)
        if attempt % 2:
            broken = broken[: random.integers(1, len(broken))]
        else:
            for place in random.integers(0, len(broken), 5):
                broken[place] = random.integers(0, 256)
        (tmp_path / "x.tflite").write_bytes(bytes(broken))
        try:
            read_storage(tmp_path / "x.tflite")
        except MloptError:
            refused += 1
    assert refused >= 60   # every truncation, at the least


def test_a_file_of_another_model_is_not_opened_as_this_one(exported):
    with pytest.raises(ModelUnreadable, match="another model"):
        open_runtime(exported("autoencoder").file, exported("small_convnet").signature)
    port = TensorSpec(name="spectrum", shape=(None, 25), dtype="float32", layout="NC")
    signature = Signature(inputs=(port,), outputs=exported("autoencoder").signature.outputs)
    with pytest.raises(ModelUnreadable, match="shape"):
        open_runtime(exported("autoencoder").file, signature)


# the runtime


def test_quantizing_an_input_is_what_the_runtimes_own_operation_does(exported, tmp_path):
    """An integer file between QUANTIZE and DEQUANTIZE: LiteRT's kernel is the oracle for ours."""
    from mlopt_tflite.engine import to_stored
    from mlopt_tflite.graph import Editor, parameters

    editor = Editor(flatfile.read(exported("autoencoder").file))
    stored = editor.add_tensor(shape=(1, 24), kind="int8", quantization=parameters(0.05, 3))
    editor.graph.operators = [editor.new_op("QUANTIZE", [editor.graph.inputs[0]], [stored], 1)]
    editor.graph.outputs = [stored]
    editor.model.signatureDefs[0].outputs[0].tensorIndex = stored
    numbers = (np.arange(24, dtype=np.float32) - 12) * np.float32(0.611) + np.float32(0.01)   # no exact halves
    result = Engine(pack(editor.model)).run_stored({"spectrum": numbers[None]})["reconstruction"][0]
    assert np.array_equal(result, to_stored(numbers, np.dtype("int8"), float(np.float32(0.05)), 3))
    assert result.min() == -128 and result.max() == 127   # both ends are clipped


def test_a_batch_is_predicted_as_its_samples_are_one_by_one(exported, tmp_path):
    case = exported("two_inputs_two_outputs")
    case.make("int8", tmp_path / "out.tflite")
    runtime = open_runtime(tmp_path / "out.tflite", case.signature)
    together = runtime.predict({n: v[:5] for n, v in case.inputs.items()})
    for row in range(5):
        alone = runtime.predict({n: v[row : row + 1] for n, v in case.inputs.items()})
        assert all(np.array_equal(alone[n][0], together[n][row]) for n in together)


def test_invoke_runs_what_was_staged(exported):
    case = exported("autoencoder")
    runtime = open_runtime(case.file, case.signature)
    expected = runtime.predict({n: v[:2] for n, v in case.inputs.items()})["reconstruction"]
    runtime.stage({n: v[1:2] for n, v in case.inputs.items()})
    runtime.invoke()
    index = runtime.engine.interpreter.get_output_details()[0]["index"]
    assert np.array_equal(runtime.engine.tensor(index)[0], expected[1])


def test_inputs_that_do_not_fit_are_refused(exported):
    runtime = open_runtime(exported("autoencoder").file, exported("autoencoder").signature)
    for wrong in ({"spectrum": np.ones((2, 23))}, {"other": np.ones((2, 24))}):
        with pytest.raises(DataMismatch, match="spectrum"):
            runtime.predict(wrong)


def test_layer_errors_name_every_operation_and_fall_with_more_bits(exported, tmp_path):
    case = exported("small_convnet")
    worst = {}
    for precision in ("int8", "int16x8"):
        case.make(precision, tmp_path / precision)
        found = layer_errors(case.file, tmp_path / precision, case.samples, 8)
        expected = [f"{op.name}#{op.index}" for op in flatfile.ops(flatfile.read(case.file))]
        assert [e.name for e in found] == expected and "CONV_2D#0" in expected
        worst[precision] = min(e.sqnr_db for e in found)
    assert 20 < worst["int8"] < worst["int16x8"]


def test_layer_errors_refuse_files_of_two_models(exported):
    with pytest.raises(MloptError, match="layer by layer"):
        layer_errors(exported("autoencoder").file, exported("small_convnet").file, exported("autoencoder").samples, 2)


def test_a_recurrent_file_forgets_one_sample_before_the_next_and_says_that_it_has_state(tmp_path):
    import tf_keras

    sequence = tf_keras.Input((5, 3), name="sequence")
    model = tiny.TinyModel(tf_keras.Model(sequence, tf_keras.layers.LSTM(4, name="state")(sequence)))
    made = export(model, model.signature, tmp_path / "float.tflite")
    inputs = tiny.inputs_for(model, 6)
    found = open_runtime(tmp_path / "float.tflite", model.signature).predict(inputs)["state"]
    assert np.allclose(found, model.predict(inputs)["state"], atol=1e-5)
    assert any("reset" in note for note in made.notes)
