"""Code that a model needs, and that the user trusts, runs where it can do little."""

import pytest
from needs import needs_kernel

from mlopt.sandbox import landlock


@pytest.fixture(autouse=True)
def landlock_that_holds_a_worker():
    needs_kernel(landlock.version() >= landlock.LEAST_VERSION, "its Landlock cannot hold a worker")


MODULE = """
from pathlib import Path
import tf_keras

{payload}

class Doubled(tf_keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2.0
"""


@pytest.fixture
def model(tmp_path):
    """A model with a layer of the user's own, in a module of the current folder."""
    import tf_keras

    class Doubled(tf_keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    inner = tf_keras.Input((4,))
    tf_keras.Model(inner, Doubled(name="doubled")(tf_keras.layers.Dense(3)(inner))).save(
        tmp_path / "model.h5", save_format="h5"
    )
    return tmp_path / "model.h5"


def compressed(mlopt, model, module):
    (model.parent / "mine.py").write_text(module)
    return mlopt(
        "compress", model, "--custom-objects", "mine:Doubled", "--to", "tflite", "--precision", "float16", "--out",
        model.parent / "bundle", cache_folder=model.parent / "cache", cwd=model.parent,
    )


def test_a_layer_of_the_users_own_works_inside(mlopt, model):
    done = compressed(mlopt, model, MODULE.format(payload=""))
    assert done.returncode == 0, done.stderr
    assert (model.parent / "bundle" / "tflite").is_dir()


def test_a_module_that_writes_elsewhere_is_kept_from_it_and_told(mlopt, model):
    target = model.parent / "written"
    done = compressed(mlopt, model, MODULE.format(payload=f"Path({str(target)!r}).write_text('x')"))
    assert done.returncode == 2 and not target.exists()
    assert f"kept from {target}" in done.stderr and "MLOPT_SANDBOX=0" in done.stderr


def test_a_module_that_calls_home_is_kept_from_it_and_told(mlopt, model):
    done = compressed(mlopt, model, MODULE.format(payload="import socket; socket.create_connection(('127.0.0.1', 9))"))
    assert done.returncode == 2
    assert "kept from the network" in done.stderr and "MLOPT_SANDBOX=0" in done.stderr


def test_code_in_a_file_that_is_trusted_writes_nothing_outside(mlopt, tmp_path):
    """A Lambda layer with a payload in its bytecode, opened with --trust-code."""
    import tf_keras

    target = tmp_path / "written"
    inner = tf_keras.Input((4,))
    payload = eval(f"lambda x: (__import__('os').system('touch {target}'), x)[1]")  # the payload
    tf_keras.Model(inner, tf_keras.layers.Lambda(payload)(tf_keras.layers.Dense(3)(inner))).save(
        tmp_path / "model.h5", save_format="h5"
    )
    assert target.exists(), "the payload does not work at all"
    target.unlink()
    done = mlopt(
        "compress", tmp_path / "model.h5", "--trust-code", "--to", "tflite", "--precision", "float16", "--out",
        tmp_path / "bundle", cache_folder=tmp_path / "cache",
    )
    assert done.returncode == 0, done.stderr
    assert not target.exists()
