"""Whole packages: exported, made smaller, read back, damaged, and run beside the Keras model."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from mlopt_coreml import CoreMLConverter
from mlopt_coreml.exporter import export
from mlopt_coreml.layers import layer_errors
from mlopt_coreml.package import program_of, read_package
from mlopt_coreml.quantizer import make, not_sparse, weight_sparsity
from mlopt_coreml.runtime import open_runtime, read_storage

from mlopt import files
from mlopt.data.samples import Samples
from mlopt.errors import MloptError, ModelUnreadable, UnsupportedOps
from mlopt.model import Signature, TensorSpec
from mlopt.testing import tiny

layers = tf_keras.layers

# signal to noise that random, untrained tiny networks reach; a wrong kernel or table gives about 0
LEAST_DB = {"float16": 45, "int8-weights": 30, "palette8": 30, "palette6": 20, "palette4": 9}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[tiny.TinyModel, Path]]:
    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for name in tiny.TINY:
        model = tiny.TinyModel(tiny.build(name))
        export(model, model.signature, folder / f"{name}.mlpackage")
        made[name] = (model, folder / f"{name}.mlpackage")
    return made


def wide_model(zeros: float = 0.0) -> tiny.TinyModel:
    """Large enough that tables pay: two convolutions and a dense layer."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(3)
    image = tf_keras.Input((8, 8, 8), name="image")
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="second")(x)
    x = layers.Dense(40)(layers.GlobalAveragePooling2D()(x))
    model = tf_keras.Model(image, x)
    for weight in model.weights:
        if "bias" in weight.name:
            weight.assign(np.random.default_rng(4).normal(0, 0.1, weight.shape))
    if zeros:
        kernel = model.get_layer("second").kernel
        values = kernel.numpy()
        values[np.abs(values) < np.quantile(np.abs(values), zeros)] = 0
        kernel.assign(values)
    return tiny.TinyModel(model)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[tiny.TinyModel, Path]:
    model, path = wide_model(), tmp_path_factory.mktemp("wide") / "wide.mlpackage"
    export(model, model.signature, path)
    return model, path


def remade(path: Path, precision: str, dest: Path, signature: Signature) -> Any:
    return make(path, precision, dest, signature=signature, samples=None, seed=0)


def decibels(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / max(float(np.square(wanted - found).sum()), 1e-30)))


@pytest.mark.parametrize("name", list(tiny.TINY))
def test_the_float32_package_computes_what_keras_computes(
    exported: dict[str, tuple[tiny.TinyModel, Path]], name: str
) -> None:
    model, path = exported[name]
    inputs = tiny.inputs_for(model, 37, seed=5)
    found, wanted = open_runtime(path, model.signature).predict(inputs), model.predict(inputs)
    assert found.keys() == wanted.keys()
    for output in wanted:
        assert np.abs(found[output] - wanted[output]).max() < 1e-5


@pytest.mark.parametrize("precision", list(LEAST_DB))
def test_every_precision_stays_near_the_float_model(
    exported: dict[str, tuple[tiny.TinyModel, Path]], wide: tuple[tiny.TinyModel, Path], precision: str, tmp_path: Path
) -> None:
    chosen = ("small_convnet", "depthwise_convnet", "streaming_conv1d", "small_transformer", "mobile_block")
    for model, path in (*(exported[name] for name in chosen), wide):
        remade(path, precision, tmp_path / "made.mlpackage", model.signature)
        inputs = tiny.inputs_for(model, 32, seed=6)
        found = open_runtime(tmp_path / "made.mlpackage", model.signature).predict(inputs)
        wanted = model.predict(inputs)
        for output in wanted:
            assert decibels(wanted[output], found[output]) > LEAST_DB[precision], (path.stem, output)


def test_packages_shrink_with_their_precision_and_say_what_they_store(
    wide: tuple[tiny.TinyModel, Path], tmp_path: Path
) -> None:
    model, path = wide
    sizes, stored = {"float32": files.size(path)}, {}
    for precision in LEAST_DB:
        remade(path, precision, tmp_path / precision, model.signature)
        sizes[precision] = files.size(tmp_path / precision)
        stored[precision] = read_storage(tmp_path / precision)
    weights = 8 * 24 * 9 + 24 * 32 * 9 + 32 * 40
    assert sizes["float16"] < 0.55 * sizes["float32"]
    assert sizes["palette4"] < sizes["palette6"] < sizes["int8-weights"] < sizes["float16"]
    assert stored["int8-weights"].weights_by_dtype == {"int8": weights, "bias": 96}
    assert stored["palette4"].weights_by_dtype == {"uint4-palette": weights, "bias": 96}
    assert [layer.activation_dtype for layer in stored["palette4"].layers] == ["float16"] * 3
    second = stored["palette6"].layers[1]
    assert second.op == "conv" and second.elements == 24 * 32 * 9
    assert second.bytes >= 24 * 32 * 9 * 6 // 8 + 2 * 64
    for name, storage in stored.items():
        assert 0 < storage.overhead_bytes < 6000, name


