"""Examples in docstrings are true."""

import doctest
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONVERTERS = ("mlopt_tflite", "mlopt_onnx", "mlopt_coreml")
FOLDERS = {"mlopt": ROOT / "mlopt"} | {name: ROOT / "converters" / name for name in CONVERTERS}


def module_names():
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            if ">>> " in file.read_text():
                parts = file.relative_to(folder).with_suffix("").parts
                yield ".".join((package, *(p for p in parts if p != "__init__")))


@pytest.mark.parametrize("name", list(module_names()))
def test_the_examples_of(name):
    module = sys.modules.get(name) or importlib.import_module(name)
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0
