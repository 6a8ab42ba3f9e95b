"""What opening a SavedModel would run, judged operation by operation before TensorFlow sees the folder.

TensorFlow opens two kinds, each in its own way (`tensorflow/python/saved_model/load.py` and `load_v1_in_v2.py`). One
with an object graph runs functions that objects name; its main graph is not touched. One without runs nodes of its main
graph: what restores the variables, what initialises, the first values of variables. Signatures run later.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from mlopt import files
from mlopt.errors import ModelUnreadable, UntrustedCode
from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.keras.saved_model import tracing
from mlopt.frameworks.keras.saved_model.cleaning import own_file
from mlopt.frameworks.keras.saved_model.operations import FILLING_FROM_FILE, OPERATIONS, RESTORING, RUN_WHEN_OPENED
from mlopt.frameworks.keras.saved_model.tracing import called_by, functions_of, leads_to, tensor

MAX_PROTO_BYTES = 2 << 30         # protobuf's own limit
MOST_CONSTANTS = 256 << 20        # bytes of constants that a graph declares in few bytes, beside those that it holds
# classes that objects may be restored as, and the kind that such an object is
REGISTERED = {"tf.StaticHashTable": "resource", "tf.TrackableConstant": "constant"}
_SHOWN = 10                       # findings in a message


def parsed(folder: Path) -> SavedModel:
    """The folder's `saved_model.pb`; raises `ModelUnreadable` where it is damaged, or its weights are not there."""
    file = own_file(folder, Path("saved_model.pb"))
    if file.stat().st_size > MAX_PROTO_BYTES:
        raise ModelUnreadable(folder, f"its saved_model.pb has {file.stat().st_size:,} bytes")
    stored = SavedModel()
    try:
        with files.open_regular(file) as stream:
            stored.ParseFromString(stream.read())
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
    """Judge what `cleaning.cleaned` left: nothing in it is there without a use.

    Raises `UntrustedCode`, naming each operation that is not known and each file that is not the model's own.
    """
    meta = stored.meta_graphs[0]
    found = dict(_foreign_assets(folder, meta))
    found.update(_with_objects(meta) if meta.HasField("object_graph_def") else _without_objects(meta))
    found.update(_swollen(meta, stored.ByteSize()))
    if found:
        shown = dict(sorted(found.items())[:_SHOWN])
        more = f" ({len(found) - _SHOWN} more are not shown.)" if len(found) > _SHOWN else ""
        raise UntrustedCode(folder, shown, f"If you trust whoever made the folder, add --trust-code.{more}")


def _foreign_assets(folder: Path, meta: Any) -> Iterator[tuple[str, str]]:
    """Files that the model names as its own, and that do not lie in its assets folder."""
    for asset in meta.asset_file_def:
        try:
            own_file(folder, Path("assets", PurePosixPath(asset.filename)))
        except ModelUnreadable as err:
            yield f"assets/{asset.filename}", err.found


def _swollen(meta: Any, stored_bytes: int) -> Iterator[tuple[str, str]]:
    """Constants that are stored as one value and a size: a few bytes that fill any memory."""
    total = 0
    for nodes in (meta.graph_def.node, *(function.node_def for function in meta.graph_def.library.function)):
        for node in nodes:
            if node.op == "Const":
                held = node.attr["value"].tensor
                total += math.prod(max(size.size, 0) for size in held.tensor_shape.dim) * _size_of(held.dtype)
    if total > 100 * stored_bytes + MOST_CONSTANTS:
        yield "constants", f"{total:,} bytes, declared in a graph of {stored_bytes:,}"


def _size_of(dtype: int) -> int:
    try:
        return max(int(tf.as_dtype(dtype).size), 1)
    except TypeError:
        return 1


# ---- a SavedModel of objects -----------------------------------------------------------------------------------------


