"""An architecture is read by what is known; whatever else it holds is refused by its place."""

import inspect
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tf_keras
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.node_def_pb2 import NodeDef

from mlopt.errors import ModelUnreadable, UntrustedCode
from mlopt.frameworks.keras.architecture.reading import read

SYSTEM = {"class_name": "function", "module": "os", "config": "system", "registered_name": "system"}
FILE = Path("m.h5")


def functional(*layers: dict) -> dict:
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers)}}


def layer(kind: str, name: str, **config: object) -> dict:
    return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": []}


def refused(config, **options) -> UntrustedCode:
    with pytest.raises(UntrustedCode) as caught:
        read(FILE, config, **options)
    return caught.value


OWN = {"CategoryEncoding": {"num_tokens": 4}, "Discretization": {"num_bins": 3}, "RandomPosterization": {"factor": 4}}


def every_layer(library):
    """One of each layer that can be made without arguments, or with the usual ones."""
    arguments = {"units": 3, "filters": 3, "kernel_size": 3, "rate": 0.5, "input_dim": 4, "output_dim": 3, "n": 2,
                 "num_heads": 2, "key_dim": 3, "dims": (2, 1), "axes": 1, "target_shape": (4,), "stddev": 0.1,
                 "height": 4, "width": 4, "num_bins": 3, "num_tokens": 4, "scale": 2.0, "factor": 0.1,
                 "equation": "ab,bc->ac", "output_shape": 3, "size": 2, "height_factor": 0.1, "output_size": 2,
                 "head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1, "max_number": 3}  # fmt: skip
    for name, cls in inspect.getmembers(library.layers, inspect.isclass):
        needed = {
            key for key, found in inspect.signature(cls.__init__).parameters.items()
            if found.default is found.empty and key != "self" and found.kind is found.POSITIONAL_OR_KEYWORD
        }
        abstract = ("Layer", "Wrapper", "InputSpec", "AbstractRNNCell", "DenseFeatures")
        if needed <= arguments.keys() and name not in abstract:
            chosen = OWN.get(cls.__name__) or {key: arguments[key] for key in needed}
            yield pytest.param(cls, chosen, id=f"{library.__name__}-{name}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cls", "arguments"), [*every_layer(tf_keras), *every_layer(keras)])
def test_what_either_keras_writes_of_a_layer_is_read_unchanged(cls, arguments):
    library = tf_keras if cls.__module__.startswith("tf_keras") else keras
    if cls.__name__ in ("InputLayer",):
        arguments = {"input_shape": (4,)} if library is tf_keras else {"shape": (4,)}
    stored = json.loads(json.dumps(library.saving.serialize_keras_object(cls(**arguments)), default=str))
    stored.pop("build_config", None)
    assert read(FILE, functional(stored))["config"]["layers"] == [stored]


@pytest.mark.parametrize("library", [tf_keras, keras])
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0", "DenseNet121", "MobileNetV3Small"])
def test_the_published_networks_of_both_keras_are_read_unchanged(library, name):
    stored = json.loads(getattr(library.applications, name)(weights=None, input_shape=(64, 64, 3)).to_json())
    clean = read(FILE, stored)
    assert clean == {key: value for key, value in stored.items() if key != "compile_config"}


