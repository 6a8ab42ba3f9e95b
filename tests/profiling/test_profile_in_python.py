"""`mlopt.profile`: the notebook's way in."""

import json
import subprocess
import sys

import pytest

import mlopt
from mlopt.errors import BadRequest
from mlopt.profiling.target import TargetUnusable


def test_a_profile_renders_as_page_text_and_plain_values(tiny_onnx):
    steps = []
    made = mlopt.profile(tiny_onnx, runs=30, on_step=steps.append)
    assert isinstance(made, mlopt.Profiled) and len(made.files) == 1
    assert len(made.files[0].samples_us) == 30 and [s.number for s in steps] == [1, 2]
    assert made.page().startswith("<!doctype html>") and "tiny.onnx, profiled" in made.page()
    assert "CPUExecutionProvider" in made.table()
    json.dumps(made.plain(), allow_nan=False)
    frame = made._repr_html_()
    assert frame.startswith("<iframe srcdoc=") and "<script" not in frame and frame.endswith("</iframe>")


def test_two_files_are_compared_where_asked(tiny_onnx):
    made = mlopt.profile([tiny_onnx, str(tiny_onnx)], runs=10, compare=True)
    assert "What changed" in made.page() and "Difference" in made.table()


@pytest.mark.parametrize("files", [[], ["a.onnx"], ["a.onnx"] * 3])
def test_a_senseless_call_is_a_value_error(files):
    with pytest.raises(ValueError, match=r"at least one file|takes two files"):
        mlopt.profile(files, compare=True)


def test_a_missing_file_is_an_error_of_ours(tmp_path):
    with pytest.raises(TargetUnusable, match="there is no file"):
        mlopt.profile(tmp_path / "none.onnx")


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(BadRequest, match="path is empty"):
        mlopt.profile("")


def test_the_call_is_there_whatever_was_imported_before():
    code = "import mlopt.profiling.session, mlopt; print(callable(mlopt.profile), 'profile' in dir(mlopt))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
