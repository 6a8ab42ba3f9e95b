"""Formats by name, and packages that are not there."""

import subprocess
import sys

import pytest

from mlopt import extras, isolation, plugins
from mlopt.convert.protocol import Converter
from mlopt.errors import MissingExtra


def test_our_own_formats_come_in_by_entry_point():
    assert plugins.converter_names() == ["coreml", "onnx", "tflite"]


def test_an_unknown_format_offers_the_nearest_known_one():
    words = r"'tflight'; there are coreml, onnx, tflite\. Did you mean 'tflite'\?"
    with pytest.raises(plugins.UnknownPlugin, match=words):
        plugins.load_converter("tflight")


@pytest.mark.parametrize("name", ["coreml", "onnx", "tflite"])
def test_a_door_has_every_promise_of_the_protocol(name):
    door = plugins.load_converter(name)
    for attribute in Converter.__annotations__:
        assert hasattr(door, attribute), attribute
    assert door.name == name and door.extra in extras.known()
    assert len({p.name for p in door.precisions}) == len(door.precisions)
    assert not door.precisions[0].needs_samples


def test_a_hidden_package_is_not_found_and_its_metadata_stays():
    code = (
        "import importlib.util, importlib.metadata\n"
        "from mlopt.isolation import hide\n"
        "hide({'scipy'}); hide({'pyarrow'})\n"
        "assert importlib.util.find_spec('scipy') is None and importlib.util.find_spec('pyarrow') is None\n"
        "assert importlib.util.find_spec('numpy') is not None\n"
        "print(importlib.metadata.version('scipy'))\n"
        "import scipy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "ModuleNotFoundError: No module named 'scipy'" in done.stderr
    assert done.stdout.strip() == extras.version("scipy")


def test_torch_is_hidden_from_the_test_process():
    assert extras.missing("torch") == ("torch",)
    assert "torch" in isolation.TORCH


def test_a_missing_extra_is_a_sentence_that_ends_in_its_install_command():
    with pytest.raises(MissingExtra) as caught:
        extras.require("torch", "opening x.pt")
    assert str(caught.value) == "opening x.pt needs torch, which is not installed: pip install 'mlopt-edge[torch]'"
