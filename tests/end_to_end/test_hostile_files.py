"""A file that runs a command as Keras opens it, given to mlopt in every place where a model is given."""

import json

import pytest
from hostile_keras import command, dense, h5, keras_object, model, of_version

import mlopt as api
from mlopt.errors import MloptError


@pytest.fixture
def hostile(tmp_path):
    """(the file, what it makes where its payload runs)."""
    mark = tmp_path / "was-run"
    payload = keras_object("Constant", "keras.initializers", value={"optimizer_config": command(mark)("2.15.0")})
    architecture = of_version(model(dense(kernel_initializer=payload)), "2.15.0")
    return h5(tmp_path / "hostile.h5", json.dumps(architecture), "2.15.0"), mark


def test_the_command_line_refuses_it(hostile, mlopt, tmp_path):
    file, mark = hostile
    run = mlopt("compress", file, "--out", tmp_path / "bundle")
    assert run.returncode == 2 and "d.kernel_initializer.value" in run.stderr
    assert "Nothing was run" in run.stderr and not mark.exists() and not (tmp_path / "bundle").exists()


def test_the_python_interface_refuses_it(hostile, tmp_path, monkeypatch):
    file, mark = hostile
    monkeypatch.setenv("MLOPT_CACHE", str(tmp_path / "cache"))
    for call in (api.load, lambda path: api.compress(path, out=tmp_path / "bundle")):
        with pytest.raises(MloptError, match="Nothing was run"):
            call(str(file))
    assert not mark.exists() and not (tmp_path / "bundle").exists()


def test_a_recipe_refuses_it_as_the_model_and_as_a_teacher(hostile, files, mlopt_here, tmp_path):
    file, mark = hostile
    recipe = tmp_path / "taught.yaml"
    recipe.write_text(f"schema: 1\nabout: Taught.\nsteps:\n  - distill: {{teacher: {file}, epochs: 1}}\n")
    data = ("--train", files / "samples.npz", "--test", files / "test.npz", "--out", tmp_path / "bundle")
    for source in (file, files / "model.h5"):
        run = mlopt_here("compress", source, "--recipe", recipe, *data)
        assert run.returncode == 2 and "Nothing was run" in run.stderr, run.stderr
        assert not mark.exists() and not (tmp_path / "bundle").exists()
