"""Which format a step times narrower networks in: the one that the recipe names, or the first one that is installed."""

from pathlib import Path

import pytest

from mlopt import extras
from mlopt.errors import BadRequest, MissingExtra
from mlopt.location import ModelLocation
from mlopt.pipeline.timed_format import timed_format, with_formats
from mlopt.plugins import UnknownPlugin
from mlopt.recipe.steps import Recipe
from mlopt.steps.finetune import Finetune
from mlopt.steps.slim import Slim


def recipe(*steps):
    return Recipe(schema=1, about="A test's.", steps=steps)


@pytest.fixture
def model(tmp_path):
    from mlopt.testing import tiny

    tiny.build("autoencoder").save(tmp_path / "model.h5")
    return ModelLocation(tmp_path / "model.h5")


def test_a_step_that_times_networks_is_told_the_format_and_the_others_stay_as_they_are(model):
    before = recipe(Slim(latency=0.75), Slim(macs=0.5), Finetune(epochs=1), Slim(latency=0.5, format="onnx"))
    after = with_formats(before, model)
    assert [getattr(step, "format", None) for step in after.steps] == ["tflite", "", None, "onnx"]
    assert after.steps[1:3] == before.steps[1:3]


def test_a_recipe_that_times_nothing_asks_for_no_model():
    before = recipe(Slim(macs=0.5), Finetune(epochs=1))
    assert with_formats(before, ModelLocation(Path("missing.h5"))) == before


def test_a_format_that_cannot_be_timed_is_refused_with_those_that_can():
    with pytest.raises(BadRequest, match=r"cannot time coreml files .*; of the formats it can time tflite and onnx"):
        timed_format("coreml", "keras")


def test_a_framework_that_nothing_exports_has_nothing_to_time():
    with pytest.raises(BadRequest, match="no format of abacus models can be timed"):
        timed_format("", "abacus")


def test_an_unknown_format_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownPlugin, match="Did you mean 'onnx'"):
        timed_format("onxx", "keras")


def test_the_first_installed_format_is_taken_where_none_is_named(monkeypatch):
    monkeypatch.setattr(extras, "missing", lambda extra: ("ai_edge_litert",) if extra == "tflite" else ())
    assert timed_format("", "keras").name == "onnx"
    with pytest.raises(MissingExtra, match=r"mlopt-edge\[tflite\]"):
        timed_format("tflite", "keras")
