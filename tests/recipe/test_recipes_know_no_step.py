"""What reads, checks and explains recipes learns of steps from their doors: a new step touches nothing here."""

import ast
from pathlib import Path

import pytest

from mlopt import plugins

RECIPE = Path(__file__).parents[2] / "mlopt/recipe"
OURS = ("cluster", "distill", "finetune", "prune", "quantize", "slim")


def named_steps(source: str) -> list[str]:
    """Names of our steps and their classes that the code holds, as identifiers or in text; docstrings aside."""
    tree = ast.parse(source)
    holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    told = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, holders) and ast.get_docstring(node) is not None}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            found |= set(node.value.replace("`", " ").replace(".", " ").split()) & set(OURS)
        elif isinstance(node, ast.Name | ast.alias | ast.Attribute):
            name = {"Name": "id", "alias": "name", "Attribute": "attr"}[type(node).__name__]
            found |= set(getattr(node, name).lower().split(".")) & set(OURS)
        elif isinstance(node, ast.ImportFrom):
            found |= {"mlopt.steps"} if f"{node.module}.".startswith("mlopt.steps.") else set()
    return sorted(found)


def test_these_are_all_of_our_steps():
    assert [name for name, door in plugins.steps().items() if door.__module__.startswith("mlopt.")] == list(OURS)


@pytest.mark.parametrize("path", sorted(RECIPE.rglob("*.py")), ids=lambda path: path.name)
def test_a_file_of_recipe_names_no_step(path):
    assert named_steps(path.read_text()) == []


@pytest.mark.parametrize(("source", "found"), [
    ("from mlopt.steps.prune import Prune", ["mlopt.steps", "prune"]),
    ("from mlopt.steps import protocol", ["mlopt.steps"]),
    ("import mlopt.steps.slim", ["slim"]),
    ("x = isinstance(step, Distill)", ["distill"]),
    ("if step.name == 'quantize': pass", ["quantize"]),
    ("raise Bad(f'`finetune` comes after {name}')", ["finetune"]),
    ('def f():\n    """As `prune` does."""', []),
])
def test_a_step_is_found_however_it_is_named(source, found):
    assert named_steps(source) == found
