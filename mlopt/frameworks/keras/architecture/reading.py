"""Read an architecture before anything is built from it: every part is known and of its type, or it is named.

What comes out is written anew from what was understood. So the Keras that builds it sees no part that was not read:
nothing to look up in a module, nothing to compile, no second name.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from mlopt.errors import ModelUnreadable, UntrustedCode
from mlopt.frameworks.keras.architecture import names, operations, values
from mlopt.frameworks.keras.architecture.settings import SETTINGS, Kind
from mlopt.frameworks.keras.architecture.values import MAX_DEPTH, Unfit, shown
from mlopt.words import clean as printable

TRUST = "If you trust whoever made the file, add --trust-code."
CUSTOM = "Give your own classes and functions with --custom-objects module:NAME."
# what stands around the settings of an object; `compile_config` is left out of what is written
_PLAIN_AROUND = frozenset({
    "module", "registered_name", "name", "shared_object_id", "__passive_serialization__", "keras_version", "backend",
})  # fmt: skip
_AROUND = _PLAIN_AROUND | {"class_name", "config", "inbound_nodes", "build_config", "compile_config"}


def read(
    path: Path, config: Mapping[str, Any], *, trust_code: bool = False, custom_names: Collection[str] = ()
) -> dict[str, Any]:
    """The architecture as it may be built, from `config` as a file holds it.

    `custom_names` are the classes and functions that the caller supplies, by their own names. Raises `UntrustedCode`,
    naming each place that holds code, a file or what mlopt does not know; with `trust_code`, code and files are left
    as they are. Raises `ModelUnreadable` where no architecture stands.
    """
    reader = _Reader(trust_code, frozenset(custom_names))
    try:
        clean = reader.layer(config, "", 0)
    except _TooDeep as err:
        raise ModelUnreadable(path, f"its architecture is nested more than {MAX_DEPTH} deep") from err
    if reader.stored or reader.named:
        remedies = [TRUST] * bool(reader.stored) + [CUSTOM] * bool(reader.named)
        raise UntrustedCode(path, {**reader.stored, **reader.named}, " ".join(remedies))
    if not isinstance(clean, dict) or not isinstance(clean.get("config"), dict | list):
        raise ModelUnreadable(path, "its architecture is no model: it has no class and settings")
    return clean


class _TooDeep(Exception):
    """Nested so deep that no model is like it."""


class _Reader:
    """Reads objects by the place they stand in. `stored` and `named` collect what is refused: place -> what it is."""

    def __init__(self, trust_code: bool, custom_names: frozenset[str]) -> None:
        self.trust_code, self.custom_names = trust_code, custom_names
        self.stored: dict[str, str] = {}       # code and files, which trust opens
        self.named: dict[str, str] = {}        # names that the user must supply

    # ---- kinds of objects ----------------------------------------------------------------------------------------

    def layer(self, node: Any, place: str, depth: int) -> Any:
        """A layer, a model or an operation of keras.ops, with all that is in it."""
        if not isinstance(node, Mapping) or not isinstance(node.get("class_name"), str):
            return self._refuse(place, f"{shown(node)} where a layer belongs", node)
        kind, module = node["class_name"], node.get("module")
        place = _named(node, place, whole=depth == 0)
        if kind in names.CODE_LAYERS or kind == "__lambda__":
            return self._code(place, _why_code(kind), node)
        if self._is_known(node, names.MODELS, names.MODEL_MODULES):
            return self._written(node, place, depth, self._settings)
        if self._is_known(node, names.LAYERS, names.LAYER_MODULES):
            return self._written(node, place, depth, self._settings)
        if self._is_known(node, names.GRAPH_LAYERS, names.GRAPH_LAYER_MODULES | names.LAYER_MODULES):
            calls = node.get("inbound_nodes")
            if isinstance(calls, list) and not all(values.names_a_layer(call) for call in calls):
                return self._refuse(place, f"{kind} that is called on no layer, so that it runs at once", None)
            return self._written(node, place, depth, self._graph_settings(kind))
        own_names = (None, kind, f"Custom>{kind}")            # the last as Keras registers what it does not export
        if node.get("registered_name") in own_names and kind in _held_by(names.APPLICATION_LAYERS, module):
            return self._written(node, place, depth, self._settings)
        if node.get("registered_name") in (None, kind) and kind in _held_by(names.OPERATIONS, module):
            return self._written(node, place, depth, self._operation_settings)
        return self._custom(node, place, depth)

    def _activation(self, node: Any, place: str, depth: int) -> Any:
        if isinstance(node, Mapping) and node.get("class_name") not in ("function", "__lambda__"):
            return self.layer(node, place, depth)
        return self._function(node, place, depth)

    def _function(self, node: Any, place: str, depth: int) -> Any:
        """An activation by name, as text or as an object of class "function"."""
        if node is None:
            return None
        if isinstance(node, str):
            name = node.rpartition(">")[2]
            if node in names.ACTIVATIONS:
                return node
            return name if self._supplied(place, f"function {node}", name) else node
        is_function = isinstance(node, Mapping) and node.get("class_name") == "function"
        if not is_function or not isinstance(node.get("config"), str):
            return self._refuse(place, f"{shown(node)} where an activation belongs", node)
        name, registered = node["config"], node.get("registered_name")
        at_home = _lives_in(node, names.ACTIVATION_MODULES)
        if name in names.ACTIVATIONS and at_home and registered in (None, name):
            return {key: node[key] for key in ("module", "class_name", "config", "registered_name") if key in node}
        own = name.rpartition(">")[2]
        if self._supplied(place, shown(node), own):
            return {"module": None, "class_name": "function", "config": own, "registered_name": own}
        return node

    def _given(self, kinds: frozenset[str], modules: frozenset[str]) -> "_Read":
        """A reader of initializers, or regularizers, or constraints: by name, or as an object with settings."""

        def one(node: Any, place: str, depth: int) -> Any:
            if node is None or (isinstance(node, str) and node in kinds):
                return node
            if isinstance(node, str):
                name = node.rpartition(">")[2]
                return name if self._supplied(place, f"custom {node}", name) else node
            if not isinstance(node, Mapping) or not isinstance(node.get("class_name"), str):
                return self._refuse(place, f"{shown(node)} where {place.rpartition('.')[2]} belongs", node)
            if node["class_name"] == "function":
                return self._function(node, place, depth)
            if self._is_known(node, kinds, modules):
                return self._written(node, place, depth, self._settings)
            return self._custom(node, place, depth)

        return one

    def _dtype(self, node: Any, place: str, depth: int) -> Any:
        if node is None or isinstance(node, str):
            return node
        if isinstance(node, Mapping) and self._is_known(node, names.POLICIES, names.POLICY_MODULES):
            return self._written(node, place, depth, self._settings)
        return self._refuse(place, f"{shown(node)} where a dtype belongs", node)

    def _dtypes(self, node: Any, place: str, depth: int) -> Any:
        if node is None:
            return None
        if not isinstance(node, Mapping):
            return self._refuse(place, f"{shown(node)} where dtypes by name belong", node)
        return {key: self._dtype(item, f"{place}.{key}", depth + 1) for key, item in node.items()}

    def _seed(self, node: Any, place: str, depth: int) -> Any:
        if isinstance(node, Mapping) and self._is_known(node, frozenset({"SeedGenerator"}), names.SEED_MODULES):
            return self._written(node, place, depth, self._settings)
        return self._value(values.numbers)(node, place, depth)

    # ---- what stands in them -------------------------------------------------------------------------------------

    def _written(self, node: Mapping[str, Any], place: str, depth: int, settings: "_Read") -> dict[str, Any]:
        """A known object anew: its class, its settings as `settings` reads them, and what stands around them."""
        if depth > MAX_DEPTH:
            raise _TooDeep
        clean: dict[str, Any] = {"class_name": node["class_name"]}
        for key in _PLAIN_AROUND & node.keys():
            clean[key] = self._value(values.plain)(node[key], f"{place}.{key}", depth)
        if "config" in node:
            clean["config"] = settings(node["config"], place, depth + 1)
        for key in ("inbound_nodes", "build_config"):
            if key in node:
                clean[key] = self._value(values.value)(node[key], f"{place}.{key}", depth)
        for key in node.keys() - _AROUND:
            self._refuse(f"{place}.{key}", f"{shown(node[key])} in a place that mlopt does not know", node[key])
        return clean

    def _settings(self, config: Any, place: str, depth: int) -> Any:
        """The settings of an object of Keras; those of a Sequential of early Keras are its layers."""
        if isinstance(config, list):
            return self._layers(config, place, depth)
        if not isinstance(config, Mapping):
            return None if config is None else self._refuse(place, f"{shown(config)} where settings belong", config)
        return {key: self._setting(key, item, place, depth) for key, item in config.items()}

    def _setting(self, key: str, node: Any, place: str, depth: int) -> Any:
        kind = SETTINGS.get(key)
        inside = place if kind in (Kind.LAYER, Kind.LAYERS) else f"{place}.{key}"
        return self._by_kind(kind)(node, inside, depth)

    def _by_kind(self, kind: Kind | None) -> "_Read":
        readers: dict[Kind | None, _Read] = {
            Kind.NUMBERS: self._value(values.numbers),
            Kind.WORDS: self._value(values.word),
            Kind.PLAIN: self._value(values.plain),
            Kind.VALUE: self._value(values.value),
            Kind.TERMS: self._terms,
            Kind.NOTHING: self._nothing,
            Kind.LAYER: lambda node, place, depth: None if node is None else self.layer(node, place, depth),
            Kind.LAYERS: self._layers,
            Kind.ACTIVATION: self._activation,
            Kind.INITIALIZER: self._given(names.INITIALIZERS, names.INITIALIZER_MODULES),
            Kind.REGULARIZER: self._given(names.REGULARIZERS, names.REGULARIZER_MODULES),
            Kind.CONSTRAINT: self._given(names.CONSTRAINTS, names.CONSTRAINT_MODULES),
            Kind.DTYPE: self._dtype,
            Kind.DTYPES: self._dtypes,
            Kind.SEED: self._seed,
            None: self._value(values.numbers),       # a setting that mlopt does not know
        }
        return readers[kind]

    def _layers(self, node: Any, place: str, depth: int) -> Any:
        if not isinstance(node, list):
            return self._refuse(place, f"{shown(node)} where layers belong", node)
        return [self.layer(item, place, depth + 1) for item in node]

    def _terms(self, node: Any, place: str, depth: int) -> Any:
        if isinstance(node, str):
            return self._code(place, f"reads the file {node!r}", node)
        return self._value(values.plain)(node, place, depth)

    def _nothing(self, node: Any, place: str, depth: int) -> Any:
        return None if node is None else self._refuse(place, f"{shown(node)} in a place that is empty in models", node)

    def _value(self, each: Callable[[Any, int], Any]) -> "_Read":
        def one(node: Any, place: str, depth: int) -> Any:
            try:
                return each(node, depth)
            except Unfit as reason:
                return self._refuse(f"{place}{reason.within}", reason.what, reason.node, whole=node)

        return one

    def _operation_settings(self, config: Any, place: str, depth: int) -> Any:
        """Of an operation of keras.ops: values, which it takes as they are."""
        if not isinstance(config, Mapping):
            return self._refuse(place, f"{shown(config)} where settings belong", config)
        readers = {"dtype": self._dtype}
        return {
            key: readers.get(key, self._value(values.value))(item, f"{place}.{key}", depth)
            for key, item in config.items()
        }

    def _graph_settings(self, kind: str) -> "_Read":
        """Of a layer that holds one call of TensorFlow: which call it is decides."""

        def one(config: Any, place: str, depth: int) -> Any:
            if not isinstance(config, Mapping):
                return self._refuse(place, f"{shown(config)} where settings belong", config)
            its_own = {"node_def", "constants"} if kind == "TensorFlowOpLayer" else {"function"}
            clean = {key: self._setting(key, item, place, depth) for key, item in config.items() if key not in its_own}
            if kind != "TensorFlowOpLayer":
                function = config.get("function")
                if not isinstance(function, str) or function not in names.FUNCTIONS:
                    return self._code(place, f"{kind} tf.{function}", config)
                return {**clean, "function": function}
            try:
                node_def = operations.node(config.get("node_def"))
            except Unfit as reason:
                return self._code(place, f"{kind} {reason.what}", config)
            constants = config.get("constants")
            if constants is not None:
                clean["constants"] = self._value(values.value)(constants, f"{place}.constants", depth)
            return {**clean, "node_def": node_def}

        return one

    # ---- what is refused -----------------------------------------------------------------------------------------

    def _is_known(self, node: Mapping[str, Any], kinds: frozenset[str], modules: frozenset[str]) -> bool:
        """Whether an object is of one of these classes, says that it lives where they do, and has no second name."""
        kind = node.get("class_name")
        known = isinstance(kind, str) and kind in kinds
        return known and _lives_in(node, modules) and node.get("registered_name") in (None, kind)

    def _custom(self, node: Mapping[str, Any], place: str, depth: int) -> Any:
        """An object of a class that the user supplies: written so that it is looked up by that name alone."""
        kind, registered = node["class_name"], node.get("registered_name")
        text = registered if isinstance(registered, str) and registered != kind else kind
        name = text.rpartition(">")[2]
        if not self._supplied(place, f"custom {shown(node).removeprefix('an object of ')}", name):
            return node
        clean = self._written({**node, "class_name": name}, place, depth, self._anything)
        if "module" in node or "registered_name" in node:
            clean |= {"module": None, "registered_name": name}
        return clean

    def _anything(self, node: Any, place: str, depth: int) -> Any:
        """Settings of the user's own class: values, and objects that are known or supplied."""
        if depth > MAX_DEPTH:
            raise _TooDeep
        if isinstance(node, list):
            return [self._anything(item, place, depth + 1) for item in node]
        if not isinstance(node, Mapping):
            return self._value(values.plain)(node, place, depth)
        if "class_name" not in node:
            return {key: self._anything(item, f"{place}.{key}", depth + 1) for key, item in node.items()}
        if node["class_name"] == "function":
            return self._function(node, place, depth)
        for kind in (Kind.INITIALIZER, Kind.REGULARIZER, Kind.CONSTRAINT, Kind.DTYPE, Kind.SEED):
            known = {
                Kind.INITIALIZER: (names.INITIALIZERS, names.INITIALIZER_MODULES),
                Kind.REGULARIZER: (names.REGULARIZERS, names.REGULARIZER_MODULES),
                Kind.CONSTRAINT: (names.CONSTRAINTS, names.CONSTRAINT_MODULES),
                Kind.DTYPE: (names.POLICIES, names.POLICY_MODULES),
                Kind.SEED: (frozenset({"SeedGenerator"}), names.SEED_MODULES),
            }[kind]
            if self._is_known(node, *known):
                return self._by_kind(kind)(node, place, depth)
        try:
            return values.value(node, depth)
        except Unfit:
            return self.layer(node, place, depth)

    def _supplied(self, place: str, what: str, name: str) -> bool:
        if name in self.custom_names:
            return True
        self.named[_said(place)] = what
        return False

    def _code(self, place: str, what: str, node: Any) -> Any:
        """Code, or a file: left as it is for those who trust it."""
        if not self.trust_code:
            self.stored[_said(place)] = what
        return node

    def _refuse(self, place: str, what: str, node: Any, *, whole: Any = None) -> Any:
        """What does not belong in its place. A foreign class or function needs its name; for the rest trust will do."""
        kind = node.get("class_name") if isinstance(node, Mapping) else None
        if isinstance(kind, str) and kind != "__lambda__" and not _is_of_keras(node):
            config = node.get("config")
            name = config if kind == "function" and isinstance(config, str) else kind
            self._supplied(place, what, name.rpartition(">")[2])
        else:
            self._code(place, what, node)
        return node if whole is None else whole


