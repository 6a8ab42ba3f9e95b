"""Every shipped recipe can be read, is in the catalogue, and has its row of figures."""

import re
from pathlib import Path

import pytest

from mlopt import plugins
from mlopt.recipe import catalogue
from mlopt.recipe.explain import explain_recipe, explain_step, list_recipes
from mlopt.recipe.load import load

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes/mlopt_recipes").rglob("*.yaml"))


def test_the_catalogue_is_the_folder():
    assert list(catalogue.recipe_files().values()) == FILES and FILES


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_shipped_recipe_makes_sense_and_can_be_explained(path):
    recipe = load(path.stem)
    text = "\n".join(explain_recipe(recipe))
    assert all(step.name in text for step in recipe.steps)
    assert recipe.about.endswith(".") and len(recipe.about) < 140


def test_each_recipe_has_one_row_of_figures():
    rows = re.findall(r"^\| `([\w-]+)` \|(.*)\|$", (ROOT / "recipes/README.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == [recipe.name for recipe in list_recipes()]
    for _, cells in rows:
        assert all(re.search(r"\d", cell) or cell.strip() == "not measured yet" for cell in cells.split("|"))


@pytest.mark.parametrize("name", plugins.step_names())
def test_every_key_of_a_step_has_a_sentence_and_a_kind(name):
    about, keys = explain_step(name)
    assert about
    for key in keys:
        assert key.about.endswith(".") and key.kind, key
        assert key.range or key.kind == "text", key


def test_two_packages_with_the_same_name_are_told_apart(tmp_path, monkeypatch):
    for package in ("one", "two"):
        (tmp_path / package / "sub").mkdir(parents=True)
        (tmp_path / package / "same.yaml").write_text("x")
    (tmp_path / "two/sub/own.yaml").write_text("x")
    monkeypatch.setattr("mlopt.plugins.recipe_folders", lambda: {p: tmp_path / p for p in ("one", "two")})
    assert list(catalogue.recipe_files()) == ["one/same", "sub/own", "two/same"]
