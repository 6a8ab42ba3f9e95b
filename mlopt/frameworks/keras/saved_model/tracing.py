"""What leads to what in a stored graph: from names that TensorFlow starts at, to every node and function that runs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.framework.variable_pb2 import VariableDef

INITIALISING = ("saved_model_main_op", "legacy_init_op")                        # collections that name what initialises
SIGNATURE_THAT_INITIALISES = "__saved_model_init_op"


def functions_of(meta: Any) -> dict[str, Any]:
    return {function.signature.name: function for function in meta.graph_def.library.function}


def named_by_objects(meta: Any) -> set[str]:
    """Functions that the objects of a model name."""
    named = set(meta.object_graph_def.concrete_functions)
    for node in meta.object_graph_def.nodes:
        named |= set(node.function.concrete_functions) | {node.bare_concrete_function.concrete_function_name}
    return named


def run_when_opened(meta: Any) -> set[str]:
    """Functions of objects that TensorFlow runs as it opens them: those that make, fill and restore what they hold."""
    nodes = meta.object_graph_def.nodes
    found: set[int] = set()
    for node in nodes:
        found |= {child.node_id for child in node.children if child.local_name in RUN_BY_NAME}
        found |= {held.restore_function for held in node.saveable_objects.values()}
    names: set[str] = set()
    for index in found & set(range(len(nodes))):
        names |= set(nodes[index].function.concrete_functions)
        names |= {nodes[index].bare_concrete_function.concrete_function_name}
    return names


RUN_BY_NAME = frozenset({"_create_resource", "_initialize", "_destroy_resource"})


# ---- a graph of TensorFlow 1: nodes by name --------------------------------------------------------------------------


def initialising(meta: Any) -> set[str]:
    """What initialises: TensorFlow puts the paths of assets in when it runs these."""
    found: set[str] = set()
    for key, collection in meta.collection_def.items():
        if key in INITIALISING:
            found |= set(_strings(collection))
    for key, signature in meta.signature_def.items():
        if key == SIGNATURE_THAT_INITIALISES:
            found |= {info.name for info in signature.outputs.values()}
    return found


def restoring(meta: Any) -> set[str]:
    """What restores the variables: TensorFlow puts the path of the model's own checkpoint in."""
    return {meta.saver_def.restore_op_name} - {""}


def others(meta: Any) -> set[str]:
    """First values of variables, and whatever a signature or another collection names."""
    found: set[str] = set()
    for key, signature in meta.signature_def.items():
        if key != SIGNATURE_THAT_INITIALISES:
            found |= {info.name for info in (*signature.inputs.values(), *signature.outputs.values())}
    for key, collection in meta.collection_def.items():
        if key not in INITIALISING:
            found |= set(_strings(collection))
    return found


def every_root(meta: Any) -> set[str]:
    assets = {asset.tensor_info.name for asset in meta.asset_file_def}
    return initialising(meta) | restoring(meta) | others(meta) | assets | {meta.saver_def.filename_tensor_name}


def leads_to(roots: Iterable[str], meta: Any) -> set[str]:
    """The nodes that the tensors or nodes `roots` name, and all that run before them."""
    nodes = {node.name: node for node in meta.graph_def.node}
    return _reached(
        (node_of(root) for root in roots), nodes, lambda name: (node_of(text) for text in nodes[name].input)
    )


def node_of(text: str) -> str:
    """The node behind an input: of its tensor, or of a control edge.

    >>> node_of("save/Const:0"), node_of("^init"), node_of("x")
    ('save/Const', 'init', 'x')
    """
    return text.removeprefix("^").partition(":")[0]


def tensor(text: str) -> str:
    """The full name of a tensor: its first output where the text does not say which.

    >>> tensor("save/Const"), tensor("x:1")
    ('save/Const:0', 'x:1')
    """
    return text if ":" in text else f"{text}:0"


def _strings(collection: Any) -> Iterator[str]:
    """Every name in a collection; of variables, all the names that they have."""
    yield from collection.node_list.value
    for held in collection.bytes_list.value:
        variable = VariableDef()
        try:
            variable.ParseFromString(held)
        except DecodeError:
            yield held.decode(errors="replace")
            continue
        yield from (
            variable.variable_name, variable.initial_value_name, variable.initializer_name, variable.snapshot_name
        )
    for packed in collection.any_list.value:
        yield packed.value.decode(errors="replace")


# ---- functions -------------------------------------------------------------------------------------------------------


def called_from(names: Iterable[str], functions: Mapping[str, Any]) -> set[str]:
    """These functions, and all that they call."""
    return _reached(names, functions, lambda name: called_by(functions[name].node_def))


def called_by(nodes: Iterable[Any]) -> Iterator[str]:
    """What nodes call: by their operation, or by their attributes. Names of plain operations are among them."""
    for node in nodes:
        yield node.op
        for held in node.attr.values():
            if held.HasField("func"):
                yield held.func.name
            yield from (function.name for function in held.list.func)


def _reached(roots: Iterable[str], known: Mapping[str, Any], next_of: Callable[[str], Iterable[str]]) -> set[str]:
    pending, seen = list(roots), set[str]()
    while pending:
        name = pending.pop()
        if name in known and name not in seen:
            seen.add(name)
            pending.extend(next_of(name))
    return seen
