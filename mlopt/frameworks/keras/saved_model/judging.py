"""What opening a SavedModel would run, judged operation by operation before TensorFlow sees the folder.

TensorFlow opens two kinds, each in its own way (`tensorflow/python/saved_model/load.py` and `load_v1_in_v2.py`). One
with an object graph runs functions that objects name; its main graph is not touched. One without runs nodes of its main
graph: what restores the variables, what initialises, the first values of variables. Signatures run later.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.framework.variable_pb2 import VariableDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from mlopt.errors import ModelUnreadable, UntrustedCode
from mlopt.frameworks.keras.saved_model.operations import FILLING_FROM_FILE, OPERATIONS, RESTORING, SAVING

MAX_PROTO_BYTES = 2 << 30         # protobuf's own limit
REGISTERED = frozenset({"", "tf.StaticHashTable", "tf.TrackableConstant"})     # classes that objects may be restored as
INITIALISING = ("saved_model_main_op", "legacy_init_op")                        # collections that name what initialises
SIGNATURE_THAT_INITIALISES = "__saved_model_init_op"
_SHOWN = 10                       # findings in a message


def parsed(folder: Path) -> SavedModel:
    """The folder's `saved_model.pb`; raises `ModelUnreadable` where it is damaged, or its weights are not there."""
    file = folder / "saved_model.pb"
    if file.stat().st_size > MAX_PROTO_BYTES:
        raise ModelUnreadable(folder, f"its saved_model.pb has {file.stat().st_size:,} bytes")
    stored = SavedModel()
    try:
        stored.ParseFromString(file.read_bytes())
    except DecodeError as err:
        raise ModelUnreadable(folder, "its saved_model.pb is damaged or cut short", "Export it again.") from err
    if not stored.meta_graphs:
        raise ModelUnreadable(folder, "its saved_model.pb holds no graph", "Export it again.")
    if len(stored.meta_graphs) > 1:
        tags = "; ".join(", ".join(meta.meta_info_def.tags) or "(none)" for meta in stored.meta_graphs)
        raise ModelUnreadable(folder, f"it holds several graphs (tagged {tags})", "Export the one for serving alone.")
    holds = any(node.op in ("VarHandleOp", "VariableV2") for node in stored.meta_graphs[0].graph_def.node)
    if holds and not (folder / "variables" / "variables.index").is_file():
        found = "its weights are missing (no variables/variables.index)"
        raise ModelUnreadable(folder, found, "Copy the whole folder.")
    return stored


def check(folder: Path, stored: SavedModel) -> None:
    """Raise `UntrustedCode`, naming each operation that is not known and each file that is not the model's own."""
    meta = stored.meta_graphs[0]
    found = dict(_foreign_assets(folder, meta))
    found.update(_with_objects(meta) if meta.HasField("object_graph_def") else _without_objects(meta))
    if found:
        shown = dict(sorted(found.items())[:_SHOWN])
        more = f" ({len(found) - _SHOWN} more are not shown.)" if len(found) > _SHOWN else ""
        raise UntrustedCode(folder, shown, f"If you trust whoever made the folder, add --trust-code.{more}")


def _foreign_assets(folder: Path, meta: Any) -> Iterator[tuple[str, str]]:
    """Files that the model names as its own, and that do not lie in its assets folder."""
    home = folder.resolve() / "assets"
    for part in ("assets", "variables"):
        if (folder / part).is_symlink():
            yield part, "a link to another folder"
    for asset in meta.asset_file_def:
        name = PurePosixPath(asset.filename)
        inside = bool(name.parts) and not name.is_absolute() and ".." not in name.parts and "\0" not in asset.filename
        target = (folder / "assets" / name).resolve() if inside else None
        if target is None or not target.is_relative_to(home) or not target.is_file():
            yield f"assets/{asset.filename}", "a file that does not lie in the model's own folder"


# ---- a SavedModel of objects -----------------------------------------------------------------------------------------


def _with_objects(meta: Any) -> Iterator[tuple[str, str]]:
    objects = meta.object_graph_def
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    named = set(objects.concrete_functions)
    for node in objects.nodes:
        named |= set(node.function.concrete_functions) | {node.bare_concrete_function.concrete_function_name}
        if node.registered_name not in REGISTERED or node.registered_saver:
            yield node.registered_name or node.registered_saver, "a class that only its own code restores"
    run = _called_from(named & functions.keys(), functions)
    called = {name for function in functions.values() for name in _functions_of(function.node_def)}
    for name, function in functions.items():
        filled = () if name in called else _tables_of_assets(function, objects)
        for node in function.node_def:
            if node.op in SAVING | RESTORING and name not in run:
                continue                    # what made the checkpoint: no object leads to it
            if node.name not in filled and (why := _unknown(node, functions)):
                yield f"{name}/{node.name}", why


