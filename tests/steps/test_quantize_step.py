"""Quantizing with training on real Keras networks of several kinds, up to the TFLite file and back."""

import json
from dataclasses import replace
from pathlib import Path

import making
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from mlopt_tflite import TFLiteConverter
from mlopt_tflite.exporter import export
from mlopt_tflite.storage import read_storage

from mlopt.data.materialise import write_arrays
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.errors import BadRequest
from mlopt.frameworks import open_model, open_trainable
from mlopt.frameworks.fitting import Hold
from mlopt.grid import Grid
from mlopt.location import ModelLocation
from mlopt.recipe.load import load
from mlopt.scheme import INT8, MIXED_4_8, SCHEMES, Granularity
from mlopt.steps.protocol import Context
from mlopt.steps.quantize import Quantize
from mlopt.steps.quantize.apply import quantize
from mlopt.steps.quantize.loss import rounded_kernel, sensitivities
from mlopt.steps.quantize.plan import kernels, network_bytes
from mlopt.training.objective import trainer

L = tf_keras.layers
CLASSES, TRAIN, VALIDATION = 4, 768, 256


def normalized(x, activation="relu"):
    return L.Activation(activation)(L.BatchNormalization()(x))


def residual(image):
    stem = normalized(L.Conv2D(8, 3, padding="same", use_bias=False)(image))
    x = L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(normalized(L.Conv2D(8, 3, padding="same")(stem))))
    x = L.AveragePooling2D(4)(L.ReLU()(L.Add()([x, stem])))
    return L.Dense(CLASSES, activation="softmax", name="label")(L.Flatten()(x))


def separable(image):
    x = normalized(L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image), "relu6")
    x = normalized(L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False)(x), "relu6")
    x = normalized(L.Conv2D(16, 1, use_bias=False)(x), "relu6")
    return L.Dense(CLASSES, activation="softmax", name="label")(L.GlobalAveragePooling2D()(x))


def branches(image):
    """Two widths of view joined, then a gate for each channel (squeeze and excite)."""
    x = L.Concatenate()([L.Conv2D(8, 1, activation="relu")(image), normalized(L.Conv2D(8, 3, padding="same")(image))])
    gate = L.Dense(16, activation="sigmoid")(L.Dense(4, activation="relu")(L.GlobalAveragePooling2D()(x)))
    x = L.Multiply()([L.MaxPooling2D(2)(x), L.Reshape((1, 1, 16))(gate)])
    return L.Dense(CLASSES, activation="softmax", name="label")(L.Flatten()(x))


def autoencoder(image):
    x = L.Flatten()(image)
    for width in (32, 8, 32):
        x = normalized(L.Dense(width)(x))
    return L.Dense(192, name="reconstruction")(x)


KINDS = {kind.__name__: kind for kind in (residual, separable, branches, autoencoder)}


