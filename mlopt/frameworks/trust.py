"""Would opening this architecture run code that the file carries or names? Told from its JSON, before it is built.

Everything that Keras itself defines is listed by name in `known_names`; whatever is not listed counts as somebody's
code. Losses, metrics and optimizers are never rebuilt (models open without compiling): their parts are not looked at.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlopt.errors import UntrustedCode
from mlopt.frameworks.known_names import FUNCTIONS, GRAPH_OPS, LAYERS, OPERATIONS, TF_FUNCTIONS, VALUES

KERAS_MODULES = ("keras", "tf_keras", "keras_core", "tensorflow.keras", "tensorflow.python.keras")
TF_NAMESPACES = ("math.", "nn.", "linalg.", "signal.", "image.", "bitwise.", "__operators__.", "keras.activations.")
NEVER_REBUILT = frozenset({"compile_config", "build_config", "training_config", "optimizer_config"})
FUNCTION_KEYS = frozenset({"activation", "recurrent_activation"})


def check(
    path: Path,
    config: Mapping[str, Any],
    *,
    trust_code: bool = False,
    custom_names: Collection[str] = (),
) -> None:
    """Raise `UntrustedCode`, naming each layer, when rebuilding `config` would run or look up code.

    `custom_names` are the classes and functions that the caller supplies; they count as known.
    """
    stored: dict[str, str] = {}
    named: dict[str, str] = {}
    for layer, danger, supplied in dangers(config):
        if supplied is None:
            if not trust_code:
                stored[layer] = danger
        elif supplied not in custom_names:
            named[layer] = danger
    if stored or named:
        remedies = []
        if stored:
            remedies.append("If you trust whoever made the file, add --trust-code.")
        if named:
            remedies.append("Give your own classes and functions with --custom-objects module:NAME.")
        raise UntrustedCode(path, {**stored, **named}, " ".join(remedies))


def dangers(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """Each (layer name, what it is, name of the custom object) in an architecture; None: code or files, not a name."""
    pending: list[tuple[str, Any]] = [("", value) for key, value in config.items() if key not in NEVER_REBUILT]
    found = _danger(config)
    if found is not None:
        yield (str(config.get("class_name", "model")), *found)
    while pending:
        where, node = pending.pop()
        if isinstance(node, list):
            pending.extend((where, item) for item in node)
        elif isinstance(node, Mapping):
            where = _name(node, where)
            found = _danger(node)
            if found is not None:
                yield (where or str(node.get("class_name", "model")), *found)
            pending.extend((where, value) for key, value in node.items() if key not in NEVER_REBUILT)


def _name(node: Mapping[str, Any], outer: str) -> str:
    """"outer/inner" for a layer's own entry; the layer that it stands in for anything else."""
    config = node.get("config")
    own = node.get("name") or (config.get("name") if isinstance(config, Mapping) else None)
    is_layer = isinstance(node.get("class_name"), str) and isinstance(own, str)
    if not is_layer or node.get("class_name") in VALUES:
        return outer
    return f"{outer}/{own}" if outer else str(own)


def _danger(node: Mapping[str, Any]) -> tuple[str, str | None] | None:
    if "class_name" not in node:
        return _danger_of_settings(node)
    kind, module, registered = node["class_name"], node.get("module"), node.get("registered_name")
    config = node.get("config")
    if not isinstance(kind, str) or kind in ("Lambda", "__lambda__"):
        return ("Lambda" if isinstance(kind, str) else "a class without a name"), None
    if kind == "function" or registered == "function":
        name = config if isinstance(config, str) else ""
        return None if name in FUNCTIONS and module in (None, "builtins") else (f"function {module}.{name}", name)
    custom = kind if ">" in kind else registered if isinstance(registered, str) and ">" in registered else ""
    if custom:
        return f"custom {custom}", custom.rpartition(">")[2]
    if isinstance(module, str) and module != "builtins" and not _is_keras(module):
        return f"custom {module}.{kind}", kind
    return _danger_of_layer(kind, config if isinstance(config, Mapping) else {})


def _danger_of_layer(kind: str, config: Mapping[str, Any]) -> tuple[str, str | None] | None:
    function = str(config.get("function", ""))
    known = function.removeprefix("compat.v1.").startswith(TF_NAMESPACES) or function in TF_FUNCTIONS
    ops = re.findall(r"""["']?\bop["']?\s*:\s*["'](\w+)["']""", str(config.get("node_def", "")))
    vocabulary = config.get("vocabulary")
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        found = "" if known else f"{kind} tf.{function}"
    elif kind == "TensorFlowOpLayer":
        found = "" if ops and GRAPH_OPS.issuperset(ops) else f"{kind} {', '.join(ops) or 'of no name'}"
    elif kind in ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
        found = f"{kind}, which loads a model of its own"
    elif kind in ("InstanceProperty", "InstanceMethod", "ClassMethod"):
        found = f"{kind}, which may name any operation"
    elif isinstance(vocabulary, str):
        found = f"{kind}, which reads the file {vocabulary!r}"
    elif kind in LAYERS or kind in VALUES or kind in OPERATIONS or kind in FUNCTIONS:
        found = ""
    else:
        return f"custom {kind}", kind
    return (found, None) if found else None


def _danger_of_settings(node: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """A layer's settings may name a function by plain text."""
    for key in FUNCTION_KEYS & node.keys():
        name = node[key]
        if isinstance(name, str) and name not in FUNCTIONS:
            custom = name.rpartition(">")[2]
            return f"custom function {custom}", custom
    return None


def _is_keras(module: str) -> bool:
    return any(module == known or module.startswith(f"{known}.") for known in KERAS_MODULES)