def _tables_of_assets(function: Any, objects: Any) -> set[str]:
    """Nodes that fill a table from one of the model's own assets, which the function is given by its object."""
    arguments = [argument.name for argument in function.signature.input_arg]
    name = function.signature.name
    bound = list(objects.concrete_functions[name].bound_inputs) if name in objects.concrete_functions else []
    if not bound or len(bound) > len(arguments):
        return set()
    kinds = [objects.nodes[i].WhichOneof("kind") if 0 <= i < len(objects.nodes) else None for i in bound]
    assets = {name for name, kind in zip(arguments[-len(bound) :], kinds, strict=True) if kind == "asset"}
    return {
        node.name for node in function.node_def
        if node.op in FILLING_FROM_FILE and len(node.input) > 1 and node.input[1] in assets
    }


# ---- a SavedModel without objects: a graph of TensorFlow 1 -----------------------------------------------------------


def _without_objects(meta: Any) -> Iterator[tuple[str, str]]:
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    nodes = {node.name: node for node in meta.graph_def.node}
    checkpoint = tensor_node(meta.saver_def.filename_tensor_name)      # TensorFlow puts the model's own path in there
    assets = {tensor_node(asset.tensor_info.name) for asset in meta.asset_file_def}
    initialise, others = _run_when_opened(meta), _run_later(meta)
    run = _leads_to(initialise | others, nodes)
    unfed = _leads_to(others, nodes)        # runs without the paths of assets being put in
    for node in nodes.values():
        if node.op in SAVING and node.name not in run:
            continue
        if node.op in RESTORING and node.input and tensor_node(node.input[0]) == checkpoint:
            continue
        if node.op in FILLING_FROM_FILE and node.name not in unfed and len(node.input) > 1 \
                and tensor_node(node.input[1]) in assets:
            continue
        if why := _unknown(node, functions):
            yield node.name, why
    for name, function in functions.items():
        for node in function.node_def:
            if why := _unknown(node, functions):
                yield f"{name}/{node.name}", why


def _run_when_opened(meta: Any) -> set[str]:
    """Nodes that initialise: TensorFlow puts the paths of assets in when it runs them."""
    found: set[str] = set()
    for key, collection in meta.collection_def.items():
        if key in INITIALISING:
            found |= set(_strings(collection))
    for key, signature in meta.signature_def.items():
        if key == SIGNATURE_THAT_INITIALISES:
            found |= {info.name for info in signature.outputs.values()}
    return {tensor_node(name) for name in found}


def _run_later(meta: Any) -> set[str]:
    """Nodes that restore, the first values of variables, and all that any signature or collection names."""
    found = {meta.saver_def.restore_op_name, meta.saver_def.filename_tensor_name}
    for key, signature in meta.signature_def.items():
        if key != SIGNATURE_THAT_INITIALISES:
            found |= {info.name for info in (*signature.inputs.values(), *signature.outputs.values())}
    for key, collection in meta.collection_def.items():
        if key not in INITIALISING:
            found |= set(_strings(collection))
    return {tensor_node(name) for name in found}


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


def _leads_to(roots: Iterable[str], nodes: Mapping[str, Any]) -> set[str]:
    """The nodes among `roots`, and all that run before them."""
    pending, seen = list(roots), set[str]()
    while pending:
        name = pending.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            pending.extend(tensor_node(text) for text in nodes[name].input)
    return seen


def tensor_node(text: str) -> str:
    """The node behind an input: of its tensor, or of a control edge.

    >>> tensor_node("save/Const:0"), tensor_node("^init"), tensor_node("x")
    ('save/Const', 'init', 'x')
    """
    return text.removeprefix("^").partition(":")[0]


# ---- both ------------------------------------------------------------------------------------------------------------


def _unknown(node: Any, functions: Mapping[str, Any]) -> str:
    """What is wrong with an operation; nothing where it is known, or a function of the model itself."""
    if node.op not in OPERATIONS and node.op not in functions:
        return f"the operation {node.op}"
    missing = sorted(set(_functions_of([node])) - functions.keys() - {node.op})
    return f"{node.op}, which calls {missing[0]}, a function that is not in the model" if missing else ""


def _called_from(names: Iterable[str], functions: Mapping[str, Any]) -> set[str]:
    pending, seen = list(names), set[str]()
    while pending:
        name = pending.pop()
        if name in functions and name not in seen:
            seen.add(name)
            pending.extend(_functions_of(functions[name].node_def))
    return seen


def _functions_of(nodes: Iterable[Any]) -> Iterator[str]:
    """Functions that nodes call: as their operation, or by their attributes."""
    for node in nodes:
        yield node.op
        for held in node.attr.values():
            if held.HasField("func"):
                yield held.func.name
            yield from (function.name for function in held.list.func)
