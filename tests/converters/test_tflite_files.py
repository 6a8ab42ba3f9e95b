"""The precisions of TFLite, made out of the float file, on tiny real models."""

import subprocess
import sys

import making
import numpy as np
import pytest
from exported_tflite import NEEDING, PRECISIONS, write_samples
from mlopt_tflite import TFLiteConverter
from mlopt_tflite.exporter import export
from mlopt_tflite.runtime import open_runtime
from mlopt_tflite.storage import read_storage

from mlopt import plain
from mlopt.errors import DataMismatch
from mlopt.testing import tiny

pytestmark = pytest.mark.filterwarnings(
    # LiteRT says that keeping every tensor costs memory, which is what was asked for
    "ignore:.*experimental_preserve_all_tensors.*:UserWarning"
)


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


def test_a_search_for_ranges_says_what_it_chose_and_how_well_it_did(exported, tmp_path):
    made = exported("small_convnet").make("int8", tmp_path / "out.tflite")
    assert {"ranges", "rounding", "bias", "output noise"} <= made.choices.keys()


def test_a_precision_that_needs_samples_asks_for_them(exported, tmp_path):
    case = exported("small_convnet")
    with pytest.raises(ValueError, match="samples"):
        making.make(TFLiteConverter, case.file, "int8", tmp_path / "o", signature=case.signature, samples=None, seed=0)


@pytest.mark.parametrize("door", sorted({one.make for one in TFLiteConverter.precisions if one.make}))
def test_an_unknown_precision_is_answered_with_the_known_ones(exported, tmp_path, door):
    case = exported("small_convnet")
    known = next(one.name for one in TFLiteConverter.precisions if one.make == door)
    with pytest.raises(ValueError, match=f"int3 is not made here; these are: .*{known}"):
        plain.resolve(door)(case.file, "int3", tmp_path / "o", signature=case.signature, samples=None, seed=0)


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
