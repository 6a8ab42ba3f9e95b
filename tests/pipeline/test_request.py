"""A request that would be carried out only in part is refused before any work, with what to do instead."""

from pathlib import Path

import pytest

from mlopt import compress, extras, load
from mlopt.data.preparation import Preparation
from mlopt.errors import BadRequest, MissingExtra
from mlopt.location import ModelLocation
from mlopt.pipeline.request import CompressRequest, wanted
from mlopt.pipeline.run import require_extras
from mlopt.recipe.steps import Export, Recipe


def asked(**settings):
    return CompressRequest(**{"model": ModelLocation(Path("model.h5")), "out": Path("out")} | settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"asked_seed": -1}, "--seed is a whole number from 0 on; got -1"),
        ({"max_drop": float("nan")}, "--max-drop is a fraction"),
        ({"preparation": Preparation(resize=True)}, "--resize would not be used: no samples were given"),
        ({"preparation": Preparation(normalise=(0.0, 1.0), slice_columns=("device",))},
         "--normalise and --slices would not be used"),
        ({"data": "a.npz", "test": "a.npz"}, "name the same samples"),
        ({"data": ""}, "--data is empty: leave it out"),
        ({"recipe": "qat-int8", "train": " "}, "--train is empty"),
        ({"recipe": "x" * 5000, "train": "a.npz"}, "--recipe is no name and no path: 'xxx.*5,000 characters"),
        ({"recipe": "qat-int8", "train": "a\0b"}, "--train is no name and no path"),
        ({"model": ModelLocation(Path("a\0b"))}, "the model is no name and no path"),
        ({"data": "caf\udce9.npz"}, "--data is no name and no path"),
    ],
)
def test_settings_that_make_no_sense_say_what_to_do(settings, words):
    with pytest.raises(BadRequest, match=words):
        asked(**settings)


def test_the_same_settings_are_taken_where_samples_are_given():
    said = Preparation(resize=True, normalise=(0.0, 1.0), slice_columns=("device",))
    assert asked(test="a.npz", preparation=said).preparation.resize


def test_a_format_asked_for_by_name_is_not_dropped_because_it_has_none_of_the_precisions():
    with pytest.raises(BadRequest, match="onnx makes no int8-dynamic; it makes float32, float16, int8"):
        wanted(asked(formats=("tflite", "onnx"), precisions=("int8-dynamic",)))


def test_without_formats_those_that_have_the_precision_make_it():
    chosen = wanted(asked(precisions=("int8-dynamic",)))
    assert [(one.converter.name, [p.name for p in one.precisions]) for one in chosen] == [
        ("tflite", ["float32", "int8-dynamic"])]


def test_without_formats_those_that_are_installed_make_files(monkeypatch):
    monkeypatch.setattr(extras, "missing", lambda extra: ("onnxruntime",) if extra == "onnx" else ())
    assert [one.converter.name for one in wanted(asked())] == ["tflite", "coreml"]
    assert [one.converter.name for one in wanted(asked(formats=("onnx",)))] == ["onnx"]


def test_where_no_format_is_installed_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(extras, "missing", lambda extra: ("tensorflow",))
    with pytest.raises(MissingExtra, match=r"pip install 'mlopt-edge\[tflite\]'$"):
        require_extras(wanted(asked()))


def test_data_for_a_format_that_never_calibrates_is_refused_without_naming_precisions_that_it_lacks():
    said = r"--data would not be used: float32, float16, .* need no calibration.* Leave --data out\.$"
    with pytest.raises(BadRequest, match=said):
        wanted(asked(formats=("coreml",), data="a.npz", test="b.npz"))


def test_tracking_that_is_not_installed_is_told_before_any_work(monkeypatch):
    monkeypatch.setattr(extras, "missing", lambda extra: ("mlflow",) if extra == "tracking" else ())
    with pytest.raises(MissingExtra, match=r"^--track needs mlflow, which is not installed: .*\[tracking\]'$"):
        compress("absent.h5", out="absent", recipe="qat-int8", train="a.npz", track="mlflow:http://127.0.0.1:9")


def test_one_file_by_two_paths_is_still_the_same_samples(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"x")
    (tmp_path / "link.npz").symlink_to(tmp_path / "a.npz")
    with pytest.raises(BadRequest, match="the same samples"):
        CompressRequest(
            model=ModelLocation(tmp_path / "m.h5"), out=tmp_path / "o", data=str(tmp_path / "a.npz"),
            test=str(tmp_path / "link.npz"),
        )


def test_an_interval_the_wrong_way_round_is_refused_by_the_api_too(tmp_path):
    with pytest.raises(BadRequest, match="--normalise"):
        compress(tmp_path / "m.h5", out=tmp_path / "o", data="x.npz", normalise=(1.0, 0.0))


@pytest.mark.parametrize("name", ["data", "test", "train", "recipe"])
def test_arrays_and_objects_are_refused_by_their_name(name):
    with pytest.raises(BadRequest, match=f"{name} is text or a path, as on the command line; got list"):
        compress("model.h5", **{name: [1, 2]})


@pytest.mark.parametrize("call", [load, compress])
@pytest.mark.parametrize("model", ["", " "])
def test_an_empty_model_path_is_not_taken_for_the_current_folder(call, model):
    with pytest.raises(BadRequest, match="the model's path is empty: name a file or a folder"):
        call(model)


@pytest.mark.parametrize(("asked_for", "seed"), [(None, 7), (0, 0), (3, 3)])
def test_a_seed_that_is_asked_for_stands_in_the_place_of_the_recipes_and_so_does_0(asked_for, seed):
    recipe = Recipe(schema=1, about="x", steps=(), seed=7)
    assert asked(asked_seed=asked_for).following(recipe).seed == seed


def test_a_recipes_files_are_written_where_no_others_are_asked_for():
    files = (Export(to="onnx", precision="int8"),)
    recipe = Recipe(schema=1, about="x", steps=(), export=files)
    assert asked().following(recipe).exports == files
    assert asked(formats=("tflite",)).following(recipe).exports == ()