_Read = Callable[[Any, str, int], Any]


def _said(place: str) -> str:
    """A place for a message; the settings of the model itself stand in the model."""
    return printable(f"model{place}" if not place or place.startswith(".") else place)


def _named(node: Mapping[str, Any], outer: str, *, whole: bool) -> str:
    """"outer/inner", by the layer's own name; the whole model has none."""
    config = node.get("config")
    own = node.get("name") or (config.get("name") if isinstance(config, Mapping) else None)
    if not isinstance(own, str) or whole:
        return outer
    return f"{outer}/{own}" if outer else own


def _held_by(classes_by_place: Mapping[str, frozenset[str]], module: Any) -> frozenset[str]:
    """The known classes of a module, where each Keras has it."""
    homes = {f"{root}.{place}": classes for place, classes in classes_by_place.items() for root in names.ROOTS}
    return homes.get(module, frozenset()) if isinstance(module, str) else frozenset()


def _is_of_keras(node: Mapping[str, Any]) -> bool:
    """Whether a class is one that Keras itself defines, wherever it stands."""
    known = (
        names.MODELS | names.LAYERS | names.GRAPH_LAYERS | names.CODE_LAYERS | names.INITIALIZERS | names.REGULARIZERS
        | names.CONSTRAINTS | names.POLICIES
    )
    modules = (
        names.MODEL_MODULES | names.LAYER_MODULES | names.GRAPH_LAYER_MODULES | names.INITIALIZER_MODULES
        | names.REGULARIZER_MODULES | names.CONSTRAINT_MODULES | names.POLICY_MODULES
    )
    return node["class_name"] in known and _lives_in(node, modules)


def _lives_in(node: Mapping[str, Any], modules: frozenset[str]) -> bool:
    """Whether an object says that it lives in one of these, or does not say where."""
    module = node.get("module")
    return module is None or (isinstance(module, str) and module in modules)


def _why_code(kind: str) -> str:
    if kind in ("Lambda", "__lambda__"):
        return "Lambda"
    if kind in ("InstanceProperty", "InstanceMethod", "ClassMethod"):
        return f"{kind}, which may name any operation"
    return f"{kind}, which loads a model or code of its own"
