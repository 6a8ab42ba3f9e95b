"""What cannot be worked with: one clear sentence, exit code 2, nothing written."""

import json
import os
import shutil
import sys

import h5py
import numpy as np
import pytest
import tf_keras
from permissions import heeding_permissions

from mlopt.testing import tiny

layers = tf_keras.layers


def refused(run, *words):
    assert run.returncode == 2, (run.returncode, run.stdout, run.stderr)
    assert run.stdout == "" and "Traceback" not in run.stderr
    said = [line for line in run.stderr.splitlines() if line.startswith("mlopt:")]
    assert len(said) == 1, run.stderr
    for word in words:
        assert word in said[0], said[0]


@pytest.fixture
def attempt(mlopt_here, tmp_path):
    def run(model, *options):
        before = sorted(p.name for p in tmp_path.iterdir())
        found = mlopt_here("compress", model, "--out", tmp_path / "bundle", "--to", "tflite", *options)
        assert sorted(p.name for p in tmp_path.iterdir()) == before, "something was written"
        return found

    return run


def saved(model, path):
    model.save(path, save_format="h5")
    return path


def test_a_missing_model(attempt, tmp_path):
    refused(attempt(tmp_path / "none.h5"), "none.h5: no such file or folder")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + b"x" * 50, b"PK\x03\x04 not a zip", b"just text"])
def test_a_file_that_is_no_model(attempt, tmp_path, content):
    (tmp_path / "bad.h5").write_bytes(content)
    refused(attempt(tmp_path / "bad.h5"), "bad.h5")