def _with_objects(meta: Any) -> Iterator[tuple[str, str]]:
    objects, functions = meta.object_graph_def, functions_of(meta)
    constants = {node.name for node in meta.graph_def.node}
    for node in objects.nodes:
        kind = node.WhichOneof("kind")
        if node.registered_saver or (node.registered_name and REGISTERED.get(node.registered_name) != kind):
            yield node.registered_name or node.registered_saver, "a class that only its own code restores"
        if kind == "constant" and node.constant.operation not in constants:
            yield node.constant.operation or "a constant", "no constant of the graph"
        if kind == "asset" and not 0 <= node.asset.asset_file_def_index < len(meta.asset_file_def):
            yield "an asset", "no file of the model"
    opened = tracing.called_from(tracing.run_when_opened(meta), functions)
    called = {name for function in functions.values() for name in called_by(function.node_def)}
    for name, function in functions.items():
        filled = () if name in called else _tables_of_assets(function, meta)
        for node in function.node_def:
            if node.name in filled:
                continue
            if why := _unknown(node, functions):
                yield f"{name}/{node.name}", why
            elif name in opened and node.op not in RUN_WHEN_OPENED and node.op not in functions:
                yield f"{name}/{node.name}", f"the operation {node.op}, which would run as the model is opened"


def _tables_of_assets(function: Any, meta: Any) -> set[str]:
    """Nodes that fill a table from one of the model's own assets, which the function is given by its object."""
    objects = meta.object_graph_def
    arguments = [argument.name for argument in function.signature.input_arg]
    name = function.signature.name
    bound = list(objects.concrete_functions[name].bound_inputs) if name in objects.concrete_functions else []
    if not bound or len(bound) > len(arguments):
        return set()
    held = [objects.nodes[index] if 0 <= index < len(objects.nodes) else None for index in bound]
    assets = {
        argument for argument, node in zip(arguments[-len(bound) :], held, strict=True)
        if node is not None and node.WhichOneof("kind") == "asset" and not node.registered_name
    }
    return {
        node.name for node in function.node_def
        if node.op in FILLING_FROM_FILE and len(node.input) > 1 and node.input[1] in assets
    }


# ---- a SavedModel without objects: a graph of TensorFlow 1 -----------------------------------------------------------


def _without_objects(meta: Any) -> Iterator[tuple[str, str]]:
    functions = functions_of(meta)
    yield from _odd_tensors(meta)
    checkpoint = tensor(meta.saver_def.filename_tensor_name)      # TensorFlow puts the model's own path in there
    assets = {tensor(asset.tensor_info.name) for asset in meta.asset_file_def}
    restore, initialise = tracing.restoring(meta), tracing.initialising(meta)
    others = tracing.others(meta)
    fed_the_checkpoint = leads_to(restore, meta) - leads_to(initialise | others, meta)
    fed_assets = leads_to(initialise, meta) - leads_to(restore | others, meta)
    for node in meta.graph_def.node:
        restores = node.op in RESTORING and node.name in fed_the_checkpoint
        if restores and node.input and tensor(node.input[0]) == checkpoint:
            continue
        fills = node.op in FILLING_FROM_FILE and node.name in fed_assets
        if fills and len(node.input) > 1 and tensor(node.input[1]) in assets:
            continue
        if why := _unknown(node, functions):
            yield node.name, why
    for name, function in functions.items():
        for node in function.node_def:
            if why := _unknown(node, functions):
                yield f"{name}/{node.name}", why


def _odd_tensors(meta: Any) -> Iterator[tuple[str, str]]:
    """Inputs and outputs that are no plain tensors: they name more than one node."""
    for key, signature in meta.signature_def.items():
        for name, info in (*signature.inputs.items(), *signature.outputs.items()):
            if info.WhichOneof("encoding") not in ("name", None):
                yield f"{key}/{name}", "a tensor of several parts"


# ---- both ------------------------------------------------------------------------------------------------------------


def _unknown(node: Any, functions: Mapping[str, Any]) -> str:
    """What is wrong with an operation; nothing where it is known, or a function of the model itself."""
    if node.op not in OPERATIONS and node.op not in functions:
        return f"the operation {node.op}"
    missing = sorted(set(called_by([node])) - functions.keys() - {node.op})
    return f"{node.op}, which calls {missing[0]}, a function that is not in the model" if missing else ""
