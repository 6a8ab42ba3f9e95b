"""What a stage is kept under: everything that decides its result, and nothing that does not."""

from pathlib import Path

import pytest

from mlopt import code, plugins
from mlopt.cache import Cache
from mlopt.errors import ModelUnreadable
from mlopt.location import ModelLocation
from mlopt.pipeline.entries import Entries
from mlopt.pipeline.stages import opened
from mlopt.pipeline.workspace import Workspace
from mlopt.steps.slim import Slim
from mlopt.testing import tiny
from mlopt.worker import Crew


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.h5").write_bytes(b"weights")
    return tmp_path / "model.h5"


def test_the_same_bytes_under_another_name_are_the_same_model(model, tmp_path):
    (tmp_path / "copy.h5").write_bytes(b"weights")
    assert ModelLocation(model).identity == ModelLocation(tmp_path / "copy.h5").identity
    (tmp_path / "copy.h5").write_bytes(b"other weights")
    assert ModelLocation(model).identity != ModelLocation(tmp_path / "copy.h5").identity


def test_changed_code_of_a_custom_object_opens_the_model_again(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    def identity():
        return ModelLocation(model, custom_objects=("own_layers:Scaled",)).identity

    (tmp_path / "own_layers.py").write_text("factor = 2")
    before = identity()
    assert identity() == before
    (tmp_path / "own_layers.py").write_text("factor = 3")
    assert identity() != before


def test_every_module_of_a_custom_objects_package_counts(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "layers.py").write_text("factor = 2")
    before = ModelLocation(model, custom_objects=("own_package:Scaled",)).identity
    (tmp_path / "own_package" / "layers.py").write_text("factor = 3")
    assert ModelLocation(model, custom_objects=("own_package:Scaled",)).identity != before


def test_code_that_is_not_found_is_never_taken_for_the_same(model):
    one, other = (ModelLocation(model, custom_objects=("nowhere_at_all:Scaled",)) for _ in range(2))
    assert one.identity != other.identity


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ModelUnreadable, match="no such file or folder"):
        ModelLocation(tmp_path / "none.h5").identity  # noqa: B018  # a property that reads


def test_a_kept_description_goes_by_the_name_it_was_asked_under(tmp_path):
    network = tiny.build("autoencoder")
    for name in ("first", "second"):
        network.save(tmp_path / f"{name}.h5", save_format="h5")
    (tmp_path / "second.h5").write_bytes((tmp_path / "first.h5").read_bytes())
    with Crew() as crew:
        at = Workspace(crew=crew, store=Cache(tmp_path / "cache"))
        first = opened(at, ModelLocation(tmp_path / "first.h5"))
        second = opened(at, ModelLocation(tmp_path / "second.h5"))
    assert (first.path.name, second.path.name) == ("first.h5", "second.h5")
    assert first.layers == second.layers


def test_a_folder_that_one_stands_in_lends_its_name(tmp_path, monkeypatch):
    (tmp_path / "net").mkdir()
    monkeypatch.chdir(tmp_path / "net")
    assert ModelLocation(Path()).stem == "net"


def test_a_step_that_times_networks_depends_on_what_writes_and_runs_its_drafts(tmp_path, monkeypatch):
    tiny.build("autoencoder").save(tmp_path / "model.h5", save_format="h5")
    seen = []
    monkeypatch.setattr(code, "digest", lambda functions, packages=(): seen.append((functions, packages)) or "")
    steps = (Slim(latency=0.75, format="onnx"),)
    Entries(Cache(tmp_path / "cache")).step(ModelLocation(tmp_path / "model.h5"), steps, {})
    functions, packages = seen[0]
    door = plugins.load_converter("onnx")
    assert {door.exporters["keras"].function, door.draft, door.open_runtime} <= set(functions)
    assert {package.installed_as for package in door.reads} <= set(packages)
