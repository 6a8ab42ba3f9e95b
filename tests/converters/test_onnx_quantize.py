"""float16 and int8 ONNX files: near the float file, small, joined to integer operations, and the same every time."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import making
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tf_keras
from mlopt_onnx import OnnxConverter
from mlopt_onnx.calibration import split
from mlopt_onnx.draft import draft
from mlopt_onnx.exporter import export
from mlopt_onnx.graph import Graph, read_model
from mlopt_onnx.plan import plan
from mlopt_onnx.qdq import Grid, Grids, insert
from mlopt_onnx.quantizer import SATURATION, NothingToQuantize, make
from mlopt_onnx.runtime import layer_errors, open_runtime, read_storage
from mlopt_onnx.shrink import shrink

from mlopt.data.samples import Samples
from mlopt.errors import DataMismatch
from mlopt.ranges import sqnr_db
from mlopt.testing.tiny import TINY, TinyModel, build

layers = tf_keras.layers
FLOOR_DB = 25.0  # 8 bits on random weights give 29 to 68 dB on the tiny models; a broken graph gives below 10


def samples_for(model: TinyModel, folder: Path, count: int = 160, broken: bool = False) -> Samples:
    (folder / "inputs").mkdir(parents=True)
    random = np.random.default_rng(3)
    for spec in model.signature.inputs:
        if np.dtype(spec.dtype).kind == "i":
            array = random.integers(0, 7, (count, *spec.shape[1:])).astype(spec.dtype)
        else:
            array = random.normal(size=(count, *spec.shape[1:])).astype(np.float32)
        if broken:
            array[0] = np.nan
        np.save(folder / "inputs" / f"{spec.name}.npy", array)
    (folder / "meta.json").write_text(json.dumps({"count": count, "scale": 1.0, "offset": 0.0, "origin": "given"}))
    return Samples.open(folder)


class Case:
    """A tiny model with its float file, its samples, and files made from them once."""

    def __init__(self, model: TinyModel, folder: Path) -> None:
        self.model, self.folder, self.signature = model, folder, model.signature
        self.float_file = folder / "float32.onnx"
        export(model, model.signature, self.float_file)
        self.samples = samples_for(model, folder / "samples")
        self.made: dict = {}

    def make(self, precision: str):
        if precision not in self.made:
            given = self.samples if precision == "int8" else None
            dest = self.folder / f"{precision}.onnx"
            self.made[precision] = making.make(
                OnnxConverter, self.float_file, precision, dest, signature=self.signature, samples=given, seed=0
            )
        return self.made[precision]

    def outputs(self, file: Path) -> dict[str, np.ndarray]:
        return open_runtime(file, self.signature).predict(self.samples.rows(0, self.samples.count))

    def sqnr(self, precision: str) -> float:
        expected, found = self.outputs(self.float_file), self.outputs(self.make(precision).path)
        assert list(found) == [s.name for s in self.signature.outputs]
        return min(sqnr_db(expected[name], found[name]) for name in expected)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, Case]:
    return {name: Case(TinyModel(build(name)), tmp_path_factory.mktemp(name)) for name in TINY}


def running_ops(file: Path, folder: Path) -> Counter[str]:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return Counter(n.op_type for n in onnx.load(folder / "optimised.onnx").graph.node)


@pytest.mark.parametrize("name", TINY)
def test_int8_stays_near_the_float_file(name, cases):
    assert cases[name].sqnr("int8") > FLOOR_DB


@pytest.mark.parametrize("name", TINY)
def test_float16_stays_nearer(name, cases):
    assert cases[name].sqnr("float16") > 60


@pytest.mark.parametrize("name", TINY)
def test_every_kernel_is_stored_in_the_precision_asked_for(name, cases):
    case = cases[name]
    kernels = sum(v for k, v in read_storage(case.float_file).weights_by_dtype.items() if k != "bias")
    for precision in ("int8", "float16"):
        stored = read_storage(case.make(precision).path).weights_by_dtype
        assert {k: v for k, v in stored.items() if k != "bias"} == {precision: kernels}


def test_inputs_and_outputs_stay_float32(cases):
    for case in cases.values():
        for precision in ("int8", "float16"):
            contract = open_runtime(case.make(precision).path, case.signature).contract
            assert {p.dtype for p in (*contract.inputs, *contract.outputs)} == {"float32"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("small_convnet", {"QLinearConv": 2, "QLinearAdd": 1, "QLinearAveragePool": 1, "QGemm": 1}),
        ("depthwise_convnet", {"QLinearConv": 3, "QLinearGlobalAveragePool": 1, "QGemm": 1}),
        ("autoencoder", {"QGemm": 4}),
    ],
)
def test_the_runtime_joins_everything_to_integer_operations(name, expected, cases, tmp_path):
    found = running_ops(cases[name].make("int8").path, tmp_path)
    assert {op: found[op] for op in expected} == expected
    assert not found.keys() & {"Conv", "FusedConv", "Gemm", "FusedGemm", "Relu", "Clip", "Add", "AveragePool"}
    assert found["QuantizeLinear"] == 1 and found["DequantizeLinear"] == 0


@pytest.mark.parametrize("name", ("small_convnet", "depthwise_convnet", "small_transformer", "mobile_block"))
def test_a_draft_runs_the_operations_that_the_final_file_runs(name, cases, tmp_path):
    case = cases[name]
    draft(case.float_file, tmp_path / "draft.onnx", case.samples)
    for file in ("draft", "final"):
        (tmp_path / file).mkdir()
    drafted = running_ops(tmp_path / "draft.onnx", tmp_path / "draft")
    assert drafted == running_ops(case.make("int8").path, tmp_path / "final")


def test_a_draft_of_what_has_no_8_bit_form_is_refused(tmp_path):
    vector = tf_keras.Input((4,), name="x")
    case = Case(TinyModel(tf_keras.Model(vector, layers.Softmax()(vector))), tmp_path)
    with pytest.raises(NothingToQuantize):
        draft(case.float_file, tmp_path / "draft.onnx", case.samples)


def test_storage_tells_which_operations_really_run_on_integers(cases):
    case = cases["small_convnet"]
    assert set(read_storage(case.float_file).ops_by_dtype) == {"float32"}
    ran = read_storage(case.make("int8").path).ops_by_dtype
    assert ran["uint8"] >= 5 and ran["float32"] == 2  # the last product's float result, and softmax


def test_what_stays_in_float_is_listed_with_a_reason(cases):
    notes = cases["small_transformer"].make("int8").notes
    for kind in ("LayerNormalization", "GELU", "Softmax"):
        assert any(n.startswith(f"{kind} stays in float (") and n.endswith(".") and ": " in n for n in notes), kind
    assert SATURATION in notes


def test_the_same_arguments_write_the_same_bytes(cases, tmp_path):
    for case in (cases["small_convnet"], cases["mobile_block"]):
        again = make(
            case.float_file, "int8", tmp_path / "again.onnx", signature=case.signature, samples=case.samples, seed=0
        )
        first = case.make("int8")
        digests = {hashlib.sha256(made.path.read_bytes()).digest() for made in (first, again)}
        assert len(digests) == 1 and again.choices == first.choices


def test_choices_tell_how_ranges_were_found(cases):
    choices = cases["small_convnet"].make("int8").choices
    assert choices["ranges"].split(";")[0] in {
        "min-max",
        "percentile 99.9999",
        "percentile 99.999",
        "percentile 99.99",
        "percentile 99.9",
        "least squares",
    }
    assert choices["bias"] in {"corrected", "as trained"} and choices["calibration"] == "120 samples"


def test_outliers_make_the_search_prefer_a_narrower_range(tmp_path):
    vector = tf_keras.Input((16,), name="x")
    case = Case(TinyModel(tf_keras.Model(vector, layers.Dense(8, name="y")(vector))), tmp_path)
    values = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    values[7, 0] = 5000.0  # one spoiled number in 9,600
    np.save(case.samples.folder / "inputs" / "x.npy", values)
    (case.samples.folder / "meta.json").write_text('{"count": 600, "scale": 1.0, "offset": 0.0, "origin": "given"}')
    case.samples = Samples.open(case.samples.folder)
    seed = next(seed for seed in range(50) if 7 in split(600, seed).calibration)
    made = make(case.float_file, "int8", tmp_path / "q.onnx", signature=case.signature, samples=case.samples, seed=seed)
    assert not made.choices["ranges"].startswith("min-max")
    clean = values[100:300]
    found = open_runtime(made.path, case.signature).predict({"x": clean})["y"]
    assert sqnr_db(case.model.predict({"x": clean})["y"], found) > FLOOR_DB


def test_few_samples_are_used_for_both_purposes_and_a_note_says_so(cases, tmp_path):
    case = cases["autoencoder"]
    few = samples_for(case.model, tmp_path / "few", count=5)
    made = make(case.float_file, "int8", tmp_path / "q.onnx", signature=case.signature, samples=few, seed=0)
    assert any("Only 5 samples" in note for note in made.notes)


def test_samples_with_nan_are_refused_with_the_tensor(cases, tmp_path):
    case = cases["autoencoder"]
    broken = samples_for(case.model, tmp_path / "broken", count=8, broken=True)
    with pytest.raises(DataMismatch, match="NaN or infinity"):
        make(case.float_file, "int8", tmp_path / "q.onnx", signature=case.signature, samples=broken, seed=0)


def test_an_unknown_precision_is_a_bad_argument(cases, tmp_path):
    case = cases["autoencoder"]
    with pytest.raises(ValueError, match="int3"):
        make(case.float_file, "int3", tmp_path / "q.onnx", signature=case.signature, samples=case.samples, seed=0)
    with pytest.raises(ValueError, match="samples"):
        make(case.float_file, "int8", tmp_path / "q.onnx", signature=case.signature, samples=None, seed=0)


@pytest.mark.parametrize("name", ["small_convnet", "depthwise_convnet", "small_transformer", "mobile_block"])
def test_shrinking_saves_bytes_and_changes_no_output(name, cases):
    case = cases[name]
    graph = Graph.of(read_model(case.float_file))
    chosen = plan(graph)
    grid = Grid(scale=0.05, zero_point=128)
    long = insert(graph, chosen, Grids(activations=dict.fromkeys(chosen.tensors, grid)))
    before = long.model().SerializeToString()
    shrink(long, keep=frozenset(n for node in graph.nodes for n in node.output))
    after = long.model().SerializeToString()
    assert len(after) < 0.97 * len(before)
    inputs = case.samples.rows(0, 16)
    for a, b in zip(*(ort.InferenceSession(m).run(None, inputs) for m in (before, after)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_and_biases_are_on_their_grids(cases):
    """An independent reading: int8 kernels times their scales are the float kernels to half a step."""
    case = cases["small_convnet"]
    exact, stored = (Graph.of(read_model(f)) for f in (case.float_file, case.make("int8").path))
    kernels = [exact.constants[n.input[1]] for n in exact.nodes if n.op_type in {"Conv", "Gemm"}]
    producers = stored.producers()
    found = [producers[n.input[1]] for n in stored.nodes if n.op_type in {"Conv", "Gemm"}]
    for kernel, dequantize in zip(kernels, found, strict=True):
        values, scales = (stored.constants[n] for n in dequantize.input[:2])
        axis = next((a.i for a in dequantize.attribute if a.name == "axis"), 1)
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        assert (
            values.dtype == np.int8
            and np.abs(values).max(axis=tuple(set(range(values.ndim)) - {axis})).tolist() == [127] * values.shape[axis]
        )
        assert (np.abs(values * scales.reshape(shape) - kernel) <= scales.reshape(shape) * 0.501).all()
    biases = [producers[n.input[2]] for n in stored.nodes if n.op_type in {"Conv", "Gemm"}]
    assert {stored.constants[d.input[0]].dtype for d in biases} == {np.dtype("int32")}


def test_an_embedding_table_is_stored_in_8_bits_and_never_unpacked_whole(tmp_path):
    tokens = tf_keras.Input((5,), name="tokens", dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(200, 16)(tokens))
    case = Case(TinyModel(tf_keras.Model(tokens, layers.Dense(3, name="out")(x))), tmp_path)
    assert case.sqnr("int8") > FLOOR_DB
    graph = Graph.of(read_model(case.make("int8").path))
    gather = next(n for n in graph.nodes if n.op_type == "Gather")
    assert graph.constants[gather.input[0]].dtype == np.int8
    assert read_storage(case.make("int8").path).weights_by_dtype["int8"] == 200 * 16 + 16 * 3


def test_layers_without_an_8_bit_form_are_left_and_named(tmp_path):
    frames = tf_keras.Input((6, 4), name="frames")
    x = layers.LSTM(5, name="memory")(frames)
    case = Case(TinyModel(tf_keras.Model(frames, layers.Dense(2, name="out")(x))), tmp_path)
    assert case.sqnr("int8") > 20 and case.sqnr("float16") > 50
    assert any(note.startswith("LSTM stays in float (") for note in case.make("int8").notes), case.make("int8").notes


def test_layer_errors_compare_tensor_by_tensor(cases):
    case = cases["small_convnet"]
    same = layer_errors(case.float_file, case.float_file, case.samples, limit=8)
    assert same and all(e.sqnr_db == float("inf") for e in same)
    found = layer_errors(case.float_file, case.make("int8").path, case.samples, limit=8)
    assert {"label", "re_lu", "re_lu_1"} <= {e.name for e in found}
    assert all(15 < e.sqnr_db < 80 for e in found if e.name != "conv2d/Transpose"), found


def test_the_door_names_what_it_makes_and_needs():
    assert [(p.name, p.needs_samples) for p in OnnxConverter.precisions] == [
        ("float32", False),
        ("float16", False),
        ("int8", True),
    ]
    exporter = OnnxConverter.exporters["keras"].function
    makers = [precision.make for precision in OnnxConverter.precisions[1:]]
    for entry in (exporter, *makers, OnnxConverter.open_runtime, OnnxConverter.read_storage):
        module, _, function = entry.partition(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_a_dead_channel_with_a_large_bias_keeps_its_bias(tmp_path):
    vector = tf_keras.Input((4,), name="x")
    network = tf_keras.Model(vector, layers.Dense(3, name="y")(vector))
    kernel = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    kernel[:, 1] = 1e-9  # as batch norm with a tiny gamma leaves it
    network.set_weights([kernel, np.array([0.5, 7.0, -0.25], np.float32)])
    case = Case(TinyModel(network), tmp_path)
    assert np.abs(case.outputs(case.make("int8").path)["y"][:, 1] - 7.0).max() < 1e-3


def test_an_output_that_is_always_zero_does_not_spoil_the_choice(tmp_path):
    vector = tf_keras.Input((4,), name="x")
    dead = layers.Dense(2, name="dead", kernel_initializer="zeros", use_bias=False)(vector)
    case = Case(TinyModel(tf_keras.Model(vector, [layers.Dense(3, name="y")(vector), dead])), tmp_path)
    made = case.make("int8")
    assert made.choices["weights"].startswith("8 bits")
    found = case.outputs(made.path)
    assert not found["dead"].any() and sqnr_db(case.outputs(case.float_file)["y"], found["y"]) > FLOOR_DB
