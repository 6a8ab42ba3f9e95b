"""Channels of uneven size: found, evened out without a change of the float network, and kept only where that gains."""

import json
from pathlib import Path

import making
import mlopt_onnx.equalizing
import mlopt_onnx.exporter
import mlopt_onnx.pairs
import mlopt_onnx.quantizer
import mlopt_onnx.runtime
import mlopt_tflite.equalizing
import mlopt_tflite.exporter
import mlopt_tflite.pairs
import mlopt_tflite.runtime
import numpy as np
import onnxruntime
import pytest
import tf_keras
from mlopt_onnx import OnnxConverter
from mlopt_onnx.graph import Graph, read_model
from mlopt_tflite import TFLiteConverter, flatfile
from mlopt_tflite.engine import Engine
from mlopt_tflite.judge import distance
from mlopt_tflite.layers import layer_errors
from mlopt_tflite.observe import observe
from mlopt_tflite.packing import pack

from mlopt.convert import equalize
from mlopt.data.samples import Samples
from mlopt.testing.tiny import TinyModel

pytestmark = pytest.mark.filterwarnings(
    # LiteRT says that keeping every tensor costs memory, which is what was asked for
    "ignore:.*experimental_preserve_all_tensors.*:UserWarning"
)
layers = tf_keras.layers
UNEVEN = np.exp2(np.random.default_rng(1).permutation(np.linspace(-5, 5, 8))).astype(np.float32)


