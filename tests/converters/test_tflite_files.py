"""TFLite files as they are exported, slimmed, quantized, read back and run, on tiny real models."""

import json
import subprocess
import sys
from pathlib import Path

import making
import numpy as np
import pytest
from mlopt_tflite import TFLiteConverter, flatfile, slim
from mlopt_tflite.engine import Engine
from mlopt_tflite.exporter import export
from mlopt_tflite.layers import layer_errors
from mlopt_tflite.packing import pack
from mlopt_tflite.runtime import open_runtime
from mlopt_tflite.storage import read_storage

from mlopt.data.samples import Samples
from mlopt.errors import DataMismatch, MloptError, ModelUnreadable, UnsupportedOps
from mlopt.location import ModelLocation
from mlopt.model import Signature, TensorSpec
from mlopt.testing import tiny

pytestmark = pytest.mark.filterwarnings(
    # LiteRT says that keeping every tensor costs memory, which is what was asked for
    "ignore:.*experimental_preserve_all_tensors.*:UserWarning"
)
PRECISIONS = tuple(p.name for p in TFLiteConverter.precisions[1:])
NEEDING = {p.name for p in TFLiteConverter.precisions if p.needs_samples}


class Exported:
    """One tiny model, its float file and samples for it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.model = tiny.TinyModel(tiny.build(name))
        self.signature = self.model.signature
        self.file = folder / f"{name}.tflite"
        self.made = export(self.model, self.signature, self.file)
        self.inputs = tiny.inputs_for(self.model, 60)
        self.samples = write_samples(folder / name, self.inputs)

    def make(self, precision: str, dest: Path, seed: int = 0):
        samples = self.samples if precision in NEEDING else None
        return making.make(
            TFLiteConverter, self.file, precision, dest, signature=self.signature, samples=samples, seed=seed
        )


def write_samples(folder: Path, inputs: dict[str, np.ndarray], **meta) -> Samples:
    (folder / "inputs").mkdir(parents=True)
    for name, array in inputs.items():
        np.save(folder / "inputs" / f"{name}.npy", array)
    count = len(next(iter(inputs.values())))
    facts = {"count": count, "scale": 1.0, "offset": 0.0, "origin": "given"} | meta
    (folder / "meta.json").write_text(json.dumps(facts))
    return Samples.open(folder)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder, known = tmp_path_factory.mktemp("tflite"), {}

    def get(name: str) -> Exported:
        if name not in known:
            known[name] = Exported(name, folder)
        return known[name]

    return get


@pytest.mark.parametrize("name", sorted(tiny.TINY))
def test_an_exported_file_computes_what_the_model_computes(exported, name):
    case = exported(name)
    runtime = open_runtime(case.file, case.signature)
    expected, found = case.model.predict(case.inputs), runtime.predict(case.inputs)
    assert found.keys() == expected.keys()
    for output in expected:
        assert found[output].shape == expected[output].shape and found[output].dtype == np.float32
        assert np.allclose(found[output], expected[output], atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", sorted(tiny.TINY))
def test_each_precision_of_each_kind_of_network_stays_near_the_float_file(exported, tmp_path, name, precision):
    case = exported(name)
    case.make(precision, tmp_path / "out.tflite")
    outputs = open_runtime(tmp_path / "out.tflite", case.signature).predict(case.inputs)
    reference = open_runtime(case.file, case.signature).predict(case.inputs)
    # decibels: 6 for each bit, less what layers add up to; outputs here are small steps of a softmax
    least = {"float16": 50, "int16x8": 35, "int4-weights": 12, "mixed-4-8": 15}.get(precision, 25)
    for output, values in reference.items():
        error = np.mean((outputs[output] - values) ** 2)
        assert 10 * np.log10(np.mean(values**2) / max(error, 1e-30)) > least


def test_full_integer_files_hold_nothing_but_integers(exported, tmp_path):
    case = exported("depthwise_convnet")
    case.make("int8", tmp_path / "out.tflite")
    storage = read_storage(tmp_path / "out.tflite")
    contract = open_runtime(tmp_path / "out.tflite", case.signature).contract
    assert set(storage.ops_by_dtype) == {"int8"} and set(storage.weights_by_dtype) == {"int8", "bias"}
    assert {p.dtype for p in (*contract.inputs, *contract.outputs)} == {"int8"}
    assert all(layer.activation_dtype == "int8" for layer in storage.layers)


def test_a_softmax_keeps_the_scale_that_its_kernel_prescribes(exported, tmp_path):
    case = exported("small_convnet")
    case.make("int8", tmp_path / "out.tflite")
    port = open_runtime(tmp_path / "out.tflite", case.signature).contract.outputs[0]
    assert (port.scale, port.zero_point, port.name) == (1 / 256, -128, "label")


def test_image_bytes_enter_an_integer_file_without_loss(exported, tmp_path):
    case = exported("small_convnet")
    pixels = np.random.default_rng(0).integers(20, 200, (16, 8, 8, 3), dtype=np.uint8)
    samples = write_samples(tmp_path / "s", {"image": pixels})
    making.make(
        TFLiteConverter, case.file, "int8", tmp_path / "o.tflite", signature=case.signature, samples=samples, seed=0
    )
    port = open_runtime(tmp_path / "o.tflite", case.signature).contract.inputs[0]
    assert (port.scale, port.zero_point) == (1.0, -128)


def test_a_layer_without_a_4_bit_kernel_keeps_8_bits_and_the_notes_say_so(exported, tmp_path):
    case = exported("depthwise_convnet")
    made = case.make("int4-weights", tmp_path / "out.tflite")
    kinds = {layer.op: layer.weight_dtype for layer in read_storage(tmp_path / "out.tflite").layers}
    assert kinds == {"CONV_2D": "int4", "DEPTHWISE_CONV_2D": "int8", "FULLY_CONNECTED": "int4"}
    assert any("DEPTHWISE_CONV_2D#1" in note and "8 bits" in note for note in made.notes)


def test_operations_that_stay_in_float_stand_in_the_notes(exported, tmp_path):
    made = exported("mobile_block").make("int16x8", tmp_path / "out.tflite")
    assert any("HARD_SWISH" in note and "float" in note for note in made.notes)
    assert read_storage(tmp_path / "out.tflite").ops_by_dtype["float32"] > 0


def test_storage_counts_every_weight_once_and_all_bytes(exported, tmp_path):
    case = exported("autoencoder")
    case.make("int8-weights", tmp_path / "out.tflite")
    storage = read_storage(tmp_path / "out.tflite")
    kernels = [(24, 16), (16, 4), (4, 16), (16, 24)]
    assert storage.weights_by_dtype == {"bias": 60, "int8": sum(a * b for a, b in kernels)}
    assert [layer.bytes for layer in storage.layers] == [a * b + 4 * b for a, b in kernels]
    size = (tmp_path / "out.tflite").stat().st_size
    assert storage.overhead_bytes == size - sum(x.bytes for x in storage.layers) - 4 * 60


def test_four_bit_weights_take_half_of_the_bytes_of_eight(exported, tmp_path):
    case, sizes = exported("autoencoder"), {}
    for precision in ("int4-weights", "int8-dynamic"):
        case.make(precision, tmp_path / precision)
        sizes[precision] = sum(x.bytes for x in read_storage(tmp_path / precision).layers)
    assert sizes["int8-dynamic"] - sizes["int4-weights"] == 896 // 2


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_arguments_write_the_same_bytes_in_another_process(exported, tmp_path, precision):
    case = exported("small_convnet")
    case.make(precision, tmp_path / "here.tflite")
    program = (
        "import sys; from pathlib import Path; from mlopt import plain; from mlopt_tflite import TFLiteConverter\n"
        "from mlopt.data.samples import Samples\n"
        "file, precision, dest, folder = sys.argv[1:]\n"
        "samples = Samples.open(Path(folder)) if folder else None\n"
        "make = plain.resolve({p.name: p.make for p in TFLiteConverter.precisions}[precision])\n"
        "make(Path(file), precision, Path(dest), signature=None, samples=samples, seed=0)\n"
        "assert 'tensorflow' not in sys.modules"
    )
    folder = str(case.samples.folder) if precision in NEEDING else ""
    arguments = [str(case.file), precision, str(tmp_path / "there.tflite"), folder]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)
    assert (tmp_path / "here.tflite").read_bytes() == (tmp_path / "there.tflite").read_bytes()


def test_exporting_twice_writes_the_same_bytes(exported, tmp_path):
    case = exported("two_inputs_two_outputs")
    export(case.model, case.signature, tmp_path / "again.tflite")
    assert (tmp_path / "again.tflite").read_bytes() == case.file.read_bytes()


def test_a_search_for_ranges_says_what_it_chose_and_how_well_it_did(exported, tmp_path):
    made = exported("small_convnet").make("int8", tmp_path / "out.tflite")
    assert {"ranges", "rounding", "bias", "output noise"} <= made.choices.keys()


def test_a_precision_that_needs_samples_asks_for_them(exported, tmp_path):
    case = exported("small_convnet")
    with pytest.raises(ValueError, match="samples"):
        making.make(TFLiteConverter, case.file, "int8", tmp_path / "o", signature=case.signature, samples=None, seed=0)


def test_samples_of_another_model_are_refused(exported, tmp_path):
    case = exported("small_convnet")
    samples = write_samples(tmp_path / "s", {"other": np.ones((9, 2), np.float32)})
    with pytest.raises(DataMismatch, match="image"):
        making.make(
            TFLiteConverter, case.file, "int8", tmp_path / "o", signature=case.signature, samples=samples, seed=0
        )


def test_samples_that_also_judge_the_choice_are_noted(exported, tmp_path):
    case = exported("small_convnet")
    few = write_samples(tmp_path / "s", {"image": case.inputs["image"][:5]})
    made = making.make(
        TFLiteConverter, case.file, "int8", tmp_path / "o", signature=case.signature, samples=few, seed=0
    )
    assert any("only 5 samples" in note for note in made.notes)


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

@pytest.mark.parametrize("name", ["small_convnet", "small_transformer", "mobile_block"])
def test_a_slim_file_computes_the_same_bits_and_is_a_fixed_point(exported, name):
    model = flatfile.read(exported(name).file)
    fat = pack(with_ballast(model))
    thin = pack(slim.slimmed(flatfile.parse(fat, "fat")))
    proof = slim.prove(fat, thin)
    assert proof.identical and proof.bytes_after < proof.bytes_before
    assert thin == pack(slim.slimmed(flatfile.parse(thin, "thin"))) == exported(name).file.read_bytes()


def with_ballast(model):
    """What converters leave in a file: names, a description, metadata, empty quantization, an unused tensor."""
    from ai_edge_litert import schema_py_generated as schema

    ports = {*model.subgraphs[0].inputs, *model.subgraphs[0].outputs}
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        if index not in ports:
            tensor.name = f"model/layer_{index}/BiasAdd;model/layer_{index}/Conv2D"
        tensor.quantization = tensor.quantization or schema.QuantizationParametersT()
        tensor.shapeSignature = tensor.shape
    model.subgraphs[0].tensors.append(schema.TensorT(shape=[3], type=0, buffer=0, name="nobody reads this"))
    model.buffers.append(schema.BufferT(data=np.frombuffer(b"2.19.0".ljust(16, b"\0"), np.uint8)))
    model.metadata = [schema.MetadataT(name="min_runtime_version", buffer=len(model.buffers) - 1)]
    model.description = "MLIR Converted."
    return model


def test_slimming_keeps_signature_and_port_names(exported):
    model = flatfile.read(exported("two_inputs_two_outputs").file)
    assert set(flatfile.input_names(model)) == {"image", "extra"}
    assert set(flatfile.output_names(model)) == {"kind", "size"}
    tensors = model.subgraphs[0].tensors
    assert all(tensors[i].name for i in (*model.subgraphs[0].inputs, *model.subgraphs[0].outputs))


def test_weights_lie_on_16_byte_boundaries(exported):
    content = exported("small_convnet").file.read_bytes()
    model = flatfile.parse(content, "file")
    kept = [b.data.tobytes() for b in model.buffers if b.data is not None and len(b.data) >= 32]
    assert kept and all(content.find(raw) % 16 == 0 for raw in kept)


def test_equal_buffers_are_stored_once(exported):
    model = flatfile.read(exported("autoencoder").file)
    before = len(pack(slim.slimmed(model)))
    tensors = model.subgraphs[0].tensors
    for tensor in tensors:
        if flatfile.is_constant(model, tensor):
            model.buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = len(model.buffers) - 1
    assert len(pack(slim.slimmed(model))) == before


def test_a_file_that_computes_something_else_fails_the_proof(exported):
    case = exported("autoencoder")
    model = flatfile.read(case.file)
    weights = next(b for b in model.buffers if b.data is not None and len(b.data) > 200)
    weights.data = weights.data.copy()
    weights.data[:40] = 0
    assert not slim.prove(case.file.read_bytes(), pack(model)).identical


# files that are not what they seem

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


def test_the_door_imports_nothing_heavy():
    program = "import sys, mlopt_tflite; print([m for m in ('tensorflow', 'ai_edge_litert') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_recurrent_layer_in_float_still_has_its_weights_in_8_bits(tmp_path):
    import tf_keras

    sequence = tf_keras.Input((5, 12), name="sequence")
    model = tiny.TinyModel(tf_keras.Model(sequence, tf_keras.layers.LSTM(16, name="state")(sequence)))
    export(model, model.signature, tmp_path / "float.tflite")
    inputs = tiny.inputs_for(model, 24)
    samples = write_samples(tmp_path / "s", inputs)
    made = making.make(
        TFLiteConverter, tmp_path / "float.tflite", "int8", tmp_path / "o.tflite",
        signature=model.signature, samples=samples, seed=0
    )
    kinds = read_storage(tmp_path / "o.tflite").weights_by_dtype
    assert kinds["int8"] == 4 * (12 * 16 + 16 * 16) and any("LSTM" in note for note in made.notes)
    expected = model.predict(inputs)["state"]
    found = open_runtime(tmp_path / "o.tflite", model.signature).predict(inputs)["state"]
    assert np.mean((found - expected) ** 2) < 0.003 * np.mean(expected**2)   # 25 dB


def test_a_recurrent_file_forgets_one_sample_before_the_next_and_says_that_it_has_state(tmp_path):
    import tf_keras

    sequence = tf_keras.Input((5, 3), name="sequence")
    model = tiny.TinyModel(tf_keras.Model(sequence, tf_keras.layers.LSTM(4, name="state")(sequence)))
    made = export(model, model.signature, tmp_path / "float.tflite")
    inputs = tiny.inputs_for(model, 6)
    found = open_runtime(tmp_path / "float.tflite", model.signature).predict(inputs)["state"]
    assert np.allclose(found, model.predict(inputs)["state"], atol=1e-5)
    assert any("reset" in note for note in made.notes)
