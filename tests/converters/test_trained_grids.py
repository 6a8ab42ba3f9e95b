"""A trained grid in TFLite and ONNX files: the numbers of training, found again by value and stored as they are."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import making
import numpy as np
import pytest
from mlopt_onnx.graph import Graph, read_model
from mlopt_tflite import flatfile
from mlopt_tflite.engine import Engine
from mlopt_tflite.storage import read_storage
from mlopt_tflite.weights import WEIGHTED

from mlopt.convert.trained import GridMismatch
from mlopt.data.samples import Samples
from mlopt.grid import before
from mlopt.plugins import load_converter
from mlopt.testing import grids

pytestmark = pytest.mark.filterwarnings(
    # LiteRT says that keeping every tensor costs memory, which is what was asked for
    "ignore:.*experimental_preserve_all_tensors.*:UserWarning"
)
CASES = [("residual", (8,)), ("residual", (8, 4)), ("depthwise", (4, 8)), ("branches", (8, 4))]
SUFFIX = {"tflite": ".tflite", "onnx": ".onnx"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Each network with its grid, and its float files; made once."""
    known = {}

    def get(name, bits=(8,)):
        if (name, bits) not in known:
            folder = tmp_path_factory.mktemp(name)
            known[name, bits] = one = SimpleNamespace(case=grids.case(name, folder / "grid", bits=bits), folder=folder)
            model = one.case.model
            for form, suffix in SUFFIX.items():
                export = importlib.import_module(f"mlopt_{form}.exporter").export
                export(model, model.signature, folder / f"float{suffix}")
        return known[name, bits]

    return get


def make(one, form, precision, dest, *, grid=None, samples=None):
    return making.make(
        load_converter(form), one.folder / f"float{SUFFIX[form]}", precision, dest,
        signature=one.case.model.signature, samples=samples,
        seed=0, grid=grid or one.case.grid,
    )


def outputs(one, form, file):
    runtime = importlib.import_module(f"mlopt_{form}.runtime").open_runtime(file, one.case.model.signature)
    return next(iter(runtime.predict(one.case.inputs).values()))


def samples_in(folder: Path, inputs) -> Samples:
    (folder / "inputs").mkdir(parents=True)
    for name, array in inputs.items():
        np.save(folder / "inputs" / f"{name}.npy", array[:40])
    (folder / "meta.json").write_text(json.dumps({"count": 40, "scale": 1.0, "offset": 0.0, "origin": "given"}))
    return Samples.open(folder)


def bound(one) -> float:
    """What one step more or less of the last product makes of an output.

    Softmax moves by at most a quarter of a logit, and two logits may be off; its own kernel has steps of 1/256.
    """
    name = one.case.model.model.output_names[0]
    spans = one.case.grid.activations
    if before(name) in spans:
        return step_of(spans[before(name)]) / 2 + 1 / 256
    return 2.5 * step_of(spans[name])


def step_of(span) -> float:
    return (span.high - span.low) / 255


@pytest.mark.parametrize("form", sorted(SUFFIX))
@pytest.mark.parametrize(("name", "bits"), CASES)
def test_an_integer_file_answers_as_the_graph_that_rounded_in_training(cases, tmp_path, name, bits, form):
    one, dest = cases(name, bits), tmp_path / f"out{SUFFIX[form]}"
    made = make(one, form, "int8", dest)
    expected, found = one.case.trained(), outputs(one, form, dest)
    assert np.mean(expected.argmax(-1) == found.argmax(-1)) >= 0.98
    assert np.abs(expected - found).max() <= bound(one)
    assert np.abs(expected - found).mean() <= bound(one) / 5
    assert not any("training rounds nothing" in note for note in made.notes)
    assert made.choices["ranges"].startswith("trained grid") and made.choices["rounding"] == "as trained"


def stored_kernels(form, file):
    """By the steps of each kernel of a file its whole numbers, [channels, weights] sorted in each: layouts differ."""
    if form == "onnx":
        graph = Graph.of(read_model(file))
        producers, found = graph.producers(), []
        for node in graph.nodes:
            head = producers.get(node.input[1]) if len(node.input) > 1 else None
            if node.op_type in {"Conv", "MatMul", "Gemm"} and head is not None and head.op_type == "DequantizeLinear":
                axis = 0 if node.op_type == "Conv" else 1
                whole, steps = (graph.constants[name] for name in head.input[:2])
                found.append((np.moveaxis(whole, axis, 0), steps))
        return by_steps(found)
    model = flatfile.read(file)
    tensors, found = model.subgraphs[0].tensors, []
    unpacked = {op.outputs[0]: op.inputs[0] for op in flatfile.ops(model) if op.name == "DEQUANTIZE"}
    for op in flatfile.ops(model):
        if op.name in WEIGHTED:
            index = op.inputs[WEIGHTED[op.name][1]]
            tensor = tensors[unpacked.get(index, index)]
            whole = np.moveaxis(flatfile.constant(model, tensor), WEIGHTED[op.name][3], 0)
            found.append((whole, np.asarray(tensor.quantization.scale)))
    return by_steps(found)