def test_a_truncated_model(attempt, files, tmp_path):
    content = (files / "model.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    refused(attempt(tmp_path / "cut.h5"), "cut.h5", "truncated")


def test_a_tflite_file_is_named_for_what_it_is(attempt, done, tmp_path):
    folder, _, _ = done
    refused(attempt(folder / "tflite/model-int8.tflite"), "TFLite", ".h5")


def test_a_folder_without_a_saved_model(attempt, tmp_path):
    (tmp_path / "folder").mkdir()
    refused(attempt(tmp_path / "folder"), "saved_model.pb")


def test_weights_that_are_not_numbers_name_the_layer(attempt, tmp_path):
    model = tiny.build("autoencoder")
    model.get_layer("reconstruction").bias.assign(np.full(24, np.nan))
    refused(attempt(saved(model, tmp_path / "nan.h5")), "NaN", "reconstruction")


def test_a_model_without_weights(attempt, tmp_path):
    model = tf_keras.Sequential([layers.Input((4,)), layers.ReLU()])
    refused(attempt(saved(model, tmp_path / "empty.h5")), "no weights")


def test_a_weights_file_has_no_architecture(attempt, tmp_path):
    tiny.build("autoencoder").save_weights(tmp_path / "only.h5")
    refused(attempt(tmp_path / "only.h5"), "architecture")


def test_a_lambda_layer_is_refused_and_its_code_is_not_run(attempt, tmp_path):
    mark = tmp_path / "was-run"
    path = str(mark)

    def write(x):
        import pathlib

        pathlib.Path(path).write_text("run")
        return x

    image = tf_keras.Input((4,))
    model = tf_keras.Model(image, layers.Dense(2)(layers.Lambda(write, name="sneaky")(image)))
    mark.unlink()                                   # building the model ran it once
    saved(model, tmp_path / "lambda.h5")
    mark.unlink(missing_ok=True)
    refused(attempt(tmp_path / "lambda.h5"), "sneaky", "Lambda", "--trust-code", "Nothing was run")
    assert not mark.exists()


def test_a_lambda_layer_is_opened_when_its_code_is_trusted(mlopt, tmp_path):
    image = tf_keras.Input((4,))
    model = tf_keras.Model(image, layers.Dense(2)(layers.Lambda(lambda x: x * 2.0)(image)))
    saved(model, tmp_path / "lambda.h5")
    run = mlopt("compress", tmp_path / "lambda.h5", "--out", tmp_path / "bundle", "--to", "tflite", "--precision",
                "float16", "--trust-code")
    assert run.returncode == 0, run.stderr


def test_data_of_another_shape_says_both(attempt, files, tmp_path):
    np.savez(tmp_path / "small.npz", image=np.zeros((8, 4, 4, 3), np.float32))
    refused(attempt(files / "model.h5", "--data", tmp_path / "small.npz"), "[N, 8, 8, 3]", "4, 4, 3")


def test_missing_empty_and_truncated_data(attempt, files, tmp_path):
    refused(attempt(files / "model.h5", "--data", tmp_path / "none.npz"), "none.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    refused(attempt(files / "model.h5", "--data", tmp_path / "empty.npz"), "empty.npz", "empty")
    content = (files / "samples.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    refused(attempt(files / "model.h5", "--data", tmp_path / "cut.npz"), "cut.npz")


def test_inputs_that_are_not_numbers(attempt, files, tmp_path):
    images = np.zeros((8, 8, 8, 3), np.float32)
    images[5, 0, 0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", image=images)
    refused(attempt(files / "model.h5", "--data", tmp_path / "nan.npz"), "NaN")


def test_labels_out_of_range_say_which_and_how_many(attempt, files, tmp_path):
    images = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype(np.float32)
    np.savez(tmp_path / "labels.npz", image=images, label=np.array([0, 1, 2, 3, 4, 9, 1, 2]))
    refused(attempt(files / "model.h5", "--test", tmp_path / "labels.npz"), "class numbers 0 to 3", "2 of 8", "4, 9")


def test_calibration_data_that_no_precision_uses_is_not_ignored(attempt, files):
    refused(
        attempt(files / "model.h5", "--data", files / "samples.npz", "--test", files / "test.npz", "--precision",
                "float16"),
        "--data would not be used", "int8",
    )


def test_the_same_samples_for_both_prove_little(attempt, files):
    refused(attempt(files / "model.h5", "--data", files / "test.npz", "--test", files / "test.npz"), "the same samples")


def test_unknown_precision_format_and_settings_offer_what_there_is(attempt, mlopt_here, files, tmp_path):
    refused(attempt(files / "model.h5", "--precision", "int9"), "int9", "Did you mean")
    refused(mlopt_here("compress", files / "model.h5", "--to", "tflit"), "tflit", "tflite")
    refused(attempt(files / "model.h5", "--max-drop", "5"), "--max-drop", "0.01 is one point")
    refused(attempt(files / "model.h5", "--normalise", "x"), "--normalise", "0..1")


def test_a_folder_that_is_somebody_elses_is_not_replaced(mlopt_here, files, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    refused(mlopt_here("compress", files / "model.h5", "--out", out, "--to", "tflite"), "not empty")
    assert (out / "thesis.txt").read_text() == "years of work"


def test_a_manifest_of_something_else_does_not_make_a_folder_ours(mlopt_here, files, tmp_path):
    out = tmp_path / "extension"
    out.mkdir()
    (out / "manifest.json").write_text('{"manifest_version": 3, "name": "a browser extension"}')
    refused(mlopt_here("compress", files / "model.h5", "--out", out, "--to", "tflite"), "no bundle of mlopt's")


def test_what_was_put_into_a_bundle_is_not_deleted_with_it(mlopt_here, files, done, tmp_path):
    shutil.copytree(done[0], tmp_path / "bundle")
    shutil.copyfile(files / "model.h5", tmp_path / "bundle" / "model.h5")
    run = mlopt_here("compress", tmp_path / "bundle" / "model.h5", "--out", tmp_path / "bundle")
    refused(run, "model.h5 in it is not")


def test_the_folder_that_one_stands_in_is_not_replaced(mlopt, files, tmp_path):
    refused(mlopt("compress", files / "model.h5", "--out", ".", "--to", "tflite", cwd=tmp_path), "the current one")


def test_a_link_to_a_bundle_stays_a_link(mlopt_here, files, tmp_path):
    (tmp_path / "bundles").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "bundles" / "first")
    for _ in range(2):
        run = mlopt_here("compress", files / "model.h5", "--out", tmp_path / "latest", "--to", "tflite", "--precision",
                         "float16")
        assert run.returncode in (0, 1), run.stderr
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "bundles" / "first" / "manifest.json").exists()


def test_a_place_that_does_not_exist_or_is_a_file(mlopt_here, files, tmp_path):
    (tmp_path / "file").write_text("x")
    for place, told in (("no/such", "no folder"), ("file", "a file of that name")):
        refused(mlopt_here("compress", files / "model.h5", "--out", tmp_path / place, "--to", "tflite"), told)


def test_a_folder_without_permission(mlopt, files, tmp_path):
    tmp_path.chmod(0o500)
    run = mlopt("compress", files / "model.h5", "--out", tmp_path / "bundle", "--to", "tflite",
                started_by=heeding_permissions)
    refused(run, "Permission denied")
    tmp_path.chmod(0o700)


def test_an_operation_that_a_format_lacks_is_named_with_its_layer(mlopt_here, tmp_path):
    import tensorflow as tf

    image = tf_keras.Input((4,), name="x")
    model = tf_keras.Model(image, layers.Dense(2)(tf.math.erfinv(image)))
    run = mlopt_here("compress", saved(model, tmp_path / "rare.h5"), "--out", tmp_path / "bundle", "--to", "tflite")
    assert run.returncode in (2, 3)
    assert "rfinv" in run.stdout + run.stderr and "Traceback" not in run.stderr


def test_a_model_with_a_free_size_asks_for_it_and_takes_it(mlopt_here, tmp_path):
    image = tf_keras.Input((None, None, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    path = saved(tf_keras.Model(image, layers.Dense(2)(x)), tmp_path / "free.h5")
    refused(mlopt_here("compress", path, "--out", tmp_path / "bundle", "--to", "tflite"), "--input-shape", "image")
    run = mlopt_here("compress", path, "--out", tmp_path / "bundle", "--to", "tflite", "--precision", "float16",
                     "--input-shape", "image=1,8,8,3")
    assert run.returncode == 0, run.stderr


def test_a_custom_layer_is_refused_until_it_is_given(mlopt, mlopt_here, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import tf_keras\n"
        "class Scaled(tf_keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return 2.0 * x\n"
    )
    sys.path.insert(0, str(tmp_path))
    from mine import Scaled

    image = tf_keras.Input((4,))
    path = saved(tf_keras.Model(image, layers.Dense(2)(Scaled(name="doubled")(image))), tmp_path / "custom.h5")
    sys.path.remove(str(tmp_path))
    refused(mlopt_here("compress", path, "--out", tmp_path / "bundle", "--to", "tflite"), "doubled", "--custom-objects")
    run = mlopt("compress", path, "--out", tmp_path / "bundle", "--to", "tflite", "--precision", "float16",
                "--custom-objects", "mine:Scaled", cwd=tmp_path)
    assert run.returncode == 0, run.stderr


def test_optimizer_state_is_not_the_models_size(mlopt_here, tmp_path):
    model = tiny.build("small_convnet")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.zeros((8, 8, 8, 3), np.float32), np.zeros(8), verbose=0)
    model.save(tmp_path / "trained.h5", save_format="h5")
    with h5py.File(tmp_path / "trained.h5") as file:
        assert "optimizer_weights" in file
    run = mlopt_here("compress", tmp_path / "trained.h5", "--out", tmp_path / "bundle", "--to", "tflite", "--precision",
                     "float16", "--json")
    source = json.loads(run.stdout)["source"]
    assert source["weight_bytes"] == 996 * 4
    assert source["optimizer_bytes"] > source["weight_bytes"]


def test_an_empty_model_path_is_not_the_current_folder(attempt, files):
    refused(attempt(""), "MODEL takes the name of a file or folder; got ''")


def test_a_model_that_is_a_pipe_is_not_waited_for(attempt, tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    refused(attempt(tmp_path / "pipe.h5"), "pipe.h5", "a named pipe")


def test_a_model_folder_with_a_pipe_in_it_is_not_waited_for(attempt, tmp_path):
    (tmp_path / "model/variables").mkdir(parents=True)
    (tmp_path / "model/saved_model.pb").write_bytes(b"x")
    os.mkfifo(tmp_path / "model/variables/variables.index")
    refused(attempt(tmp_path / "model"), "model", "a named pipe")


def test_a_folder_of_images_with_a_pipe_in_it_is_not_waited_for(attempt, files, tmp_path):
    (tmp_path / "images/cats").mkdir(parents=True)
    os.mkfifo(tmp_path / "images/cats/1.png")
    refused(attempt(files / "model.h5", "--data", tmp_path / "images"), "cats/1.png is a named pipe")


def test_data_that_unpacks_to_a_thousand_times_its_size_is_refused(attempt, files, tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", image=np.zeros((300, 1024, 1024), np.uint8))
    refused(attempt(files / "model.h5", "--data", tmp_path / "bomb.npz"), "declares 314,572,", "bytes of content")
