"""The float32 ONNX file: the source's answers, the source's names, one small clean graph, the same bytes everywhere."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tensorflow as tf
import tf_keras
from mlopt_onnx.exporter import export
from mlopt_onnx.graph import Graph, attributes, read_model
from mlopt_onnx.runtime import open_runtime

from mlopt.errors import UnsupportedOps
from mlopt.model import LayerFacts
from mlopt.testing.tiny import TINY, TinyModel, build, inputs_for

layers = tf_keras.layers


def exported(model: TinyModel, folder: Path) -> tuple[Path, Graph]:
    file = folder / "model.onnx"
    export(model, model.signature, file)
    return file, Graph.of(read_model(file))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> dict[str, tuple[TinyModel, Path, Graph]]:
    made = {}
    for name in TINY:
        model = TinyModel(build(name))
        made[name] = (model, *exported(model, tmp_path_factory.mktemp(name)))
    return made


def ops(graph: Graph) -> Counter[str]:
    return Counter(node.op_type for node in graph.nodes)


def worst_error(model: TinyModel, file: Path, count: int = 5) -> float:
    inputs = inputs_for(model, count)
    expected, found = model.predict(inputs), open_runtime(file, model.signature).predict(inputs)
    assert list(found) == list(expected)
    return max(float(np.abs(found[name] - expected[name]).max()) for name in expected)


@pytest.mark.parametrize("name", TINY)
def test_the_file_answers_like_the_source_for_any_batch(name, tiny):
    model, file, _ = tiny[name]
    assert worst_error(model, file, count=1) < 1e-4
    assert worst_error(model, file, count=5) < 1e-4


@pytest.mark.parametrize("name", TINY)
def test_ports_have_the_names_order_and_shapes_of_the_source(name, tiny):
    model, file, _ = tiny[name]
    proto = read_model(file)
    for ports, specs in ((proto.graph.input, model.signature.inputs), (proto.graph.output, model.signature.outputs)):
        assert [p.name for p in ports] == [s.name for s in specs]
        for port, spec in zip(ports, specs, strict=True):
            sizes = [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]
            assert sizes == ["N", *spec.shape[1:]]


@pytest.mark.parametrize("name", TINY)
def test_nothing_is_computed_at_run_time_that_was_known_before(name, tiny):
    graph = tiny[name][2]
    assert not ops(graph).keys() & {"Shape", "Gather", "Cast", "Expand", "Identity", "BatchNormalization", "Einsum"}
    used = {n for node in graph.nodes for n in node.input} | set(graph.output_names)
    assert set(graph.constants) <= used
    assert all(node.doc_string == "" for node in graph.nodes)


def test_batch_norm_disappears_into_convolutions_and_dense_layers(tiny):
    graph = tiny["small_convnet"][2]
    assert ops(graph) == {
        "Transpose": 1,
        "Conv": 2,
        "Relu": 2,
        "Add": 1,
        "AveragePool": 1,
        "Reshape": 1,
        "Gemm": 1,
        "Softmax": 1,
    }
    assert ops(tiny["autoencoder"][2]) == {"Gemm": 4, "Relu": 3}


def test_causal_padding_and_bias_of_a_1d_convolution_are_part_of_it(tiny):
    graph = tiny["streaming_conv1d"][2]
    first = next(n for n in graph.nodes if n.op_type == "Conv")
    assert "Pad" not in ops(graph) and attributes(first)["pads"] == [0, 2, 0, 0]
    assert len(first.input) == 3


def test_layer_norm_and_gelu_are_written_as_the_runtime_knows_them(tiny, tmp_path):
    _, file, graph = tiny["small_transformer"]
    assert ops(graph)["LayerNormalization"] == 2 and ops(graph)["MatMul"] == 2
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    assert "Gelu" in {n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node}


def test_nodes_are_named_after_the_layers_they_come_from(tiny):
    graph = tiny["two_inputs_two_outputs"][2]
    owners = {n.name for n in graph.nodes if n.op_type in {"Conv", "Gemm"}}
    assert owners == {"encoder/conv2d", "dense", "kind", "size"}
    assert len({n.name for n in graph.nodes}) == len(graph.nodes)


def test_an_output_may_be_called_like_an_input(tmp_path):
    vector = tf_keras.Input((3,), name="x")
    model = TinyModel(tf_keras.Model(vector, layers.Dense(2, name="x_")(vector)))
    model.model.output_names = ["x"]
    model = TinyModel(model.model)
    file, graph = exported(model, tmp_path)
    assert [p.name for p in (*graph.inputs, *graph.outputs)] == ["x", "x_out"]
    assert worst_error(model, file) < 1e-6


def test_an_input_that_goes_nowhere_and_one_handed_through_stay(tmp_path):
    used, unused = tf_keras.Input((3,), name="used"), tf_keras.Input((2,), name="unused")
    out = layers.Dense(2, name="out")(used)
    model = TinyModel(tf_keras.Model([used, unused], [out, layers.Activation("linear", name="same")(used)]))
    file, _ = exported(model, tmp_path)
    assert worst_error(model, file) < 1e-6


@pytest.mark.parametrize(
    "layer",
    [
        layers.Embedding(7, 3),
        layers.LSTM(4),
        layers.GRU(4),
        layers.Bidirectional(layers.LSTM(3)),
        layers.SimpleRNN(3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_embeddings_and_recurrent_layers_export(layer, tmp_path):
    tokens = tf_keras.Input((5,), name="tokens", dtype="int32")
    x = tokens if isinstance(layer, layers.Embedding) else layers.Embedding(7, 3)(tokens)
    x = layer(x)
    model = TinyModel(tf_keras.Model(tokens, layers.Dense(2, name="out")(layers.Flatten()(x))))
    file = tmp_path / "model.onnx"
    export(model, model.signature, file)
    inputs = {"tokens": np.random.default_rng(0).integers(0, 7, (3, 5)).astype(np.int32)}
    found = open_runtime(file, model.signature).predict(inputs)["out"]
    assert np.abs(found - model.predict(inputs)["out"]).max() < 1e-5


def test_batch_norm_in_front_of_a_padded_convolution_stays_right_at_the_border(tmp_path):
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.Activation("relu")(layers.Conv2D(3, 1)(image))
    x = layers.Conv2D(4, 3, padding="same")(layers.BatchNormalization()(x))
    inner = tf_keras.Model(image, x)
    for weight in inner.weights:
        weight.assign(np.random.default_rng(len(weight.shape)).uniform(0.5, 1.5, weight.shape))
    model = TinyModel(inner)
    assert worst_error(model, exported(model, tmp_path)[0]) < 1e-4


def test_an_operation_that_onnx_lacks_is_named_with_its_layer(tmp_path):
    vector = tf_keras.Input((4,), name="vector")
    odd = layers.Lambda(tf.math.bessel_i0, name="odd_one")
    model = TinyModel(tf_keras.Model(vector, layers.Dense(2)(odd(vector))))
    facts = LayerFacts(name="odd_one", kind="Lambda", parameters=0, macs=0, output_shape=(None, 4))
    model.source = replace(model.source, layers=(facts,))
    with pytest.raises(UnsupportedOps, match="BesselI0 in odd_one") as caught:
        export(model, model.signature, tmp_path / "model.onnx")
    assert caught.value.layers_by_op == {"BesselI0": ["odd_one"]}
    assert not (tmp_path / "model.onnx").exists()


ELSEWHERE = """
import sys, hashlib
from pathlib import Path
from mlopt.isolation import NEVER_NEEDED, TORCH, hide
hide(TORCH | NEVER_NEEDED)
from mlopt.testing.tiny import TinyModel, build
from mlopt_onnx.exporter import export
for name in reversed(sys.argv[2:]):
    model, file = TinyModel(build(name)), Path(sys.argv[1])
    export(model, model.signature, file)
    print(name, hashlib.sha256(file.read_bytes()).hexdigest())
"""


def test_another_process_writes_the_same_bytes(tiny, tmp_path):
    here = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, (_, file, _) in tiny.items()}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "other.onnx"), *TINY],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert dict(line.split() for line in done.stdout.splitlines()) == here
