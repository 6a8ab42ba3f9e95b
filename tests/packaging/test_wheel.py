"""What a user gets by `pip install`: the packages and nothing of the workshop."""

import ast
import importlib.metadata
import zipfile
from pathlib import Path

import pytest

import mlopt

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(wheel):
    return zipfile.ZipFile(wheel).namelist()


def test_every_module_of_every_package_is_in_the_wheel(names):
    converters = [(ROOT / "converters", f"mlopt_{f}") for f in ("tflite", "onnx", "coreml")]
    for folder, package in [(ROOT, "mlopt"), *converters]:
        for file in (folder / package).rglob("*.py"):
            assert file.relative_to(folder).as_posix() in names


def test_the_templates_of_the_pages_are_in_the_wheel(names):
    templates = [file.relative_to(ROOT).as_posix() for file in (ROOT / "mlopt/render/html/templates").iterdir()]
    assert len(templates) > 10 and set(templates) <= set(names)


def test_the_wheel_holds_only_packages_and_metadata(names):
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {
        "mlopt", "mlopt_tflite", "mlopt_onnx", "mlopt_coreml", "mlopt_recipes",
    }


def test_nothing_for_tests_that_is_in_the_wheel_listens_on_a_port_or_starts_a_program(wheel):
    """Whoever reaches such a port, e.g. the one of a device that tests made up, runs commands as the user."""
    archive = zipfile.ZipFile(wheel)
    for name in archive.namelist():
        if name.startswith("mlopt/testing/"):
            found = [node for node in ast.walk(ast.parse(archive.read(name))) if isinstance(node, ast.Import)]
            imported = {alias.name for node in found for alias in node.names}
            assert not imported & {"asyncio", "socket", "socketserver", "http.server", "subprocess"}, name


def test_every_shipped_recipe_is_in_the_wheel(names):
    folder = ROOT / "recipes"
    recipes = {file.relative_to(folder).as_posix() for file in (folder / "mlopt_recipes").glob("*.yaml")}
    assert recipes and recipes <= set(names)


def test_the_wheel_is_typed_and_licensed(names):
    assert "mlopt/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_names_its_converters_and_its_command(wheel):
    """And is mlopt-edge for pip: the name `mlopt` is another project's."""
    folder = zipfile.Path(wheel, f"mlopt_edge-{mlopt.__version__}.dist-info/")
    found = importlib.metadata.PathDistribution(folder)
    points = {(point.group, point.name) for point in found.entry_points}
    assert points == {
        ("console_scripts", "mlopt"), ("mlopt.converters", "tflite"), ("mlopt.converters", "onnx"),
        ("mlopt.converters", "coreml"), ("mlopt.frameworks", "keras"), ("mlopt.recipes", "mlopt"),
    }
    assert (found.name, found.version) == ("mlopt-edge", mlopt.__version__)
