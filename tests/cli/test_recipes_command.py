"""`mlopt recipes` prints what there is, as text or as JSON, and a bad file's line with exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import yaml


def mlopt(*words):
    return subprocess.run([Path(sys.executable).with_name("mlopt"), "recipes", *words], capture_output=True, text=True,
                          check=False)


def test_list_names_each_recipe_with_its_steps():
    assert "slim, finetune" in mlopt("list").stdout
    assert "qat-int8" in [recipe["name"] for recipe in json.loads(mlopt("list", "--json").stdout)["recipes"]]


def test_show_prints_the_file_and_json_every_key():
    text = mlopt("show", "photo-small").stdout
    assert yaml.safe_load(text)["steps"][0]["slim"]["parameters"] == 0.92
    assert json.loads(mlopt("show", "photo-small", "--json").stdout)["steps"][0]["slim"]["criterion"] == "taylor"


def test_explain_says_what_a_key_takes():
    text = mlopt("explain", "prune").stdout
    assert "sparsity: 0.5    (number; above 0 and below 1)" in text and "Share of zeros at the end." in text
    keys = {key["name"]: key for key in json.loads(mlopt("explain", "distill", "--json").stdout)["keys"]}
    assert keys["student.width"]["range"] == "0 to 1"
    assert "1. slim" in mlopt("explain", "photo-small").stdout


def test_a_bad_recipe_is_one_sentence_with_its_line_and_exit_code_two(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("schema: 1\nabout: x\nsteps:\n  - prune: {sparsty: 0.5}\n")
    done = mlopt("show", str(path))
    assert done.returncode == 2 and done.stdout == ""
    assert f"{path}:4: `prune` has no key `sparsty`. Did you mean `sparsity`?" in done.stderr


def test_an_unknown_name_offers_the_nearest():
    done = mlopt("explain", "photo-hal")
    assert done.returncode == 2 and "Did you mean 'photo-half'?" in done.stderr


def test_listing_loads_no_framework():
    code = ("import sys, mlopt.recipe.explain as e; e.list_recipes(); "
            "print({'tensorflow', 'torch', 'scipy'} & set(sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
