"""What a user gets by `pip install`: the packages and nothing of the workshop."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    dest = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dest)], cwd=ROOT, check=True,
        capture_output=True,
    )
    (wheel,) = dest.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_every_module_of_every_package_is_in_the_wheel(names):
    converters = [(ROOT / "converters", f"mlopt_{f}") for f in ("tflite", "onnx", "coreml")]
    for folder, package in [(ROOT, "mlopt"), *converters]:
        for file in (folder / package).rglob("*.py"):
            assert file.relative_to(folder).as_posix() in names


def test_the_wheel_holds_only_packages_and_metadata(names):
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {
        "mlopt", "mlopt_tflite", "mlopt_onnx", "mlopt_coreml", "mlopt_recipes",
    }


def test_every_shipped_recipe_is_in_the_wheel(names):
    folder = ROOT / "recipes"
    recipes = {file.relative_to(folder).as_posix() for file in (folder / "mlopt_recipes").glob("*.yaml")}
    assert recipes and recipes <= set(names)


def test_the_wheel_is_typed_and_licensed(names):
    assert "mlopt/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_names_its_converters_and_its_command(tmp_path, names):
    import importlib.metadata

    points = {(p.group, p.name) for p in importlib.metadata.distribution("mlopt").entry_points}
    assert points >= {
        ("console_scripts", "mlopt"), ("mlopt.converters", "tflite"), ("mlopt.converters", "onnx"),
        ("mlopt.converters", "coreml"), ("mlopt.recipes", "mlopt"),
    }
