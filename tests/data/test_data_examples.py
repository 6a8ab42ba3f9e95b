"""The examples in the docstrings of mlopt.data are true."""

import doctest
import importlib
import pkgutil

import pytest

import mlopt.data

MODULES = [module.name for module in pkgutil.walk_packages(mlopt.data.__path__, "mlopt.data.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