def pictures(count, seed):
    """Bytes [count, 8, 8, 3] and the pattern that each shows, with noise over it."""
    patterns = np.random.default_rng(0).normal(size=(CLASSES, 8, 8, 3))
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    images = 128 + 18 * patterns[labels] + 30 * random.normal(size=(count, 8, 8, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with each network, trained, and its samples; made once."""
    known = {}

    def get(kind):
        if kind not in known:
            folder = known[kind] = tmp_path_factory.mktemp(kind)
            tf_keras.utils.set_random_seed(0)
            image = tf_keras.Input((8, 8, 3), name="image")
            model = tf_keras.Model(image, KINDS[kind](L.Rescaling(1 / 64, -2.0)(image)))
            images, labels = pictures(TRAIN, 1)
            answers = images.reshape(TRAIN, -1) / 64 - 2 if kind == "autoencoder" else labels
            loss = "mse" if kind == "autoencoder" else "sparse_categorical_crossentropy"
            model.compile(tf_keras.optimizers.Adam(5e-3), loss)
            model.fit(images.astype(np.float32), answers, batch_size=64, epochs=6, verbose=0)
            with pytest.warns(UserWarning, match="HDF5"):
                model.save(folder / "model.h5", include_optimizer=False)
            for part, count, seed in (("train", TRAIN, 1), ("validation", VALIDATION, 2)):
                images, labels = pictures(count, seed)
                write_arrays(folder / part, {"image": images}, role=Role(part), origin="given",
                             labels=None if kind == "autoencoder" else labels,
                             signature=open_trainable(ModelLocation(folder / "model.h5")).signature)
        return known[kind]

    return get


def context(folder, work, **changed):
    source = ModelLocation(folder / "model.h5")
    made = Context(
        model=open_trainable(source), source=source, train=folder / "train", validation=folder / "validation",
        work=work, seed=0, on_event=lambda event: None, open_model=open_trainable,
    )
    return replace(made, **changed)


def run(folder, work, *, train=None, holds=None, **settings):
    step = Quantize(batch=64, labels=0.0, **settings)
    around = context(folder, work, holds=holds or {})
    return quantize(step, around, train or trainer(step, around)), around


def from_file(path, images):
    """Outputs of an integer file for pictures of bytes, real numbers."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, got = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert given["quantization"] == (1.0, -128)     # every byte has its own step
    found = []
    for image in images:
        interpreter.set_tensor(given["index"], (image[None].astype(np.int16) - 128).astype(np.int8))
        interpreter.invoke()
        scale, zero = got["quantization"]
        found.append((interpreter.get_tensor(got["index"]).astype(np.float32) - zero) * scale)
    return np.concatenate(found), got["quantization"][0]


def exported(done, around, work, precision):
    done.model.save(work / "saved")
    model = open_model(ModelLocation(work / "saved" / "model.h5"))
    export(model, model.source.signature, work / "float.tflite")
    dest = work / f"{precision}.tflite"
    made = making.make(
        TFLiteConverter, work / "float.tflite", precision, dest, signature=model.source.signature, grid=done.grid,
        samples=Samples.open(around.train), seed=0,
    )
    return dest, made


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_file_computes_what_was_trained(trained, tmp_path, kind):
    scheme = {"scheme": "mixed-4-8", "share": 0.75} if kind in ("residual", "branches") else {}
    done, around = run(trained(kind), tmp_path / "work", epochs=1, **scheme)
    images, _ = pictures(VALIDATION, 3)
    (graph,) = done.gridded.predict({"image": images.astype(np.float32)}).values()
    file, made = exported(done, around, tmp_path, "int8-mixed-4-8" if scheme else "int8")
    answers, step = from_file(file, images)
    assert not [note for note in made.notes if "leave the trained grid" in note]
    if kind == "autoencoder":
        assert np.abs(answers - graph).mean() < 0.2 * step
    else:
        assert (answers.argmax(-1) == graph.argmax(-1)).mean() >= 0.98
        assert np.abs(answers - graph).mean() < 2 / 256
    stored = sum(layer.bytes for layer in read_storage(file).layers)
    weights = [w for w in done.model.network.weights().values() if w.role == "kernel"]
    four = {row["kernel"] for row in done.facts["kernels"] if row["bits"] == 4}
    channels = {name: nodes[0].channels for name, (_, nodes) in kernels(done.model.network).items()}
    assert bool(four) == bool(scheme)
    assert stored == sum(
        -(-int(np.prod(w.shape)) * (4 if w.name in four else 8) // 8) + 4 * channels[w.name] for w in weights
    )


def test_training_on_the_grid_wins_back_what_four_bits_lose(trained, tmp_path):
    folder = trained("autoencoder")
    images = {"image": pictures(VALIDATION, 2)[0]}
    source = open_trainable(ModelLocation(folder / "model.h5")).predict(images)["reconstruction"]

    def lost(epochs):
        done, _ = run(folder, tmp_path / str(epochs), epochs=epochs, scheme="mixed-4-8", share=0.6)
        assert done.facts["bytes"] <= done.facts["budget"] < done.facts["bytes_at_8_bits"]
        assert any("no epochs" in note for note in done.notes) == (epochs == 0)
        return np.square(done.gridded.predict(images)["reconstruction"] - source).sum()

    assert lost(3) < 0.6 * lost(0)


@pytest.fixture(scope="module")
def untrained(trained, tmp_path_factory):
    """A network on its grid in 4 and 8 bits, without epochs."""
    return run(trained("separable"), tmp_path_factory.mktemp("untrained"), epochs=0, scheme="mixed-4-8", share=0.8)[0]


def test_weights_stand_on_the_grid_exactly_and_biases_on_whole_numbers_of_steps(untrained):
    done = untrained
    weights, network = done.model.weights(), done.model.network
    for name, grid in done.grid.weights.items():
        node = network.node(name)
        kernel, steps = weights[node.kernel.name], np.array(grid.steps)
        assert len(steps) == node.channels
        shape = [1] * kernel.ndim
        for axis in node.kernel_axes:
            shape[axis] = kernel.shape[axis]
        whole = kernel / steps.reshape(shape)
        assert np.abs(whole - np.rint(whole)).max() < 1e-4
        assert np.abs(whole).max() < 2 ** (grid.bits - 1) - 0.99
        (bias,) = (weights[w.name] for w in node.weights if w.role == "bias")
        span = done.grid.activations.get(node.inputs[0])
        if span is not None:
            numbers = bias / (steps * (span.high - span.low) / 255)
            assert np.abs(numbers - np.rint(numbers)).max() < 0.02


def test_the_grid_can_be_read_again_with_probes_that_the_stripped_model_gives(untrained):
    done = untrained
    grid = Grid.read(done.grid.folder)
    assert grid == done.grid
    inputs, nodes = grid.probe_inputs(), grid.probe_outputs()
    assert set(nodes) == set(grid.activations)
    here = [name for name in nodes if not name.endswith("/before")]
    for name, values in done.model.activations(here, inputs).items():
        np.testing.assert_allclose(nodes[name], values, atol=1e-5)
    (label,) = (values for name, values in nodes.items() if name == "label")
    np.testing.assert_allclose(tf.nn.softmax(nodes["label/before"]), label, atol=1e-6)


def test_what_earlier_steps_hold_stays_true(trained, tmp_path):
    folder = trained("residual")
    name = next(iter(kernels(open_trainable(ModelLocation(folder / "model.h5")).network)))
    model = open_trainable(ModelLocation(folder / "model.h5"))
    kernel = model.weights()[name]
    random = np.random.default_rng(0)
    mask, ties = random.random(kernel.shape) > 0.5, random.integers(0, 8, kernel.shape).astype(np.int32)
    levels = np.linspace(-0.4, 0.4, 8, dtype=np.float32)
    model.set_weights({name: np.where(mask, levels[ties], 0)})
    model.save(tmp_path / "held")
    held = tmp_path / "held"
    for part in ("train", "validation"):
        (held / part).symlink_to(folder / part)
    done, _ = run(held, tmp_path / "work", epochs=1, holds={name: Hold(mask=mask, ties=ties), "gone/gamma": Hold()})
    after = done.model.weights()[name]
    assert not after[~mask].any()
    for channel in range(after.shape[-1]):
        for number in range(8):
            chosen = after[..., channel][mask[..., channel] & (ties[..., channel] == number)]
            assert len(chosen) == 0 or np.ptp(chosen) == 0
    assert len(np.unique(done.holds[name].ties)) == 8 * after.shape[-1]
    assert "gone/gamma" not in done.holds
    assert any("gone/gamma" in note for note in done.notes)
    assert any(f"{name} 8 to 64" in note for note in done.notes)


def test_a_step_that_is_started_again_takes_the_plan_that_it_had(trained, untrained, tmp_path):
    plan = json.loads((untrained.grid.folder.parent / "plan.json").read_text())
    name = next(name for name, bits in plan["bits"]["bits"].items() if bits == 8)
    plan["bits"]["bits"][name] = 4
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "plan.json").write_text(json.dumps(plan))
    again, _ = run(trained("separable"), tmp_path / "work", epochs=0, scheme="mixed-4-8", share=0.8)
    assert {row["kernel"]: row["bits"] for row in untrained.facts["kernels"]}[name] == 8
    assert {row["kernel"]: row["bits"] for row in again.facts["kernels"]}[name] == 4


def test_the_same_step_gives_the_same_numbers(trained, tmp_path):
    both = [run(trained("separable"), tmp_path / str(i), epochs=1)[0] for i in range(2)]
    for name, values in both[0].model.weights().items():
        np.testing.assert_array_equal(values, both[1].model.weights()[name])
    assert both[0].grid.activations == both[1].grid.activations


def never(*args, **kwargs):
    raise AssertionError("training began")


def test_a_budget_that_cannot_be_met_is_refused_with_the_smallest_that_can(trained, tmp_path):
    folder = trained("residual")
    network = open_trainable(ModelLocation(folder / "model.h5")).folded().network
    least = network_bytes(network, dict.fromkeys(kernels(network), 4))
    with pytest.raises(BadRequest, match=f"100 bytes cannot be reached.* {least} bytes"):
        run(folder, tmp_path / "a", train=never, epochs=1, scheme="mixed-4-8", bytes=100)
    done, _ = run(folder, tmp_path / "b", train=never, epochs=0, scheme="mixed-4-8", bytes=least)
    assert done.facts["bytes"] == least
    assert {grid.bits for grid in done.grid.weights.values()} == {4}


def test_int8_without_epochs_is_left_to_the_export(trained, tmp_path):
    done, around = run(trained("residual"), tmp_path / "work", train=never, epochs=0)
    assert done.grid is None
    assert done.model is around.model
    assert "when it is exported" in done.notes[0]


def test_samples_that_give_no_finite_values_are_refused_before_training(trained, tmp_path):
    folder = trained("autoencoder")
    images = np.full((32, 8, 8, 3), np.nan, np.float32)
    write_arrays(tmp_path / "train", {"image": images}, role=Role("train"), origin="given")
    (tmp_path / "model.h5").write_bytes(Path(folder / "model.h5").read_bytes())
    (tmp_path / "validation").symlink_to(folder / "validation")
    with pytest.raises(BadRequest, match="NaN or infinity for training samples"):
        run(tmp_path, tmp_path / "work", train=never, epochs=1)


def test_sensitivities_are_those_of_one_kernel_changed_by_hand_and_leave_the_model_as_it_was(trained):
    model = open_trainable(ModelLocation(trained("residual") / "model.h5")).folded()
    inputs = {"image": pictures(64, 4)[0].astype(np.float32)}
    (name, (_, (node, *_))) = list(kernels(model.network).items())[1]
    before, (wanted,) = model.weights(), model.predict(inputs).values()
    first, found = sensitivities(model, inputs, {name: MIXED_4_8.weights}, lambda done: None)[name]
    for key, values in model.weights().items():
        np.testing.assert_array_equal(values, before[key])
    model.set_weights({name: rounded_kernel(before[name], node, MIXED_4_8.weights[1])})
    (got,) = model.predict(inputs).values()
    keras = tf_keras.losses.KLDivergence()(wanted, got)
    assert first == 0 < found
    assert found == pytest.approx(float(keras), rel=1e-3, abs=1e-6)


def test_a_new_scheme_is_one_value_from_the_recipe_to_the_file(trained, tmp_path, monkeypatch):
    by_tensor = replace(INT8.weights[0], granularity=Granularity.TENSOR)
    scheme = replace(INT8, name="int8-tensor", about="one step a kernel.", weights=(by_tensor,))
    monkeypatch.setitem(SCHEMES, scheme.name, scheme)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "schema: 1\nabout: a\nsteps:\n  - quantize: {scheme: int8-tensor, epochs: 1, batch: 64, labels: 0}\n"
    )
    (step,) = load(recipe).steps
    around = context(trained("residual"), tmp_path / "work")
    done = quantize(step, around, trainer(step, around))
    assert Grid.read(done.grid.folder) == done.grid and done.grid.scheme == scheme
    images, _ = pictures(VALIDATION, 3)
    (graph,) = done.gridded.predict({"image": images.astype(np.float32)}).values()
    file, _ = exported(done, around, tmp_path, "int8")
    assert (from_file(file, images)[0].argmax(-1) == graph.argmax(-1)).mean() >= 0.98
    interpreter = Interpreter(model_path=str(file))
    kernels_of_file = [
        tensor["quantization_parameters"]["scales"] for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] is np.int8 and len(tensor["quantization_parameters"]["scales"]) > 1
    ]
    assert len(kernels_of_file) == 4 and all(np.unique(scales).size == 1 for scales in kernels_of_file)


def test_a_scheme_of_weights_alone_leaves_activations_as_they_are(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(SCHEMES, "weights", replace(INT8, name="weights", activations=None))
    done, around = run(trained("residual"), tmp_path / "work", scheme="weights", epochs=1)
    assert done.grid.activations == {} and done.facts["activations"] == {}
    inputs = {"image": pictures(64, 3)[0].astype(np.float32)}
    for name, values in done.model.predict(inputs).items():         # nothing but kernels is rounded
        np.testing.assert_allclose(done.gridded.predict(inputs)[name], values, atol=1e-5)
    file, made = exported(done, around, tmp_path, "int8-weights")
    assert file.exists() and made.choices["weights"].startswith("trained grid: 8 bits in 4 layers")
