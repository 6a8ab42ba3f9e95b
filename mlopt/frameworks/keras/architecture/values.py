"""Values without meaning beyond themselves: numbers, words, tensors, slices. Read strictly, and written again.

Both Keras take a dictionary with a `class_name` for an object, wherever it stands. So a value is read down to its last
part, and the objects that a value may hold are listed here, each with the parts that it has.
"""

from collections.abc import Mapping
from typing import Any

from mlopt.documents import DEEPEST as MAX_DEPTH
from mlopt.frameworks.keras.architecture.names import words
from mlopt.words import clean as printable

DTYPES = words(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128"
)


class Unfit(Exception):
    """Why a value is not of the type that its place asks for; `node` is the part that does not fit."""

    def __init__(self, what: str, node: Any, within: str = "") -> None:
        super().__init__(what)
        self.what, self.node, self.within = what, node, within

    def inside(self, key: str) -> "Unfit":
        return Unfit(self.what, self.node, f".{key}{self.within}")


def numbers(node: Any, depth: int = 0) -> Any:
    """None, a number, numbers in lists, or a tensor of numbers."""
    return _nested(node, (int, float), "numbers", depth)


def word(node: Any, depth: int = 0) -> Any:
    """None, a word, or words in lists."""
    return _nested(node, (str,), "words", depth)


def plain(node: Any, depth: int = 0) -> Any:
    """None, a number or a word, or these in lists."""
    return _nested(node, (str, int, float), "numbers and words", depth)


def value(node: Any, depth: int = 0) -> Any:
    """What a layer may be called with, or built for: numbers, words, tensors, slices, in lists and dictionaries."""
    _check_depth(node, depth)
    if node is None or isinstance(node, str | int | float):
        return node
    if isinstance(node, list):
        return [value(item, depth + 1) for item in node]
    if isinstance(node, Mapping) and "class_name" in node:
        return _object(node, depth)
    if isinstance(node, Mapping):
        return {key: _inside(key, value, item, depth + 1) for key, item in node.items()}
    raise Unfit(f"a {type(node).__name__}", node)


def names_a_layer(node: Any) -> bool:
    """Whether what a layer is called with holds a tensor of another: ["name", 0, 0, ...] or a `__keras_tensor__`."""
    pending = [node]
    while pending:
        found = pending.pop()
        if isinstance(found, Mapping):
            if found.get("class_name") == "__keras_tensor__":
                return True
            pending.extend(found.values())
        elif isinstance(found, list):
            indices = found[1:3] if found and isinstance(found[0], str) else []
            if len(indices) == 2 and all(isinstance(index, int) and index >= 0 for index in indices):
                return True        # a constant stands in the place of a layer with an index of -1
            pending.extend(found)
    return False


def shown(node: Any) -> str:
    """A part of a file for a message: what it is, and its beginning.

    >>> shown({"class_name": "function", "module": "os", "config": "system"}), shown("a" * 50)
    ('function os.system', "the text 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...")
    """
    if isinstance(node, Mapping):
        kind, module, inner = node.get("class_name"), node.get("module"), node.get("config")
        name = printable(f"{module}.{inner if kind == 'function' else kind}" if isinstance(module, str) else str(kind))
        if "class_name" not in node:
            return "a dictionary"
        return f"function {name}" if kind == "function" else f"an object of {name}"[:100]
    if isinstance(node, list):
        return "a list"
    if isinstance(node, str):
        return f"the text {node!r}" if len(node) <= 40 else f"the text '{node[:40]}..."
    return repr(node)


def _nested(node: Any, leaves: tuple[type, ...], wanted: str, depth: int) -> Any:
    _check_depth(node, depth)
    if node is None or isinstance(node, leaves):
        return node
    if isinstance(node, list):
        return [_nested(item, leaves, wanted, depth + 1) for item in node]
    if isinstance(node, Mapping) and node.get("class_name") in ("__tuple__", "TensorShape"):
        return _items(node, lambda item, deeper: _nested(item, leaves, wanted, deeper), depth)
    if isinstance(node, Mapping) and node.get("class_name") in ("__numpy__", "__tensor__") and leaves != (str,):
        return _tensor(node, depth)
    raise Unfit(f"{shown(node)} where {wanted} belong", node)


def _object(node: Mapping[str, Any], depth: int) -> Any:
    """The objects that are values; written with the parts that they have, and no other."""
    kind = node["class_name"]
    if kind in ("__tuple__", "TensorShape"):
        return _items(node, value, depth)
    if kind in ("__numpy__", "__tensor__"):
        return _tensor(node, depth)
    if kind == "__ellipsis__":
        return {"class_name": kind, "config": {}} if "config" in node else {"class_name": kind}
    config = node.get("config")
    if kind == "__slice__" and _has(config, "start", "stop", "step"):
        assert isinstance(config, Mapping)
        return {"class_name": kind, "config": {key: value(config[key], depth + 1) for key in ("start", "stop", "step")}}
    if kind == "__bytes__" and _has(config, "value"):
        assert isinstance(config, Mapping)
        return {"class_name": kind, "config": {"value": word(config["value"], depth + 1)}}
    if kind == "__keras_tensor__" and _has(config, "shape", "dtype", "keras_history"):
        assert isinstance(config, Mapping)
        read = {"shape": numbers, "dtype": word, "keras_history": plain}
        return {"class_name": kind, "config": {key: each(config[key], depth + 1) for key, each in read.items()}}
    raise Unfit(f"{shown(node)} where a value belongs", node)


def _items(node: Mapping[str, Any], each: Any, depth: int) -> dict[str, Any]:
    items = node.get("items")
    if items is not None and not isinstance(items, list):
        raise Unfit(f"{shown(items)} where items belong", items)
    return {"class_name": node["class_name"], "items": items and [each(item, depth + 1) for item in items]}


def _tensor(node: Mapping[str, Any], depth: int) -> dict[str, Any]:
    config = node.get("config")
    if not _has(config, "value", "dtype"):
        raise Unfit(f"{shown(node)} without a value and a type", node)
    assert isinstance(config, Mapping)
    if config["dtype"] not in DTYPES:           # a text's length can stand in its type
        raise Unfit(f"a tensor of {shown(config['dtype'])}", node)
    inner = {"value": _nested(config["value"], (int, float), "numbers", depth + 1), "dtype": config["dtype"]}
    return {"class_name": node["class_name"], "config": inner}


def _has(config: Any, *keys: str) -> bool:
    return isinstance(config, Mapping) and set(keys) <= config.keys()


def _inside(key: str, read: Any, item: Any, depth: int) -> Any:
    try:
        return read(item, depth)
    except Unfit as reason:
        raise reason.inside(key) from None


def _check_depth(node: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unfit(f"values nested more than {MAX_DEPTH} deep", node)