def test_layers_too_small_to_gain_are_left_and_told(
    exported: dict[str, tuple[tiny.TinyModel, Path]], tmp_path: Path
) -> None:
    model, path = exported["autoencoder"]
    made = remade(path, "palette8", tmp_path / "a.mlpackage", model.signature)
    assert "smaller as they are" in made.notes[0] and "Nothing in this package is compressed." in made.notes
    assert set(read_storage(made.path).weights_by_dtype) == {"float16", "bias"}


def test_sparse_weights_are_stored_sparse_and_others_refused(tmp_path: Path, wide: tuple[tiny.TinyModel, Path]) -> None:
    dense_model, dense = wide
    assert weight_sparsity(dense) == 0 and "30%" in not_sparse(dense)
    with pytest.raises(MloptError, match="prune the model first"):
        remade(dense, "sparse-int8", tmp_path / "no.mlpackage", dense_model.signature)
    assert not (tmp_path / "no.mlpackage").exists()

    model = wide_model(zeros=0.8)
    export(model, model.signature, tmp_path / "pruned.mlpackage")
    second = 24 * 32 * 9
    assert weight_sparsity(tmp_path / "pruned.mlpackage") == pytest.approx(0.8 * second / (second + 3008), abs=0.01)
    assert not_sparse(tmp_path / "pruned.mlpackage") == ""
    for precision in ("sparse-int8", "int8-weights"):
        remade(tmp_path / "pruned.mlpackage", precision, tmp_path / precision, model.signature)
    storage = read_storage(tmp_path / "sparse-int8")
    assert storage.weights_by_dtype == {"int8": 3008, "sparse-int8": second, "bias": 96}
    assert files.size(tmp_path / "sparse-int8") < files.size(tmp_path / "int8-weights") - 3000
    inputs = tiny.inputs_for(model, 16)
    wanted = next(iter(model.predict(inputs).values()))
    found = next(iter(open_runtime(tmp_path / "sparse-int8", model.signature).predict(inputs).values()))
    assert decibels(wanted, found) > 30


def test_samples_give_the_same_alone_and_in_any_batch(exported: dict[str, tuple[tiny.TinyModel, Path]]) -> None:
    for model, path in exported.values():
        runtime, inputs = open_runtime(path, model.signature), tiny.inputs_for(model, 5)
        together = runtime.predict(inputs)
        for i in range(5):
            alone = runtime.predict({k: v[i : i + 1] for k, v in inputs.items()})
            for name in together:
                np.testing.assert_allclose(alone[name][0], together[name][i], atol=1e-6)


def test_no_samples_give_no_rows(wide: tuple[tiny.TinyModel, Path]) -> None:
    model, path = wide
    [rows] = open_runtime(path, model.signature).predict({"image": np.zeros((0, 8, 8, 8), np.float32)}).values()
    assert rows.shape == (0, 40)


def test_coremltools_reads_every_package_back(wide: tuple[tiny.TinyModel, Path], tmp_path: Path) -> None:
    from coremltools.converters.mil.frontend.milproto.load import load

    model, path = wide
    for precision in ("float16", "int8-weights", "palette6", "palette4"):
        remade(path, precision, tmp_path / precision, model.signature)
        spec = read_package(tmp_path / precision).model
        folder = tmp_path / precision / "Data/com.apple.CoreML/weights"
        theirs = load(spec, spec.specificationVersion, str(folder)).functions["main"]
        ours = program_of(read_package(tmp_path / precision), tmp_path)
        kinds = [op.op_type for op in theirs.operations if op.op_type != "const"]
        assert kinds == [op.kind for op in ours.operations if op.kind != "const"]
        ready = open_runtime(tmp_path / precision, model.signature)
        for op in theirs.operations:
            value = op.val.val if op.op_type == "const" else None
            if op.op_type.startswith("constexpr_"):
                value = op.materialized_val_inference()
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and op.outputs[0].name in ours.types:
                np.testing.assert_allclose(
                    ready._evaluator._fixed[op.outputs[0].name][0], value.astype(np.float32), atol=2e-4
                )