def by_steps(found):
    assert all(steps.dtype == np.float32 for _, steps in found)
    return {tuple(steps.tolist()): np.sort(whole.reshape(len(whole), -1)).tolist() for whole, steps in found}


def trained_kernels(one):
    """The same of the training."""
    found = []
    for name, whole in one.case.whole.items():
        wanted = one.case.grid.weights[name]
        steps = np.asarray(wanted.steps, np.float32)
        rows = np.moveaxis(whole, wanted.axis, 0)
        if wanted.axis == 2 and whole.ndim == 4:      # depthwise: a channel's multiples lie side by side
            steps = np.repeat(steps, whole.shape[3])
            rows = whole.transpose(2, 3, 0, 1)
            rows = rows.reshape(-1, *rows.shape[2:])
        found.append((rows, steps))
    return by_steps(found)


@pytest.mark.parametrize("made_as", [
    "tflite/int8", "tflite/int8-mixed-4-8", "tflite/mixed-4-8", "tflite/int8-dynamic", "tflite/int8-weights",
    "onnx/int8",
])
@pytest.mark.parametrize(("name", "bits"), CASES[1:])
def test_a_file_holds_the_whole_numbers_and_steps_of_training(cases, tmp_path, name, bits, made_as):
    form, precision = made_as.split("/")
    one, dest = cases(name, bits), tmp_path / f"out{SUFFIX[form]}"
    make(one, form, precision, dest)
    assert stored_kernels(form, dest) == trained_kernels(one)


def test_four_bits_are_stored_in_four_where_a_kernel_takes_them(cases, tmp_path):
    one, found = cases("depthwise", (4, 8)), {}
    for precision in ("int8", "mixed-4-8", "int8-mixed-4-8"):
        made = make(one, "tflite", precision, tmp_path / precision)
        found[precision] = [layer.weight_dtype for layer in read_storage(tmp_path / precision).layers]
        assert made.choices["weights"].startswith("trained grid: 4 bits in 3 layers, 8 bits in 2 layers")
    assert found["int8"] == ["int8"] * 5
    assert found["mixed-4-8"] == found["int8-mixed-4-8"] == ["int4", "int8", "int4", "int8", "int4"]


def test_a_depthwise_layer_has_four_bits_in_an_integer_file_alone(cases, tmp_path):
    one, found = cases("depthwise", (8, 4)), {}
    for precision in ("mixed-4-8", "int8-mixed-4-8"):
        made = make(one, "tflite", precision, tmp_path / precision)
        found[precision] = {layer.op: layer.weight_dtype for layer in read_storage(tmp_path / precision).layers}
        told = [note for note in made.notes if "no 4-bit kernel" in note]
        assert ("DEPTHWISE_CONV_2D#1, DEPTHWISE_CONV_2D#3" in "".join(told)) == (precision == "mixed-4-8")
    assert found["mixed-4-8"]["DEPTHWISE_CONV_2D"] == "int8"
    assert found["int8-mixed-4-8"]["DEPTHWISE_CONV_2D"] == "int4"


def test_an_integer_file_computes_the_same_with_its_weights_in_four_bits_and_in_eight(cases, tmp_path):
    one = cases("depthwise", (4, 8))
    found = []
    for precision in ("int8", "int8-mixed-4-8"):
        make(one, "tflite", precision, tmp_path / precision)
        plain = Engine((tmp_path / precision).read_bytes(), keep_all=True)     # without XNNPACK's rounding of its own
        found.append(plain.predict(one.case.inputs)["word"])
    assert np.array_equal(*found)
    assert (tmp_path / "int8-mixed-4-8").stat().st_size < (tmp_path / "int8").stat().st_size


