"""What a stage is kept under: everything that decides its result, and nothing that does not."""

from pathlib import Path

import pytest

from mlopt.cache import Cache
from mlopt.errors import ModelUnreadable
from mlopt.pipeline.opening import describe, opening_of
from mlopt.pipeline.request import CompressRequest
from mlopt.testing import tiny
from mlopt.worker import Crew


def request(model, **settings):
    return CompressRequest(model=Path(model), out=Path("out"), **settings)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.h5").write_bytes(b"weights")
    return tmp_path / "model.h5"


def test_the_same_bytes_under_another_name_are_the_same_model(model, tmp_path):
    (tmp_path / "copy.h5").write_bytes(b"weights")
    assert opening_of(request(model)) == opening_of(request(tmp_path / "copy.h5"))
    (tmp_path / "copy.h5").write_bytes(b"other weights")
    assert opening_of(request(model)) != opening_of(request(tmp_path / "copy.h5"))


def test_changed_code_of_a_custom_object_opens_the_model_again(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = request(model, custom_objects=("own_layers:Scaled",))
    (tmp_path / "own_layers.py").write_text("factor = 2")
    before = opening_of(asked)
    assert opening_of(asked) == before
    (tmp_path / "own_layers.py").write_text("factor = 3")
    assert opening_of(asked) != before


def test_every_module_of_a_custom_objects_package_counts(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "layers.py").write_text("factor = 2")
    before = opening_of(request(model, custom_objects=("own_package:Scaled",)))
    (tmp_path / "own_package" / "layers.py").write_text("factor = 3")
    assert opening_of(request(model, custom_objects=("own_package:Scaled",))) != before


def test_code_that_is_not_found_is_never_taken_for_the_same(model):
    asked = request(model, custom_objects=("nowhere_at_all:Scaled",))
    assert opening_of(asked) != opening_of(asked)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ModelUnreadable, match="no such file or folder"):
        opening_of(request(tmp_path / "none.h5"))


def test_a_kept_description_goes_by_the_name_it_was_asked_under(tmp_path):
    network = tiny.build("autoencoder")
    for name in ("first", "second"):
        network.save(tmp_path / f"{name}.h5", save_format="h5")
    (tmp_path / "second.h5").write_bytes((tmp_path / "first.h5").read_bytes())
    with Crew() as crew:
        store = Cache(tmp_path / "cache")
        first = describe(request(tmp_path / "first.h5"), crew, store)
        second = describe(request(tmp_path / "second.h5"), crew, store)
    assert (first.path.name, second.path.name) == ("first.h5", "second.h5")
    assert first.layers == second.layers


def test_a_folder_that_one_stands_in_lends_its_name(tmp_path, monkeypatch):
    (tmp_path / "net").mkdir()
    monkeypatch.chdir(tmp_path / "net")
    assert request(".").stem == "net"
