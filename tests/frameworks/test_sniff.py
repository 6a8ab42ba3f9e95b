import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from permissions import heeding_permissions

from mlopt.errors import ModelUnreadable
from mlopt.frameworks.keras.sniff import Container, sniff

ARCHITECTURE = {"class_name": "Sequential", "config": {"name": "m", "layers": []}}


def h5_model(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(ARCHITECTURE)
        file.attrs["keras_version"] = "2.4.0"
        file["model_weights/dense/kernel:0"] = np.zeros((64, 64), np.float32)
    return path


def weights() -> bytes:
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((64, 64), np.float32)
    return held.getvalue()


def zip_model(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(ARCHITECTURE))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.1.0"}))
        archive.writestr("model.weights.h5", weights())
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_limit_at_infinity_is_read_and_a_key_that_stands_twice_is_not(tmp_path):
    text = '{"class_name": "Sequential", "config": {"name": "m", "layers": [], "max_value": Infinity, "x": NaN}}'
    path = h5_model(tmp_path / "m.h5")
    for change, found in (("", None), (', "config": {}', "stands twice")):
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = text[:-1] + change + "}"
        if found is None:
            assert sniff(path).config["config"]["max_value"] == float("inf")
        else:
            assert found in refusal(path)


def test_a_dataset_that_has_two_names_counts_once(tmp_path):
    path = h5_model(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        for name in "abcdefghij":
            file[name] = file["model_weights/dense/kernel:0"]
    assert sniff(path).weight_bytes == 64 * 64 * 4


def refusal(path: Path) -> str:
    with pytest.raises(ModelUnreadable) as caught:
        sniff(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_an_h5_model_is_told_by_content_whatever_it_is_called(tmp_path):
    found = sniff(h5_model(tmp_path / "model.bin"))
    assert (found.container, found.config, found.keras_version) == (Container.KERAS_H5, ARCHITECTURE, "2.4.0")


def test_a_keras_zip_is_told_by_content_whatever_it_is_called(tmp_path):
    found = sniff(zip_model(tmp_path / "model.h5"))
    assert (found.container, found.keras_version) == (Container.KERAS_ZIP, "3.1.0")


def test_a_folder_with_a_saved_model_is_recognised(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    assert sniff(tmp_path).container is Container.SAVED_MODEL


def test_weights_alone_are_refused_with_the_way_out(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
    assert "weights but no architecture" in refusal(tmp_path / "w.h5")


@pytest.mark.parametrize("kept", [3, 40, 600, 9000])
def test_an_h5_file_cut_anywhere_is_called_cut_short(tmp_path, kept):
    whole = h5_model(tmp_path / "whole.h5").read_bytes()
    assert len(whole) > 9000
    (tmp_path / "cut.h5").write_bytes(whole[:kept])
    assert "cut short" in refusal(tmp_path / "cut.h5")


@pytest.mark.parametrize("kept", [3, 50, 200])
def test_a_keras_file_cut_anywhere_is_called_cut_short(tmp_path, kept):
    whole = zip_model(tmp_path / "whole.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[:kept])
    assert "cut short" in refusal(tmp_path / "cut.keras")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(20), "TFLite"),
        (b"\x10\x00\x00\x00ET12" + bytes(20), "ExecuTorch"),
        (b"\x08\x07\x12\x07pytorch" + bytes(20), "ONNX"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b'{"class_name": "Sequential"}', "architecture without weights"),
        (b"<!DOCTYPE html>", "web page"),
        (b"hello world", "not a model file that mlopt knows"),
    ],
)
def test_what_is_no_trained_keras_model_is_named(tmp_path, content, said):
    (tmp_path / "model.h5").write_bytes(content)
    assert said in refusal(tmp_path / "model.h5")


def test_a_pytorch_checkpoint_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert "PyTorch checkpoint" in refusal(tmp_path / "model.pt")


def test_folders_that_are_no_saved_model_are_named(tmp_path):
    package = tmp_path / "model.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Manifest.json").write_text("{}")
    assert "Core ML" in refusal(package)
    (tmp_path / "empty").mkdir()
    assert "empty" in refusal(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("")
    assert "notes.txt" in refusal(tmp_path / "other")


def test_a_missing_path_is_called_missing(tmp_path):
    assert "no such file" in refusal(tmp_path / "absent.h5")


def test_a_file_without_read_permission_is_called_that(tmp_path):
    h5_model(tmp_path / "m.h5").chmod(0)
    code = "import sys, pathlib; from mlopt.frameworks.keras.sniff import sniff; sniff(pathlib.Path(sys.argv[1]))"
    command = heeding_permissions([sys.executable, "-c", code, tmp_path / "m.h5"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ModelUnreadable" in done.stderr and "permission denied" in done.stderr


def test_a_dataset_that_reads_another_file_is_refused(tmp_path):
    path = h5_model(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("model_weights/stolen", (4,), "u1", external=[("/etc/hostname", 0, 4)])
    assert "reads another file" in refusal(path)


def test_a_link_out_of_the_file_is_refused(tmp_path):
    path = h5_model(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/elsewhere"] = h5py.ExternalLink("other.h5", "/x")
    assert "points elsewhere" in refusal(path)


def test_a_dataset_that_declares_far_more_than_the_file_holds_is_refused(tmp_path):
    path = h5_model(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("model_weights/bomb", (1 << 33,), "f4", chunks=(1 << 20,))
    assert "declares" in refusal(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (80 << 20))
        archive.writestr("model.weights.h5", b"")
    (tmp_path / "bomb.keras").write_bytes(buffer.getvalue())
    assert "config.json has 83886080 bytes" in refusal(tmp_path / "bomb.keras")


def test_a_member_outside_of_the_archive_is_refused(tmp_path):
    path = zip_model(tmp_path / "m.keras", **{"../../evil": b"x"})
    assert "outside of the archive" in refusal(path)


def test_architecture_that_is_nested_without_end_is_refused(tmp_path):
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file.attrs["model_config"] = "[" * 60_000
    assert "no valid JSON" in refusal(tmp_path / "deep.h5")