def test_activations_stand_on_the_trained_steps(cases, tmp_path):
    one = cases("residual", (8,))
    spans = one.case.grid.activations
    make(one, "tflite", "int8", tmp_path / "out.tflite")
    model = flatfile.read(tmp_path / "out.tflite")
    ops = {f"{op.name}#{i}": op for i, op in enumerate(flatfile.ops(model))}
    of = {"stem": "CONV_2D#0", "inner_relu": "CONV_2D#1", "last": "CONV_2D#2", "sum_relu": "ADD#3"}
    for node, label in of.items():
        tensor = model.subgraphs[0].tensors[ops[label].outputs[0]]
        low, high = np.float32(spans[node].low), np.float32(spans[node].high)
        assert tensor.quantization.scale[0] == (high - low) / np.float32(255)
        assert tensor.quantization.zeroPoint[0] == round(float(-low / ((high - low) / np.float32(255)))) - 128


@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_a_grid_makes_the_same_bytes_every_time(cases, tmp_path, form):
    one = cases("branches", (8, 4))
    for name in ("a", "b"):
        make(one, form, "int8", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_a_grid_of_another_network_is_refused_by_the_names_of_its_nodes(cases, tmp_path, form):
    one = cases("residual", (8,))
    other = {**one.case.grid.weights, "inner": replace(one.case.grid.weights["inner"], steps=(0.01,) * 8)}
    with pytest.raises(GridMismatch, match="inner") as caught:
        make(one, form, "int8", tmp_path / "out", grid=replace(one.case.grid, weights=other))
    assert caught.value.nodes == ["inner"] and not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_weights_beyond_the_bits_of_the_grid_are_refused(cases, tmp_path, form):
    one = cases("residual", (8,))
    other = {**one.case.grid.weights, "last": replace(one.case.grid.weights["last"], bits=4)}
    with pytest.raises(GridMismatch, match="4-bit steps of last"):
        make(one, form, "int8", tmp_path / "out", grid=replace(one.case.grid, weights=other))


@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_what_training_did_not_round_takes_the_range_of_samples_and_a_note_says_so(cases, tmp_path, form):
    one = cases("residual", (8,))
    fewer = {name: span for name, span in one.case.grid.activations.items() if name != "last"}
    grid = replace(one.case.grid, activations=fewer)
    with pytest.raises(ValueError, match="samples"):
        make(one, form, "int8", tmp_path / "out", grid=grid)
    made = make(one, form, "int8", tmp_path / "out", grid=grid, samples=samples_in(tmp_path / "s", one.case.inputs))
    assert sum("training rounds nothing at" in note for note in made.notes) == 1
    expected, found = one.case.trained(), outputs(one, form, tmp_path / "out")
    assert np.mean(expected.argmax(-1) == found.argmax(-1)) >= 0.95


@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_weights_alone_on_a_grid_leave_ranges_to_the_samples(cases, tmp_path, form):
    one = cases("depthwise", (4, 8))
    grid = replace(one.case.grid, activations={})
    make(one, form, "int8", tmp_path / "out", grid=grid, samples=samples_in(tmp_path / "s", one.case.inputs))
    assert stored_kernels(form, tmp_path / "out") == trained_kernels(one)


def test_ranges_that_differ_around_a_joint_are_rounded_again_as_in_training(tmp_path):
    one = SimpleNamespace(case=grids.case("branches", tmp_path / "grid", shared=False), folder=tmp_path)
    importlib.import_module("mlopt_tflite.exporter").export(
        one.case.model, one.case.model.signature, tmp_path / "float.tflite"
    )
    make(one, "tflite", "int8", tmp_path / "out.tflite")
    names = [op.name for op in flatfile.ops(flatfile.read(tmp_path / "out.tflite"))]
    assert names.count("QUANTIZE") >= 2 and "DEQUANTIZE" not in names
    apart = np.abs(one.case.trained() - outputs(one, "tflite", tmp_path / "out.tflite"))
    assert apart.max() <= 2 * bound(one) and apart.mean() <= bound(one) / 5     # more roundings, each by one step


@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_a_door_names_the_precisions_that_a_grid_decides(cases, tmp_path, form):
    one = cases("residual", (8,))
    for precision in load_converter(form).precisions[1:]:
        if precision.grids:
            assert make(one, form, precision.name, tmp_path / precision.name).choices["rounding"] == "as trained"
        else:
            refusal = "not decided by a trained grid|unexpected keyword argument 'grid'"
            with pytest.raises((ValueError, TypeError), match=refusal):
                make(one, form, precision.name, tmp_path / precision.name)