_MAKE_IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from mlopt.isolation import NEVER_NEEDED, TORCH, hide
from mlopt.plugins import framework_imports
hide(TORCH | NEVER_NEEDED | framework_imports()["keras"])
from mlopt_coreml.quantizer import make
for precision in ("float16", "palette4"):
    make(Path(sys.argv[1]), precision, Path(sys.argv[2]) / precision, signature=None, samples=None, seed=0)
assert "tensorflow" not in sys.modules and "torch" not in sys.modules
"""


def test_the_same_model_gives_the_same_bytes_in_a_process_without_frameworks(
    wide: tuple[tiny.TinyModel, Path], tmp_path: Path
) -> None:
    model, path = wide
    again = tmp_path / "again.mlpackage"
    export(wide_model(), model.signature, again)
    assert files.digest(again) == files.digest(path)
    done = subprocess.run(
        [sys.executable, "-c", _MAKE_IN_ANOTHER_PROCESS, str(path), str(tmp_path)], capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for precision in ("float16", "palette4"):
        remade(path, precision, tmp_path / "here", model.signature)
        assert files.digest(tmp_path / "here") == files.digest(tmp_path / precision)


def test_equal_constants_and_small_tensors_do_not_cost_twice(wide: tuple[tiny.TinyModel, Path]) -> None:
    program = program_of(read_package(wide[1]), wide[1])
    constants = [op for op in program.operations if op.kind == "const"]
    contents = {(op.arguments["val"][0].type, op.arguments["val"][0].array.tobytes()) for op in constants}   # type: ignore[union-attr]
    assert len(contents) == len(constants)
    in_file = [op.arguments["val"][0] for op in constants if op.arguments["val"][0].in_file]   # type: ignore[union-attr]
    assert all(held.stored_bytes > 512 for held in in_file) and len(in_file) == 3   # type: ignore[union-attr]


def test_operations_keep_names_that_tell_the_layer_in_every_precision(
    wide: tuple[tiny.TinyModel, Path], tmp_path: Path
) -> None:
    model, path = wide
    remade(path, "palette4", tmp_path / "p.mlpackage", model.signature)
    names = [[layer.name for layer in read_storage(p).layers] for p in (path, tmp_path / "p.mlpackage")]
    assert names[0] == names[1] and names[0][0].startswith("conv2d") and names[0][2].startswith("dense")


def test_errors_are_told_layer_by_layer_and_grow_with_coarser_weights(
    wide: tuple[tiny.TinyModel, Path], tmp_path: Path
) -> None:
    model, path = wide
    samples = Samples(
        folder=tmp_path, count=8, origin="given", inputs=tiny.inputs_for(model, 8), labels=None, slices={}
    )
    worst = {}
    for precision in ("float16", "palette6", "palette4"):
        remade(path, precision, tmp_path / precision, model.signature)
        errors = layer_errors(path, tmp_path / precision, samples, 8)
        assert [e.name for e in errors] == [layer.name for layer in read_storage(path).layers]
        worst[precision] = min(e.sqnr_db for e in errors)
    assert 80 > worst["float16"] > worst["palette6"] > worst["palette4"] > 0


def test_operations_that_coreml_lacks_are_named_with_their_layers(tmp_path: Path) -> None:
    image = tf_keras.Input((4,), name="x")
    hidden = layers.Dense(3, name="first")(image)
    model = tf_keras.Model(image, tf.math.bessel_i0e(tf.math.lgamma(hidden)))
    one = tiny.TinyModel(model)
    with pytest.raises(UnsupportedOps) as caught:
        export(one, one.signature, tmp_path / "m.mlpackage")
    assert set(caught.value.layers_by_op) == {"BesselI0e", "Lgamma"}
    assert not (tmp_path / "m.mlpackage").exists()


def test_recurrent_layers_run_unrolled_and_loops_are_refused_with_that_remedy(tmp_path: Path) -> None:
    for unroll in (True, False):
        frames = tf_keras.Input((4, 3), name="frames")
        one = tiny.TinyModel(tf_keras.Model(frames, layers.LSTM(5, unroll=unroll)(frames)))
        if not unroll:
            with pytest.raises(UnsupportedOps, match=r"while_loop.*unroll=True"):
                export(one, one.signature, tmp_path / "loop.mlpackage")
            continue
        export(one, one.signature, tmp_path / "m.mlpackage")
        inputs = tiny.inputs_for(one, 6)
        [wanted], [found] = (
            m.predict(inputs).values() for m in (one, open_runtime(tmp_path / "m.mlpackage", one.signature))
        )
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_inputs_of_free_size_are_refused_with_the_remedy(tmp_path: Path) -> None:
    image = tf_keras.Input((None, 4), name="frames")
    one = tiny.TinyModel(tf_keras.Model(image, layers.Dense(2)(image)))
    with pytest.raises(MloptError, match=r"frames: float32 \[N, \?, 4\].*fixed size"):
        export(one, one.signature, tmp_path / "m.mlpackage")


def test_names_that_core_ml_forbids_are_mapped_by_the_contract(tmp_path: Path) -> None:
    image = tf_keras.Input((4,), name="in.put-1")
    one = tiny.TinyModel(tf_keras.Model(image, layers.Dense(2, name="2.out")(image)))
    export(one, one.signature, tmp_path / "m.mlpackage")
    runtime = open_runtime(tmp_path / "m.mlpackage", one.signature)
    assert runtime.contract.inputs[0].stored_name == "in_put_1" and runtime.contract.inputs[0].name == "in.put-1"
    assert runtime.contract.outputs[0].stored_name == "_2_out"
    inputs = tiny.inputs_for(one, 3)
    np.testing.assert_allclose(runtime.predict(inputs)["2.out"], one.predict(inputs)["2.out"], atol=1e-6)


def test_token_inputs_and_embeddings_run(tmp_path: Path) -> None:
    tokens = tf_keras.Input((6,), dtype="int32", name="tokens")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(50, 16)(tokens))
    one = tiny.TinyModel(tf_keras.Model(tokens, layers.Dense(3)(x)))
    path = tmp_path / "m.mlpackage"
    export(one, one.signature, path)
    remade(path, "int8-weights", tmp_path / "q.mlpackage", one.signature)
    ids = {"tokens": np.random.default_rng(0).integers(0, 50, (9, 6)).astype(np.int32)}
    [wanted] = one.predict(ids).values()
    for file, least in ((path, 100), (tmp_path / "q.mlpackage", 30)):
        [found] = open_runtime(file, one.signature).predict(ids).values()
        assert decibels(wanted, found) > least


@pytest.mark.parametrize(
    "spoil", ["no manifest", "escaping manifest", "half a model", "half the weights", "no weights"]
)
def test_damaged_packages_are_refused_with_a_sentence(
    wide: tuple[tiny.TinyModel, Path], tmp_path: Path, spoil: str
) -> None:
    model, path = wide
    damaged = tmp_path / "damaged.mlpackage"
    shutil.copytree(path, damaged)
    data = damaged / "Data/com.apple.CoreML"
    if spoil == "no manifest":
        (damaged / "Manifest.json").unlink()
    elif spoil == "escaping manifest":
        text = (damaged / "Manifest.json").read_text()
        (damaged / "Manifest.json").write_text(text.replace("com.apple.CoreML/model.mlmodel", "../../../etc/passwd"))
    elif spoil == "half a model":
        (data / "model.mlmodel").write_bytes((data / "model.mlmodel").read_bytes()[:1500])
    elif spoil == "half the weights":
        (data / "weights/weight.bin").write_bytes((data / "weights/weight.bin").read_bytes()[:9000])
    else:
        (data / "weights/weight.bin").unlink()
    with pytest.raises(ModelUnreadable, match=r"damaged\.mlpackage: .+"):
        open_runtime(damaged, model.signature)


def test_a_signature_of_another_model_is_refused(wide: tuple[tiny.TinyModel, Path]) -> None:
    spec = TensorSpec(name="sound", shape=(None, 4), dtype="float32", layout="NC")
    with pytest.raises(ModelUnreadable, match="no 'sound'"):
        open_runtime(wide[1], Signature(inputs=(spec,), outputs=wide[0].signature.outputs))


def test_the_door_imports_no_framework() -> None:
    code = "import sys, mlopt_coreml; print(sorted({'coremltools', 'tensorflow', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "coremltools" not in done.stdout and "tensorflow" not in done.stdout
    assert CoreMLConverter.precisions[0].name == "float32"