def branching() -> tf_keras.Model:
    """Pairs: first -> own -> last, through a leaky ReLU; joined -> classes through pooling. No pair: around the sum,
    behind ReLU6, into what the graph gives out.
    """
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(8, 3, name="first", bias_initializer="random_normal")(image)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="own", bias_initializer="random_normal")(x)
    stem = layers.Conv2D(4, 1, name="last", activation="relu")(x)
    y = layers.Conv2D(4, 3, padding="same", activation=tf_keras.layers.ReLU(6.0), name="clipped")(stem)
    y = layers.Conv2D(4, 3, padding="same", name="summed")(y)
    x = layers.Conv2D(6, 1, activation="relu", name="joined")(layers.Add()([stem, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(image, layers.Dense(3, name="classes")(x))


def spoilt() -> tf_keras.Model:
    """The same function as an even network's, with channels between -5 and 5 octaves apart."""
    model = branching()
    first, own, last = (model.get_layer(name) for name in ("first", "own", "last"))
    (a, a_bias), (b, b_bias), (c, c_bias) = (layer.get_weights() for layer in (first, own, last))
    first.set_weights([a * UNEVEN, a_bias * UNEVEN])
    own.set_weights([b / UNEVEN[:, None] * UNEVEN[::-1][:, None], b_bias * UNEVEN[::-1]])
    last.set_weights([c / UNEVEN[::-1][:, None], c_bias])
    return model


class Case:
    def __init__(self, model: tf_keras.Model, folder: Path) -> None:
        self.model = TinyModel(model)
        self.tflite, self.onnx = folder / "float.tflite", folder / "float.onnx"
        mlopt_tflite.exporter.export(self.model, self.model.signature, self.tflite)
        mlopt_onnx.exporter.export(self.model, self.model.signature, self.onnx)
        self.inputs = np.random.default_rng(0).normal(size=(120, 6, 6, 2)).astype(np.float32)
        (folder / "inputs").mkdir()
        np.save(folder / "inputs" / "image.npy", self.inputs)
        (folder / "meta.json").write_text(json.dumps({"count": 120, "scale": 1.0, "offset": 0.0, "origin": "given"}))
        self.samples = Samples.open(folder)


@pytest.fixture(scope="module")
def even(tmp_path_factory) -> Case:
    tf_keras.utils.set_random_seed(5)
    return Case(branching(), tmp_path_factory.mktemp("even"))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory) -> Case:
    tf_keras.utils.set_random_seed(5)
    return Case(spoilt(), tmp_path_factory.mktemp("uneven"))


def test_only_layers_that_alone_read_each_other_are_pairs_in_tflite(even):
    model = flatfile.read(even.tflite)
    order = ["first", "own", "last", "clipped", "summed", "joined", "classes"]
    named = {layer.op: name for layer, name in zip(mlopt_tflite.weights.layers(model), order, strict=True)}
    found = [(named[p.writer.op], named[p.reader.op]) for p in mlopt_tflite.pairs.pairs(model)]
    assert found == [("first", "own"), ("own", "last"), ("joined", "classes")]


def test_only_layers_that_alone_read_each_other_are_pairs_in_onnx(even):
    graph = Graph.of(read_model(even.onnx))
    first, own, last, joined, classes = (8, 2, 3, 3), (8, 1, 3, 3), (4, 8, 1, 1), (6, 4, 1, 1), (6, 3)
    weights = [graph.constants[n.input[1]].shape if n.op_type in {"Conv", "Gemm"} else () for n in graph.nodes]
    found = [(weights[p.writer], weights[p.reader], p.depthwise) for p in mlopt_onnx.pairs.pairs(graph)]
    assert found == [(first, own, True), (own, last, False), (joined, classes, False)]


@pytest.mark.parametrize("way", sorted(equalize.WAYS))
def test_the_rescaled_float_file_gives_the_same_bits_in_tflite(uneven, way):
    observed = observe(uneven.tflite, uneven.samples, 0)
    every = mlopt_tflite.pairs.pairs(observed.model)
    factors = equalize.WAYS[way]([mlopt_tflite.equalizing.link(observed, pair) for pair in every])
    assert any((factor != 1).any() for factor in factors)
    content = pack(mlopt_tflite.equalizing.rescaled(observed.model, every, factors))
    outputs = (Engine(c, keep_all=True).predict({"image": uneven.inputs}) for c in (observed.content, content))
    assert np.array_equal(*(next(iter(o.values())) for o in outputs))


def test_the_rescaled_float_graph_gives_the_same_numbers_in_onnx(uneven):
    graph = Graph.of(read_model(uneven.onnx))
    every = mlopt_onnx.pairs.pairs(graph)
    random = np.random.default_rng(2)
    widths = [graph.constants[graph.nodes[p.writer].input[1]].shape[int(graph.nodes[p.writer].op_type == "Gemm")]
              for p in every]
    factors = [np.exp2(random.integers(-4, 5, width)).astype(np.float32) for width in widths]
    changed = mlopt_onnx.equalizing.rescaled(graph, every, factors)
    before, after = (
        onnxruntime.InferenceSession(g.model().SerializeToString()).run(None, {"image": uneven.inputs})[0]
        for g in (graph, changed)
    )
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("precision", ["int8", "int16x8", "int4-weights"])
def test_uneven_channels_cost_a_tflite_file_nothing_much(even, uneven, tmp_path, precision):
    """Without equalization the noise of the uneven files is 48 to 640 times that of the even ones."""
    noise = []
    for case in (even, uneven):
        made = making.make(
            TFLiteConverter, case.tflite, precision, tmp_path / "q.tflite",
            signature=case.model.signature, samples=case.samples, seed=0
        )
        reference = Engine(case.tflite.read_bytes()).predict({"image": case.inputs})
        noise.append(distance(reference, Engine(made.path.read_bytes()).predict({"image": case.inputs})).noise)
    assert "evened out by" in made.choices["equalization"]
    assert noise[1] < 8 * noise[0]


def test_uneven_channels_cost_an_onnx_file_nothing_much(even, uneven, tmp_path):
    noise = []
    for case in (even, uneven):
        made = mlopt_onnx.quantizer.make(
            case.onnx, "int8", tmp_path / "q.onnx", signature=case.model.signature, samples=case.samples, seed=0
        )
        outputs = [mlopt_onnx.runtime.open_runtime(f, case.model.signature).predict({"image": case.inputs})
                   for f in (case.onnx, made.path)]
        noise.append(distance(*outputs).noise)
    assert "evened out by" in made.choices["equalization"]
    assert noise[1] < 8 * noise[0]


def test_errors_by_layer_are_told_without_the_scale_that_was_moved(uneven, tmp_path):
    for name, door, file, errors in (
        ("q.tflite", TFLiteConverter, uneven.tflite, layer_errors),
        ("q.onnx", OnnxConverter, uneven.onnx, mlopt_onnx.runtime.layer_errors),
    ):
        making.make(
            door, file, "int8", tmp_path / name, signature=uneven.model.signature, samples=uneven.samples, seed=0
        )
        assert min(e.sqnr_db for e in errors(file, tmp_path / name, uneven.samples, 16)) > 20