@pytest.mark.parametrize(
    ("suspect", "place", "found"),
    [
        (layer("Lambda", "bad", function=["code", None, None]), "bad", "Lambda"),
        (layer("TimeDistributed", "t", layer=layer("Lambda", "inner")), "t/inner", "Lambda"),
        (layer("Dense", "d", activation={"class_name": "__lambda__", "config": {}}), "d.activation", "lambda"),
        (layer("TFOpLambda", "io", function="io.write_file"), "io", "tf.io.write_file"),
        (layer("TFOpLambda", "py", function="py_function"), "py", "tf.py_function"),
        (layer("TFOpLambda", "nn", function="nn.fixed_unigram_candidate_sampler"), "nn", "sampler"),
        (layer("ClassMethod", "cm", cls_ref="io.gfile"), "cm", "ClassMethod"),
        (layer("StringLookup", "words", vocabulary="/etc/passwd"), "words.vocabulary", "/etc/passwd"),
        (layer("TFSMLayer", "sm", filepath="x"), "sm", "loads a model"),
        (layer("Dense", "d", weights=[[1.0]]), "d.weights", "empty in models"),
        (layer("Dense", "d", surprise="text"), "d.surprise", "the text 'text'"),
    ],
)  # fmt: skip
def test_code_and_files_are_refused_unless_trusted(suspect, place, found):
    config = functional(layer("Dense", "fine"), suspect)
    error = refused(config)
    assert list(error.layers) == [place] and found in error.layers[place] and "--trust-code" in str(error)
    assert read(FILE, config, trust_code=True)["config"]["layers"][1] == suspect


@pytest.mark.parametrize(
    "suspect",
    [
        layer("Swish2", "act"),
        layer("mypackage>Swish2", "act"),
        {**layer("Swish2", "act"), "module": "my_layers", "registered_name": "mypackage>Swish2"},
        {**layer("Swish2", "act"), "module": "subprocess", "registered_name": None},
        layer("Dense", "act", activation="Swish2"),
        layer("Dense", "act", activation={"module": "builtins", "class_name": "function", "config": "Swish2"}),
        layer("Dense", "act", kernel_initializer={"module": "mine", "class_name": "Swish2", "config": {"gain": 2}}),
    ],
)
def test_a_custom_class_or_function_needs_its_name_and_is_looked_up_by_that_alone(suspect):
    config = functional(suspect)
    error = refused(config, trust_code=True)
    assert "--custom-objects module:NAME" in str(error) and "act" in next(iter(error.layers))
    clean = json.dumps(read(FILE, config, custom_names={"Swish2"}))
    assert "Swish2" in clean and not any(word in clean for word in ("my_layers", "mypackage", "subprocess", "mine"))


def test_an_object_inside_the_settings_of_a_custom_class_is_judged_too():
    inner = {"deep": [{"er": SYSTEM}], "initializer": {"class_name": "Zeros", "config": {}}}
    error = refused(functional(layer("Mine", "own", **inner)), custom_names={"Mine"})
    assert error.layers == {"own.deep.er": "function os.system"}


@pytest.mark.parametrize("name", ["Dense", "Functional", "Zeros"])
def test_a_known_class_of_a_foreign_module_or_of_a_second_name_is_custom(name):
    for odd in ({"module": "os.path"}, {"module": "keras_evil.layers"}, {"module": "keras.utils"},
                {"registered_name": "Other"}):  # fmt: skip
        assert refused(functional({**layer(name, "d"), **odd}), trust_code=True).layers


@pytest.mark.parametrize("module", [["os"], {"a": 1}, 3, True])
def test_a_module_that_is_no_text_is_refused_and_not_looked_up(module):
    function = {"class_name": "function", "module": module, "config": "relu", "registered_name": "relu"}
    assert refused(functional(layer("Dense", "d", activation=function))).layers
    assert refused(functional({**layer("Dense", "d"), "module": module})).layers
    inner = {"class_name": "Zeros", "module": module, "config": {}}
    assert refused(functional(layer("Dense", "d", units=inner))).layers


def test_a_function_of_another_module_of_keras_is_no_activation():
    for module in ("keras.utils", "keras.config", "keras.saving", "keras.src.utils.file_utils"):
        function = {"class_name": "function", "module": module, "config": "relu", "registered_name": "relu"}
        assert refused(functional(layer("Dense", "d", activation=function))).layers


