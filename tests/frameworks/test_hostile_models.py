"""Model files made to run commands, write, or read what is not theirs: none does, by any way of opening a model."""

import functools
import json
import sys

import numpy as np
import pytest
import tf_keras
from hostile_keras import dense, h5, keras_files, layer, model, of_version
from hostile_saved_models import benign, saved_models
from inotify import Watch

from mlopt.errors import MloptError, ModelUnreadable
from mlopt.frameworks import open_model, open_trainable
from mlopt.location import ModelLocation

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),        # tf.saved_model.load leaves a file open
    pytest.mark.filterwarnings("ignore:.*experimental:UserWarning"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(mark, secret, files by name). The mark and the secret lie beside the models, where a file might reach."""
    folder = tmp_path_factory.mktemp("hostile")
    mark, secret = folder / "mark", folder / "secret"
    secret.write_bytes(b"secret\n" * 100)
    models = folder / "models"
    models.mkdir()
    files = dict(keras_files(models, mark, secret)) | dict(saved_models(models, mark, secret))
    mark.unlink(missing_ok=True)
    return mark, secret, files


@pytest.fixture
def swish(tmp_path, monkeypatch):
    (tmp_path / "their_layers.py").write_text(
        "import tf_keras\nclass NoSuchLayer(tf_keras.layers.Layer):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "their_layers:NoSuchLayer"
    sys.modules.pop("their_layers", None)


def everything_in(folder):
    return sorted((path, path.lstat().st_size) for path in folder.rglob("*"))


def opened_quietly(open_it, mark, secret, files):
    """Names of the files that did something; and that every one was refused with a documented error."""
    did = {}
    for name, path in files.items():
        with Watch(secret) as watch:
            try:
                open_it(path)
                if "compile-config" not in name:          # losses and optimizers are left out: nothing of them is built
                    did[name] = "was opened"
            except MloptError as err:
                assert str(path) in str(err) and "\n" not in str(err), name
            if watch.opened():
                did[name] = "read a file"
        if mark.exists() or list(mark.parent.glob("mark*")):
            did[name] = "ran"
            for left in mark.parent.glob("mark*"):
                left.unlink()
    return did


def opened(path):
    return open_model(ModelLocation(path))


def trainable(path):
    return open_trainable(ModelLocation(path))


def test_no_hostile_file_runs_reads_or_writes_and_each_is_refused(corpus):
    mark, secret, files = corpus
    assert len(files) >= 150
    before = everything_in(mark.parent)
    assert opened_quietly(opened, mark, secret, files) == {}
    assert everything_in(mark.parent) == before


def test_nor_does_one_that_is_opened_to_be_trained(corpus):
    mark, secret, files = corpus
    assert opened_quietly(trainable, mark, secret, dict(list(files.items())[::4])) == {}


def test_custom_objects_open_no_door_beside_their_own_name(corpus, swish):
    mark, secret, files = corpus
    named = {name: path for name, path in files.items() if "registered-name" in name or "-value-c" in name}
    assert len(named) >= 8
    trusting = functools.partial(ModelLocation, custom_objects=(swish,))
    assert opened_quietly(lambda path: open_model(trusting(path)), mark, secret, named) == {}


def test_harmless_saved_models_that_look_alike_open(tmp_path):
    for name, path in benign(tmp_path):
        assert open_model(ModelLocation(path)).source.parameters == 8, name


def test_keras_reads_no_checkpoint_that_lies_beside_a_file_without_a_suffix(tmp_path):
    architecture = json.dumps(of_version(model(dense()), "2.15.0"))
    path = h5(tmp_path / "model", architecture, "2.15.0")
    beside = tf_keras.Sequential([tf_keras.layers.Input((4,), name="x"), tf_keras.layers.Dense(2, name="d")])
    beside.save_weights(str(path), save_format="tf")
    with Watch(tmp_path / "model.index") as watch:
        opened = open_model(ModelLocation(path))
        assert not watch.opened()
    assert opened.predict({"x": np.ones((1, 4), np.float32)})["d"].tolist() == [[5.0, 5.0]]      # the file's ones


def test_a_small_file_that_declares_a_huge_layer_is_refused_within_the_budget(tmp_path):
    """2.4 billion weights in a file of 12 kB: ten gigabytes, and the file is gone through before they are missed."""
    architecture = json.dumps(of_version(model(layer("Dense", units=600_000_000)), "2.15.0"))
    with pytest.raises(ModelUnreadable, match=r"takes more than 4,\d{3},\d{3},\d{3} bytes of memory"):
        open_model(ModelLocation(h5(tmp_path / "wide.h5", architecture, "2.15.0")))
