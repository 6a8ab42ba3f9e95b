import inspect
from pathlib import Path

import keras
import pytest
import tf_keras

from mlopt.errors import UntrustedCode
from mlopt.frameworks import trust
from mlopt.frameworks.known_names import LAYERS
from mlopt.frameworks.trust import check, dangers

LOADS_A_MODEL = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
ABSTRACT = {"Layer", "Wrapper", "AbstractRNNCell", "InputSpec", "DenseFeatures", "Lambda"}


def functional(*layers: dict) -> dict:
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers)}}


def layer(kind: str, name: str, **config: object) -> dict:
    return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": []}


@pytest.mark.parametrize("module", [tf_keras.layers, keras.layers])
def test_every_layer_of_both_keras_is_known(module):
    classes = {c.__name__ for _, c in inspect.getmembers(module, inspect.isclass)}
    assert classes - LAYERS - LOADS_A_MODEL - ABSTRACT == set()


def test_a_plain_architecture_passes():
    config = functional(
        layer("Conv2D", "c", activation="relu", kernel_initializer={"class_name": "GlorotUniform", "config": {}}),
        layer("TFOpLambda", "tf.math.add", function="math.add"),
    )
    assert list(dangers(config)) == []


@pytest.mark.parametrize(
    ("suspect", "said"),
    [
        (layer("Lambda", "bad", function=["code", None, None]), "bad (Lambda)"),
        (layer("TimeDistributed", "t", layer=layer("Lambda", "inner")), "t/inner (Lambda)"),
        (layer("Dense", "d", activation={"class_name": "__lambda__", "config": {"value": []}}), "d (Lambda)"),
        (layer("TFOpLambda", "io", function="io.write_file"), "tf.io.write_file"),
        (layer("TFOpLambda", "py", function="py_function"), "tf.py_function"),
        (layer("TensorFlowOpLayer", "op", node_def='name: "x" op: "PyFunc"'), "PyFunc"),
        (layer("ClassMethod", "cm", cls_ref="io.gfile"), "ClassMethod"),
        (layer("StringLookup", "words", vocabulary="/etc/passwd"), "/etc/passwd"),
        (layer("TFSMLayer", "sm", filepath="x"), "loads a model of its own"),
    ],
)
def test_code_and_files_are_refused_unless_trusted(suspect, said):
    config = functional(layer("Dense", "fine"), suspect)
    with pytest.raises(UntrustedCode, match="--trust-code") as caught:
        check(Path("m.h5"), config)
    assert said in str(caught.value)
    assert "fine" not in str(caught.value)
    check(Path("m.h5"), config, trust_code=True)


@pytest.mark.parametrize(
    "suspect",
    [
        layer("Swish2", "act"),
        layer("mypackage>Swish2", "act"),
        {**layer("Swish2", "act"), "module": "my_layers", "registered_name": "mypackage>Swish2"},
        layer("Dense", "act", activation="Swish2"),
        layer("Dense", "act", activation={"module": "builtins", "class_name": "function", "config": "Swish2"}),
    ],
)
def test_a_custom_class_or_function_needs_its_name_given_and_trust_does_not_replace_it(suspect):
    config = functional(suspect)
    with pytest.raises(UntrustedCode, match="--custom-objects module:NAME") as caught:
        check(Path("m.h5"), config, trust_code=True)
    assert "act" in caught.value.layers
    check(Path("m.h5"), config, custom_names={"Swish2"})


def test_a_builtin_name_from_a_foreign_module_is_custom():
    config = functional({**layer("Dense", "d"), "module": "os.path"})
    with pytest.raises(UntrustedCode, match=r"os\.path"):
        check(Path("m.keras"), config)


def test_custom_losses_do_not_matter_since_nothing_is_compiled():
    config = {**functional(layer("Dense", "d")), "compile_config": {"loss": {"class_name": "MyLoss", "config": {}}}}
    check(Path("m.keras"), config)


def test_the_modules_of_keras_are_not_matched_by_prefix_alone():
    assert trust._is_keras("keras.src.layers") and not trust._is_keras("keras_evil.layers")
