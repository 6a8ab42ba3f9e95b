"""A SavedModel written anew from what opening it needs, before it is judged: TensorFlow sees this copy alone.

What no object and no signature leads to is left out, and so are attributes of nodes and functions that do not say what
an operation computes: some let TensorFlow swap one function for another as it loads. The copy's files are links to the
model's own.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from mlopt.errors import ModelUnreadable
from mlopt.frameworks.keras.private import op_def_registry
from mlopt.frameworks.keras.saved_model import tracing
from mlopt.sandbox.places import resolved

_KEPT_OF_NODES = frozenset({"_output_shapes", "_class", "_read_only_resource_inputs"})
_KEPT_OF_FUNCTIONS = frozenset({"_input_shapes", "_construction_context"})
_SETTINGS_OF_A_SESSION = ("config_proto", "executor_type", "config")       # how to run a called function


def cleaned(stored: SavedModel) -> SavedModel:
    """The only graph of `stored`, with the functions and nodes that can run, and what these compute."""
    kept = SavedModel(saved_model_schema_version=stored.saved_model_schema_version)
    kept.meta_graphs.add().CopyFrom(stored.meta_graphs[0])
    meta = kept.meta_graphs[0]
    functions = tracing.functions_of(meta)
    if meta.HasField("object_graph_def"):
        objects = meta.object_graph_def.nodes
        named = {node.constant.operation for node in objects if node.WhichOneof("kind") == "constant"}
        nodes = [node for node in meta.graph_def.node if node.op == "Const" and node.name and node.name in named]
        run = tracing.called_from(tracing.named_by_objects(meta), functions)
    else:
        reached = tracing.leads_to(tracing.every_root(meta), meta)
        nodes = [node for node in meta.graph_def.node if node.name in reached]
        run = tracing.called_from(tracing.called_by(nodes), functions)
    _replace(meta.graph_def.node, [_node(node, functions) for node in nodes])
    _replace(meta.graph_def.library.function, [_function(functions[name], functions) for name in sorted(run)])
    del meta.graph_def.library.gradient[:]
    del meta.graph_def.library.registered_gradients[:]
    return kept


def written(model: Path, kept: SavedModel, folder: Path) -> Path:
    """The copy in `folder`, which is empty: its graph, and links to the model's variables and assets.

    Raises `ModelUnreadable` for a file that is no regular one, or does not lie in the model's folder.
    """
    (folder / "saved_model.pb").write_bytes(kept.SerializeToString())
    variables = model / "variables"
    names = [Path("variables", entry.name) for entry in variables.iterdir()] if variables.is_dir() else []
    names += [Path("assets", PurePosixPath(asset.filename)) for asset in kept.meta_graphs[0].asset_file_def]
    for name in dict.fromkeys(names):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(own_file(model, name))
    return folder


def own_file(model: Path, name: Path) -> Path:
    """Where the file of a model lies in truth; raises `ModelUnreadable` where that is no regular file of its own."""
    whole, *blobs = resolved(model)
    inside = name.parts and not name.is_absolute() and ".." not in name.parts and "\0" not in str(name)
    target = (whole / name).resolve() if inside else None
    if target is None or not any(target.is_relative_to(home) for home in (whole, *blobs)):
        raise ModelUnreadable(model, f"its file {name} does not lie in its own folder", "Copy the model with cp -rL.")
    if not target.is_file():
        raise ModelUnreadable(model, f"its file {name} is missing, or no regular file", "Copy the whole folder.")
    return target


def _replace(field: Any, items: Iterable[Any]) -> None:
    held = list(items)
    del field[:]
    field.extend(held)


def _node(node: Any, functions: Mapping[str, Any]) -> Any:
    """A node with the attributes that its operation has, on whatever device there is."""
    definition = op_def_registry.get(node.op)
    known = {attribute.name for attribute in definition.attr} if definition is not None else set()
    clean = type(node)(name=node.name, op=node.op, input=node.input)
    for name, held in node.attr.items():
        if name in _SETTINGS_OF_A_SESSION or not (name in known or name in _KEPT_OF_NODES or node.op in functions):
            continue
        clean.attr[name].CopyFrom(held)
        for called in _functions_in(clean.attr[name]):
            called.attr.clear()
    return clean


def _function(function: Any, functions: Mapping[str, Any]) -> Any:
    clean = type(function)()
    clean.CopyFrom(function)
    for name in list(clean.attr):
        if name not in _KEPT_OF_FUNCTIONS:
            del clean.attr[name]
    _replace(clean.node_def, [_node(node, functions) for node in function.node_def])
    return clean


def _functions_in(held: Any) -> Iterator[Any]:
    if held.HasField("func"):
        yield held.func
    yield from held.list.func
