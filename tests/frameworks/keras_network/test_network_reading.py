"""A Keras model read as a graph of channels: names, kinds, axes, shapes and work."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from mlopt.errors import BadRequest
from mlopt.frameworks.keras import graph, layers
from mlopt.frameworks.keras.network.model import trainable
from mlopt.model import Signature
from mlopt.network import Kind
from mlopt.testing import tiny

L = tf_keras.layers
OURS = (
    "inverted_residuals", "squeeze_excite", "unet", "densenet", "siamese", "nested_outputs", "by_dict", "oddities",
    "volumes",
)  # fmt: skip
ALL = (*tiny.TINY, *OURS)
# work that the flat graph of the whole model does not show: steps behind a loop, grouped convolutions in a function
HIDDEN_MACS = {"by_dict": 3 * 90 + 7 * 13, "oddities": 6 * 8 * 9}


def kinds_of(model):
    return {node.name: node.kind for node in model.network.nodes}


@pytest.mark.parametrize("name", ALL)
def test_a_model_taken_apart_predicts_what_it_did_before(opened, name):
    model, network, rows = opened(name)
    structure = tf.nest.pack_sequence_as(model.input, [tf.constant(rows[p.name]) for p in network.signature.inputs])
    wanted = tf.nest.flatten(model(structure, training=False))
    got = network.predict(rows)
    for port, one in zip(network.signature.outputs, wanted, strict=True):
        assert got[port.name].dtype == np.float32
        np.testing.assert_allclose(got[port.name], one.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_every_node_stands_after_its_inputs_and_has_the_shape_that_it_gives(opened, name):
    _, network, rows = opened(name)
    seen = set()
    for node in network.network.nodes:
        assert set(node.inputs) <= seen
        seen.add(node.name)
    found = network.activations([node.name for node in network.network.nodes], rows)
    assert {name: value.shape[1:] for name, value in found.items()} == {
        node.name: node.shape for node in network.network.nodes
    }
    assert set(network.network.outputs) <= seen


@pytest.mark.parametrize("name", ALL)
def test_weights_are_named_once_and_add_up_to_the_model_s_parameters(opened, name):
    model, network, _ = opened(name)
    weights = network.weights()
    described = network.network.weights()
    assert {name: value.shape for name, value in weights.items()} == {n: w.shape for n, w in described.items()}
    assert network.network.parameters == model.count_params()
    trained = sum(int(np.prod(w.shape)) for w in described.values() if w.trainable)
    assert trained == sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.parametrize("name", ALL)
def test_work_is_counted_as_the_graph_of_the_exporters_counts_it(opened, name):
    model, network, _ = opened(name)
    specs = [tf.TensorSpec((1, *p.shape[1:]), p.dtype, name=p.name) for p in network.signature.inputs]

    @tf.function(input_signature=specs, autograph=False)
    def serve(*tensors):
        outputs = tf.nest.flatten(model(tf.nest.pack_sequence_as(model.input, tensors), training=False))
        return {f"y{i}": tf.identity(output) for i, output in enumerate(outputs)}

    owners = layers.owners(model)
    facts = graph.layer_facts(graph.flatten(serve.get_concrete_function(), owners), owners)
    assert network.network.macs == sum(fact.macs for fact in facts) + HIDDEN_MACS.get(name, 0)


def test_the_axes_of_a_convolution_a_depthwise_and_a_dense_kernel_run_over_their_channels(opened):
    _, network, _ = opened("inverted_residuals")
    weights = network.network.weights()
    assert (weights["conv2d/kernel"].out_axis, weights["conv2d/kernel"].in_axis) == (3, 2)
    single, double = weights["depthwise_conv2d/depthwise_kernel"], weights["depthwise_conv2d_2/depthwise_kernel"]
    assert (single.shape, single.out_axis, single.in_axis) == ((3, 3, 12, 1), 2, 2)
    assert (double.shape, double.out_axis, double.in_axis) == ((3, 3, 8, 2), None, 2)
    assert network.network.node("depthwise_conv2d_2").multiplier == 2
    assert (weights["person/kernel"].out_axis, weights["person/kernel"].in_axis) == (1, 0)
    assert (weights["person/bias"].out_axis, weights["person/bias"].role) == (0, "bias")
    variance = weights["batch_normalization/moving_variance"]
    assert (variance.role, variance.out_axis, variance.trainable) == ("variance", 0, False)
    _, network, _ = opened("unet")
    transposed = network.network.weights()["conv2d_transpose/kernel"]
    assert (transposed.shape, transposed.out_axis, transposed.in_axis) == ((2, 2, 4, 6), 2, 3)


def test_kinds_say_what_happens_to_channels(opened):
    kinds = kinds_of(opened("squeeze_excite")[1])
    assert kinds["multiply"] is Kind.MULTIPLY and kinds["reshape"] is Kind.PASS and kinds["reshape_1"] is Kind.PASS
    assert kinds["tf.__operators__.add"] is Kind.PASS       # a number is added
    assert kinds["tf.math.multiply"] is Kind.MULTIPLY       # two tensors
    assert kinds["tf.math.truediv"] is Kind.PASS
    assert kinds["flatten"] is Kind.FLATTEN and kinds["image"] is Kind.INPUT
    kinds = kinds_of(opened("oddities")[1])
    assert kinds["separable_conv1d/depthwise"] is Kind.DEPTHWISE and kinds["separable_conv1d"] is Kind.CONVOLUTION
    assert kinds["average"] is Kind.ADD and kinds["repeat_vector"] is Kind.PASS


def test_what_may_mix_channels_is_other_with_its_reason(opened):
    nodes = {node.name: node for node in opened("oddities")[1].network.nodes}
    assert nodes["conv1d_1"].kind is Kind.OTHER and "2 groups" in nodes["conv1d_1"].note
    assert nodes["permute"].kind is Kind.OTHER and "Permute" in nodes["permute"].note
    assert nodes["layer_normalization"].kind is Kind.OTHER
    heads = opened("nested_outputs")[1].network
    assert heads.node("heads/dense_1").activation == "softmax" and heads.node("heads/dense_1").kind is Kind.OTHER


def test_activations_are_named(opened):
    nodes = {node.name: node for node in opened("inverted_residuals")[1].network.nodes}
    assert nodes["re_lu"].activation == "relu6" and nodes["person"].activation == "softmax"
    assert nodes["person"].kind is Kind.CONVOLUTION and nodes["conv2d"].activation == "linear"
    assert opened("oddities")[1].network.node("dense").activation == "leaky_relu"


def test_a_layer_used_twice_is_two_nodes_with_the_same_weights(opened):
    _, network, _ = opened("siamese")
    first, second = network.network.node("encoder/conv2d"), network.network.node("encoder/conv2d@1")
    assert first.weights == second.weights and first.inputs != second.inputs
    assert network.network.node("encoder/inner/conv2d_1").inputs == ("encoder/re_lu",)


def test_outputs_of_a_nested_model_keep_the_names_that_the_model_gave_them(opened):
    model, network, _ = opened("nested_outputs")
    assert network.keras_model.output_names == model.output_names == ["heads", "heads_1", "extra"]


def test_normalization_over_another_axis_and_by_its_own_batch_are_not_taken_for_the_usual_one(ports):
    image = tf_keras.Input((4, 5, 3), name="image")
    x = L.BatchNormalization(axis=1, name="rows")(image)
    x = L.BatchNormalization(name="frozen")(x, training=False)
    model = tf_keras.Model(image, L.BatchNormalization(name="last")(x))
    network = trainable(model, ports(model))
    assert kinds_of(network) == {"image": "input", "rows": "other", "frozen": "normalization", "last": "normalization"}
    own = tf_keras.Model(image, L.BatchNormalization(name="own")(image, training=True))
    assert kinds_of(trainable(own, ports(own)))["own"] is Kind.OTHER


def test_channels_first_is_said_and_pins(ports):
    image = tf_keras.Input((3, 6, 6), name="image")
    model = tf_keras.Model(image, L.Dense(2)(L.GlobalAveragePooling2D(data_format="channels_first", name="gap")(image)))
    node = trainable(model, ports(model)).network.node("gap")
    assert node.kind is Kind.OTHER and node.note == "its channels come first"


def test_a_frozen_part_stays_frozen(ports):
    image = tf_keras.Input((6, 6, 3), name="image")
    base = tf_keras.Sequential([tf_keras.Input((6, 6, 3)), L.Conv2D(4, 3), L.BatchNormalization()], name="base")
    base.trainable = False
    model = tf_keras.Model(image, L.Dense(2, name="head")(L.Flatten()(base(image, training=False))))
    weights = trainable(model, ports(model)).network.weights()
    assert [name for name, weight in weights.items() if weight.trainable] == ["head/kernel", "head/bias"]


def test_a_model_whose_graph_is_in_its_code_is_refused():
    class Own(tf_keras.Model):
        def call(self, x):
            return x

    with pytest.raises(BadRequest, match="is in its code"):
        trainable(Own(name="own"), Signature(inputs=(), outputs=()))
