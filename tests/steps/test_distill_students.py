"""Students: given, narrowed, shortened; where features are compared; and that teaching helps."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras

from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Hold
from mlopt.location import ModelLocation
from mlopt.network import Kind, Network, Node
from mlopt.steps.distill import Distill, Student
from mlopt.steps.distill.apply import distill
from mlopt.steps.distill.blocks import blocks, passed_by_all
from mlopt.steps.distill.stages import pairs, stage_ends
from mlopt.testing import steps
from mlopt.training.objective import trainer

L = tf_keras.layers


def run(settings, context):
    return distill(settings, context, trainer(settings, context))


def chain():
    """Depthwise-separable blocks of one width, as the keyword model has them."""
    image = tf_keras.Input((8, 6, 1), name="image")
    x = L.ReLU()(L.Conv2D(8, 3, strides=2, padding="same")(image))
    for _ in range(3):
        x = L.ReLU()(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(x)))
        x = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 1)(x)))
    return tf_keras.Model(image, L.Dense(3, activation="softmax", name="word")(L.GlobalAveragePooling2D()(x)))


def nodes(*described):
    """(name, kind, inputs, shape, op) each."""
    return tuple(
        Node(name=name, kind=kind, op=op, inputs=tuple(inputs), shape=shape)
        for name, kind, inputs, shape, op in described
    )


RESIDUAL = Network(nodes=nodes(
    ("in", Kind.INPUT, "", (4, 4, 8), "Input"), ("a", Kind.CONVOLUTION, ["in"], (4, 4, 8), "Conv"),
    ("b", Kind.CONVOLUTION, ["a"], (4, 4, 16), "Conv"), ("c", Kind.CONVOLUTION, ["b"], (4, 4, 8), "Conv"),
    ("sum", Kind.ADD, ["c", "a"], (4, 4, 8), "Add"), ("d", Kind.CONVOLUTION, ["sum"], (2, 2, 16), "Conv"),
    ("side", Kind.CONVOLUTION, ["sum"], (2, 2, 16), "Conv"), ("sum2", Kind.ADD, ["d", "side"], (2, 2, 16), "Add"),
    ("pool", Kind.PASS, ["sum2"], (16,), "Pool"), ("out", Kind.CONVOLUTION, ["pool"], (3,), "Dense"),
), outputs=("out",))


def test_a_shortcut_of_the_same_shape_makes_a_block_and_a_projection_does_not():
    (found,) = blocks(RESIDUAL)
    assert (found.start, found.nodes) == ("a", ("sum",))


def test_every_path_passes_only_through_nodes_outside_branches():
    assert passed_by_all(RESIDUAL) == ["a", "sum", "sum2", "pool"]


def test_stages_end_where_the_size_changes_and_are_matched_by_it():
    assert stage_ends(RESIDUAL) == {(4, 4): "sum", (2, 2): "sum2"}
    smaller = Network(nodes=nodes(
        ("in", Kind.INPUT, "", (4, 4, 8), "Input"), ("x", Kind.CONVOLUTION, ["in"], (2, 2, 4), "Conv"),
        ("y", Kind.CONVOLUTION, ["x"], (2, 2, 4), "Conv"), ("pool", Kind.PASS, ["y"], (4,), "Pool"),
    ), outputs=("pool",))
    assert [(pair.student, pair.teacher) for pair in pairs(smaller, RESIDUAL)] == [("y", "sum2")]


def test_a_chain_of_equal_blocks_can_lose_each_of_them(tmp_path):
    context = steps.context(tmp_path, chain())
    found = blocks(context.model.network)
    assert len(found) == 6          # each depthwise and each pointwise convolution with its norm and ReLU
    for block in found:
        shorter = context.model.without(block.nodes)
        assert shorter.network.macs < context.model.network.macs


@pytest.mark.parametrize("name", ["autoencoder", "two_inputs_two_outputs", "small_transformer", "mobile_block",
                                  "streaming_conv1d", "depthwise_convnet", "small_convnet"])
def test_what_is_called_a_block_can_be_left_out(tmp_path, name):
    context = steps.context(tmp_path, name, labels="none") if name != "small_transformer" else _tokens(tmp_path)
    for block in blocks(context.model.network):
        shorter = context.model.without(block.nodes)
        assert shorter.network.parameters < context.model.network.parameters


def _tokens(folder):
    from mlopt.frameworks import open_trainable
    from mlopt.testing import tiny

    folder.mkdir(exist_ok=True)
    tiny.build("small_transformer").save(folder / "source.h5")

    class Around:
        model = open_trainable(ModelLocation(folder / "source.h5"))
    return Around


def test_half_the_width_keeps_the_channels_with_the_largest_norm(tmp_path):
    context = steps.context(tmp_path)
    done = run(Distill(epochs=1, batch=16, student=Student(width=0.5), learning_rate=1e-9), context)
    assert done.facts["widths"] == {"conv2d": [8, 4]} and done.facts["macs"][1] < done.facts["macs"][0] / 2
    whole = context.open_model(context.source).weights()
    shares = [np.square(whole[n]).sum(axis=(0, 1, 2)) for n in ("conv2d/kernel", "conv2d_1/kernel")]
    worth = sum(share / share.sum() for share in shares)
    stay = np.sort(np.argsort(-worth)[:4])
    np.testing.assert_allclose(done.model.weights()["conv2d/kernel"], whole["conv2d/kernel"][..., stay], atol=1e-5)


def test_holds_are_cut_with_the_channels(tmp_path):
    context = steps.context(tmp_path)
    mask = np.random.default_rng(0).random((3, 3, 8, 8)) > 0.5
    context = replace(context, holds={"conv2d_1/kernel": Hold(mask=mask)})
    done = run(Distill(epochs=1, batch=16, student=Student(width=0.5)), context)
    cut = done.holds["conv2d_1/kernel"].mask
    assert cut.shape == (3, 3, 4, 4) and (done.model.weights()["conv2d_1/kernel"][~cut] == 0).all()


def test_the_block_that_is_missed_least_is_left_out(tmp_path):
    context = steps.context(tmp_path, chain())
    done = run(Distill(epochs=1, batch=16, student=Student(depth=0.8)), context)
    effects = done.facts["blocks"]
    assert done.facts["left_out"] == [min(effects, key=effects.get)] and len(effects) == 6
    assert done.facts["parameters"][1] < done.facts["parameters"][0]


def test_a_network_without_repeated_blocks_cannot_be_shortened(tmp_path):
    with pytest.raises(BadRequest, match="no block of this network"):
        run(Distill(epochs=1, labels=0.0, student=Student(depth=0.5)), steps.context(tmp_path, "autoencoder"))


def test_a_student_from_a_file_must_have_the_same_classes(tmp_path):
    context = steps.context(tmp_path)
    image = tf_keras.Input((8, 8, 3), name="picture")
    for classes in (4, 5):
        out = L.Dense(classes, activation="softmax")(L.Flatten()(L.Conv2D(4, 3, activation="relu")(image)))
        tf_keras.Model(image, out).save(tmp_path / f"s{classes}.h5")
    with pytest.raises(BadRequest, match=r"\[N, 5\] against label: float32 \[N, 4\]"):
        run(Distill(epochs=1, student=Student(file=str(tmp_path / "s5.h5"))), context)
    done = run(Distill(epochs=1, batch=16, student=Student(file=str(tmp_path / "s4.h5"))), context)
    done.model.save(tmp_path / "saved")
    again = context.open_model(ModelLocation(tmp_path / "saved"))
    assert [spec.name for spec in (*again.signature.inputs, *again.signature.outputs)] == ["image", "label"]


def test_features_are_compared_where_both_have_them(tmp_path):
    settings = Distill(epochs=1, batch=16, student=Student(width=0.5), hints=0.5, attention=0.5)
    done = run(settings, steps.context(tmp_path))
    losses = done.fits[0].epochs[-1].losses
    assert losses["hints"] > 0 and losses["attention"] > 0 and len(done.facts["features"]) == 2


def test_a_taught_student_comes_closer_to_its_teacher_than_one_taught_by_labels(tmp_path):
    found = {}
    for name, labels in (("taught", 0.0), ("alone", 0.99)):
        context = steps.context(tmp_path / name, count=256)
        done = run(Distill(epochs=12, batch=16, student=Student(width=0.5), labels=labels, learning_rate=0.01), context)
        from mlopt.data.samples import Samples

        samples = Samples.open(context.validation)
        inputs = samples.rows(0, samples.count)
        teacher = context.open_model(context.source).predict(inputs)["label"]
        found[name] = float(np.abs(done.model.predict(inputs)["label"] - teacher).mean())
    assert found["taught"] < found["alone"]


def test_hints_of_a_saved_model_are_refused_before_training(tmp_path):
    context = steps.context(tmp_path)
    tf_keras.models.load_model(context.source.path).export(tmp_path / "graph")
    settings = Distill(epochs=1, batch=16, teacher=str(tmp_path / "graph"), hints=0.5)
    with pytest.raises(BadRequest, match=r"graph is a graph that only answers: give the model"):
        run(settings, context)