@pytest.mark.parametrize("registered", [None, "CustomScaleLayer", "Custom>CustomScaleLayer"])
def test_layers_of_the_networks_that_keras_publishes_are_known_in_their_modules_alone(registered):
    home = "tf_keras.src.applications.inception_resnet_v2"
    scale = {**layer("CustomScaleLayer", "s", scale=0.17), "module": home, "registered_name": registered}
    assert read(FILE, functional(scale))["config"]["layers"] == [scale]
    assert refused(functional({**scale, "module": "tf_keras.src.applications.convnext"})).layers
    assert refused(functional({**scale, "registered_name": "Other>CustomScaleLayer"})).layers


def test_losses_and_optimizers_are_left_out_at_every_depth():
    compiled = {"compile_config": {"loss": SYSTEM, "optimizer": {"class_name": "Adam", "config": {}}}}
    inner = {**functional(layer("Dense", "d")), **compiled}
    clean = read(FILE, {**functional(inner), **compiled})
    assert "compile_config" not in json.dumps(clean)


@pytest.mark.parametrize("key", ["optimizer_config", "build_config", "compile_config", "training_config", "value", "x"])
def test_a_payload_in_the_value_of_an_initializer_is_refused_whatever_its_key(key):
    constant = {"module": "keras.initializers", "class_name": "Constant", "config": {"value": {key: SYSTEM}}}
    error = refused(functional(layer("Dense", "d", bias_initializer=constant)), trust_code=False)
    assert list(error.layers) == ["d.bias_initializer.value"]


def operation(op: str, **attributes: AttrValue) -> dict:
    node = NodeDef(name="x", op=op, input=["a"])
    for name, value in attributes.items():
        node.attr[name].CopyFrom(value)
    return layer("TensorFlowOpLayer", "op", node_def=node.SerializeToString().decode("latin1"), constants={"1": 2.0})


def test_a_layer_of_an_operation_is_judged_by_the_operation_that_keras_would_run():
    lie = AttrValue(s=b'op: "Add"')
    assert "of the operation WriteFile" in refused(functional(operation("WriteFile", note=lie))).layers["op"]
    call = AttrValue()
    call.func.name = "evil"
    assert "names a function" in refused(functional(operation("Identity", f=call))).layers["op"]
    [clean] = read(FILE, functional(operation("Relu", T=AttrValue(type=1))))["config"]["layers"]
    assert clean["config"]["node_def"]["op"] == "Relu" and isinstance(clean["config"]["node_def"], dict)
    as_json = layer("TensorFlowOpLayer", "op", node_def={"name": "x", "op": "Relu", "input": ["a"]})
    assert read(FILE, functional(as_json))["config"]["layers"] == [as_json]


def test_nesting_without_end_is_refused_in_a_sentence():
    deep = layer("Dense", "d")
    for _ in range(150):
        deep = functional(deep)
    with pytest.raises(ModelUnreadable, match="nested more than 64 deep"):
        read(FILE, deep)
    value: object = 1
    for _ in range(150):
        value = [value]
    assert "64 deep" in refused(functional(layer("Reshape", "r", target_shape=value))).layers["r.target_shape"]


@pytest.mark.parametrize("config", [{}, {"class_name": "Functional"}, {"class_name": 3, "config": {}}])
def test_what_is_no_architecture_is_refused(config):
    with pytest.raises((ModelUnreadable, UntrustedCode)):
        read(FILE, config)


