"""The allow lists are held to what both Keras and TensorFlow say of themselves."""

import importlib
import inspect

import keras
import pytest
import tf_keras
from keras.src.ops.operation import Operation
from tensorflow.python.framework import op_def_registry
from tf_keras.src.layers.core.tf_op_layer import get_symbol_from_name

from mlopt.frameworks.keras.architecture import names
from mlopt.frameworks.keras.architecture.settings import SETTINGS, Kind

REST_BY_NAME, REST_BY_PLACE = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
ABSTRACT = {"Layer", "Wrapper", "AbstractRNNCell", "InputSpec"}
BOTH = pytest.mark.parametrize("library", [tf_keras, keras])
# settings of layers that carry code, and of classes that no file holds
NOT_READ = {
    "arguments", "call_endpoint", "call_fn", "call_training_endpoint", "feature_columns", "filepath", "function",
    "init_fn", "mask", "method", "module", "native_serialization_platforms", "params", "state", "variables",   # code
    "allow_last_axis_squeeze", "max_ndim", "min_ndim", "ndim",                                               # InputSpec
    "conv_op", "pool_dimensions", "pool_function",                                                     # of base classes
}


def classes_of(module):
    """By the name that files store, which is not always the one that a module has it under."""
    return {cls.__name__: cls for _, cls in inspect.getmembers(module, inspect.isclass)}


@BOTH
def test_every_layer_of_both_keras_is_known_as_harmless_or_as_code(library):
    assert classes_of(library.layers).keys() - names.LAYERS - names.CODE_LAYERS - ABSTRACT == set()


@BOTH
@pytest.mark.parametrize(
    ("place", "known"),
    [("initializers", names.INITIALIZERS), ("regularizers", names.REGULARIZERS), ("constraints", names.CONSTRAINTS)],
)
def test_every_initializer_regularizer_and_constraint_is_known(library, place, known):
    abstract = {"Initializer", "Regularizer", "Constraint"}
    assert classes_of(getattr(library, place)).keys() - known - abstract == set()


@BOTH
def test_every_activation_is_known(library):
    found = {name for name, item in inspect.getmembers(library.activations, inspect.isfunction)}
    assert found - names.ACTIVATIONS - {"deserialize", "serialize", "get"} == set()


@BOTH
def test_every_argument_of_every_class_has_a_type(library):
    base = (library.layers.Layer, library.Model, object)
    for place in ("layers", "initializers", "regularizers", "constraints"):
        for cls in classes_of(getattr(library, place)).values():
            for one in cls.__mro__:
                if one in base or "__init__" not in vars(one):
                    continue
                found = inspect.signature(one.__init__).parameters
                arguments = {name for name in found if found[name].kind not in (REST_BY_NAME, REST_BY_PLACE)}
                assert arguments - SETTINGS.keys() - NOT_READ - {"self"} == set(), cls


def test_what_names_files_takes_none():
    """Only a list that the model itself holds, and nothing at all where code would stand."""
    assert SETTINGS["vocabulary"] is Kind.TERMS
    assert {SETTINGS[name] for name in ("weights", "input_tensor", "type_spec")} == {Kind.NOTHING}
    assert not {"filepath", "function", "node_def"} & SETTINGS.keys()


@pytest.mark.parametrize("place", list(names.OPERATIONS))
def test_operations_are_those_of_keras_that_take_no_function(place):
    module = importlib.import_module(f"keras.{place}")
    there = {
        name for name, cls in classes_of(module).items()
        if issubclass(cls, Operation) and cls.__module__ == module.__name__
    }
    takes_functions = {
        "AssociativeScan", "Cond", "ForiLoop", "JVP", "Map", "Scan", "Switch", "VectorizedMap", "WhileLoop",
    }
    assert names.OPERATIONS[place] == there - takes_functions


def test_functions_are_tensorflows_own_and_none_takes_a_file():
    for name in names.FUNCTIONS:
        function = get_symbol_from_name(name)
        if function is None:           # in an older TensorFlow, or by an alias
            continue
        arguments = inspect.signature(inspect.unwrap(function)).parameters
        files = {argument for argument in arguments if "file" in argument or argument.endswith("path")}
        assert not files, (name, files)


def test_operations_of_graphs_are_registered_and_have_no_effect():
    for name in names.GRAPH_OPS:
        found = op_def_registry.get(name)
        assert found is not None and not found.is_stateful, name


def test_no_list_holds_what_reaches_out_of_a_model():
    reaching = {"io.read_file", "io.write_file", "py_function", "numpy_function", "print", "load_op_library",
                "compat.v1.py_func", "nn.fixed_unigram_candidate_sampler", "saved_model.load"}   # fmt: skip
    assert all(get_symbol_from_name(name) is not None for name in reaching)
    assert not reaching & names.FUNCTIONS
    assert not {"ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "ImmutableConst"} & names.GRAPH_OPS
