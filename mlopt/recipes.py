"""What recipes there are and what they do, as `mlopt recipes` tells it: `list`, `load`, `show`, `explain`."""

from mlopt.recipe.explain import Key, Shipped, explain_step
from mlopt.recipe.explain import explain_recipe as explain
from mlopt.recipe.explain import list_recipes as list
from mlopt.recipe.explain import plain_recipe as plain
from mlopt.recipe.explain import show_recipe as show
from mlopt.recipe.load import load

__all__ = ["Key", "Shipped", "explain", "explain_step", "list", "load", "plain", "show"]