PAYLOADS = st.sampled_from([
    SYSTEM,
    {"class_name": "Popen", "module": "subprocess", "config": {"args": "id"}, "registered_name": "Popen"},
    {"class_name": "function", "module": "builtins", "config": "eval", "registered_name": "eval"},
    {"class_name": "function", "module": "keras.utils", "config": "get_file", "registered_name": "get_file"},
    {"class_name": "function", "module": "keras.config", "config": "enable_unsafe_deserialization"},
    {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}},
    {"class_name": "__typespec__", "spec_name": "system", "module": "os", "registered_name": None, "config": []},
    layer("Lambda", "l", function=["4wEAAAA=", None, None]),
    layer("TFSMLayer", "s", filepath="/tmp/other"),
    layer("TFOpLambda", "o", function="io.read_file"),
    layer("StringLookup", "v", vocabulary="/etc/hostname"),
])  # fmt: skip
WRAPPINGS = st.lists(
    st.sampled_from([
        lambda inner: [inner],
        lambda inner: {"key": inner},
        lambda inner: {"optimizer_config": inner},
        lambda inner: {"class_name": "__tuple__", "items": [inner]},
        lambda inner: {"class_name": "__numpy__", "config": {"value": inner, "dtype": "float32"}},
        lambda inner: {"class_name": "__slice__", "config": {"start": inner, "stop": None, "step": None}},
        lambda inner: {"class_name": "Constant", "config": {"value": inner}},
        lambda inner: layer("Dense", "w", kernel_initializer=inner),
        lambda inner: layer("Bidirectional", "w", layer=inner),
        lambda inner: {**layer("Dense", "w"), "inbound_nodes": [{"args": [inner], "kwargs": {}}]},
        lambda inner: {**layer("Dense", "w"), "build_config": {"input_shape": inner}},
        functional,
    ]),
    max_size=6,
)  # fmt: skip
PLACES = st.sampled_from([
    "units", "activation", "kernel_initializer", "bias_regularizer", "kernel_constraint", "dtype", "seed", "layer",
    "cells", "vocabulary", "mean", "name", "policy_map", "type_spec", "value", "unheard_of",
])  # fmt: skip


@given(PAYLOADS, WRAPPINGS, PLACES)
def test_no_nesting_of_a_payload_in_any_place_is_taken(payload, wrappings, place):
    inside = payload
    for wrap in wrappings:
        inside = wrap(inside)
    dense = layer("Dense", "d")
    dense["config"][place] = inside
    assert refused(functional(dense)).layers


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["class_name", "config", "module", "registered_name", "layers", "value"]), inner, max_size=4,
    ),
    max_leaves=12,
))  # fmt: skip
def test_any_json_is_read_or_refused_and_never_ends_otherwise(config):
    if isinstance(config, dict):
        try:
            read(FILE, config)
        except (ModelUnreadable, UntrustedCode):
            return


def test_a_tensor_is_of_numbers():
    for dtype, value in (("S1500000000", [1]), ("object", [1]), ("float32", ["text"])):
        mean = {"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}}
        assert refused(functional(layer("Rescaling", "r", scale=mean))).layers


@pytest.mark.parametrize("call", [["_CONSTANT_VALUE", -1, 5.0, {"repeats": 9}], [[["_CONSTANT_VALUE", -1, 5.0, {}]]],
                                  {"args": [5.0], "kwargs": {}}])
def test_a_function_that_would_run_at_once_on_constants_is_refused(call):
    on_a_layer = ["x", 0, 0, {"y": ["_CONSTANT_VALUE", -1, 2.0]}]
    one = {**layer("TFOpLambda", "f", function="repeat"), "inbound_nodes": [on_a_layer]}
    assert read(FILE, functional(one))["config"]["layers"] == [one]
    assert "runs at once" in refused(functional({**one, "inbound_nodes": [on_a_layer, call]})).layers["f"]


def test_a_name_cannot_steer_a_terminal():
    said = str(refused(functional(layer("Lambda", "a\x1b[31m\n\u202eb"))))
    assert said.isprintable() and "Lambda" in said


def test_tensors_slices_and_shapes_are_values():
    node = {"args": [{"class_name": "__keras_tensor__", "config": {
        "shape": [None, 4], "dtype": "float32", "keras_history": ["input", 0, 0]}}], "kwargs": {
        "key": {"class_name": "__slice__", "config": {"start": 1, "stop": None, "step": None}},
        "mean": {"class_name": "__numpy__", "config": {"value": np.ones(2).tolist(), "dtype": "float32"}},
        "rest": {"class_name": "__ellipsis__", "config": {}}}}   # fmt: skip
    one = {**layer("Dense", "d"), "inbound_nodes": [node]}
    assert read(FILE, functional(one))["config"]["layers"] == [one]
