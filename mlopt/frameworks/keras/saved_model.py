"""Open SavedModel folders by their serving signature, after a look at every operation that they could run."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from mlopt.errors import ModelUnreadable, UntrustedCode
from mlopt.frameworks.keras.graph import FlatGraph, Owner, flatten
from mlopt.frameworks.keras.legacy import LOADING_ERRORS
from mlopt.frameworks.keras.model import OpenedModel, fixed, named, tensor_spec
from mlopt.frameworks.keras.quiet import chatter_held, tf
from mlopt.frameworks.sniff import Sniffed
from mlopt.model import Signature, TensorSpec

SERVING = "serving_default"
# Operations that touch files, processes, the network or Python; restoring and asset tables are TensorFlow's own.
OUTSIDE = re.compile(
    r"PyFunc|File|Dataset|Iterator|Reader|Summary|Dump|Debug|Rpc|Remote|Save|Restore|Checkpoint|ImmutableConst"
    r"|LoadAndRemap|VocabRemapping|Print|Launch|Socket|Collective|Send$|Recv$"
)
HARMLESS = frozenset({"ShardedFilename", "InitializeTableFromTextFileV2", "InitializeTableFromTextFile"})
CHECKPOINTING = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints"})   # in the standard save and restore functions
MAX_PROTO_BYTES = 2 << 30


def open_folder(sniffed: Sniffed, *, trust_code: bool, input_shapes: Mapping[str, Sequence[int]]) -> OpenedModel:
    """The model behind `serving_default`, or behind the only signature there is."""
    stored = _parsed(sniffed)
    if not trust_code:
        check(sniffed, stored)
    try:
        with chatter_held():
            loaded = tf.saved_model.load(str(sniffed.path))
    except LOADING_ERRORS as err:
        raise ModelUnreadable(sniffed.path, f"TensorFlow cannot load it: {' '.join(str(err).split())[:300]}") from err
    function = _signature(sniffed, loaded)
    given = dict(function.structured_input_signature[1])
    raw_inputs, raw_outputs = sorted(given), sorted(function.structured_outputs)
    in_names, out_names = named(raw_inputs), named(raw_outputs)
    specs = [_spec(sniffed, name, given[raw]) for raw, name in zip(raw_inputs, in_names, strict=True)]
    specs = fixed(sniffed, specs, input_shapes)

    owners = _owners(sniffed, function)
    pairs = zip(raw_inputs, in_names, strict=True)
    raw_specs = [tf.TensorSpec(given[raw].shape, given[raw].dtype, name) for raw, name in pairs]

    @tf.function(input_signature=raw_specs, autograph=False)
    def serve(*tensors: Any) -> dict[str, Any]:
        outputs = function(**dict(zip(raw_inputs, tensors, strict=True)))
        return {name: outputs[raw] for raw, name in zip(raw_outputs, out_names, strict=True)}

    flat = flatten(serve.get_concrete_function(), owners)
    definition = flat.graph.as_graph_def()

    def call(tensors: dict[str, Any]) -> list[Any]:
        """The stored graph, put into the one that is being traced; without functions, so that sizes are passed on."""
        fed = {flat.inputs[name].name: tensors[name] for name in in_names}
        wanted = [flat.outputs[name].name for name in out_names]
        return tf.graph_util.import_graph_def(definition, input_map=fed, return_elements=wanted, name="")

    weight_bytes, optimizer_bytes = _stored_bytes(sniffed)
    return OpenedModel(
        sniffed=sniffed,
        loaded_by="saved-model",
        signature=Signature(inputs=tuple(specs), outputs=tuple(_outputs(sniffed, flat, specs, out_names))),
        call=call,
        owners=lambda: owners,
        weight_bytes=weight_bytes,
        optimizer_bytes=optimizer_bytes,
        parameters=sum(owner.parameters for owner in owners),
        trackable=tf.Module(),     # the weights are constants of the graph
        owner_of=flat.owner_of,
    )


def check(sniffed: Sniffed, stored: SavedModel) -> None:
    """Raise `UntrustedCode`, naming each operation that would reach out of the graph, or that TensorFlow lacks."""
    found: dict[str, str] = {}
    for meta in stored.meta_graphs:
        functions = {function.signature.name: function for function in meta.graph_def.library.function}
        run = _functions_run(meta, functions)
        for name, function in functions.items():
            for node in function.node_def:
                danger = _danger(node, standard=name not in run)
                if danger:
                    found[f"{name}/{node.name}"] = danger
        serving = _nodes_run(meta)
        for node in meta.graph_def.node:
            danger = _danger(node, standard=node.name not in serving)
            if danger:
                found[node.name] = danger
    if found:
        shown = dict(sorted(found.items())[:10])
        raise UntrustedCode(sniffed.path, shown, "If you trust whoever made the folder, add --trust-code.")


def _danger(node: Any, *, standard: bool) -> str:
    """What is wrong with a node; `standard`: no signature runs it, as is so where checkpoints are made."""
    if node.op in HARMLESS or (standard and node.op in CHECKPOINTING):
        return ""
    if OUTSIDE.search(node.op):
        return node.op
    return "" if op_def_registry.get(node.op) is not None or _is_function(node) else f"custom operation {node.op}"


def _is_function(node: Any) -> bool:
    return node.op.startswith("__inference") or node.op.startswith("__forward")


def _parsed(sniffed: Sniffed) -> SavedModel:
    file = sniffed.path / "saved_model.pb"
    if file.stat().st_size > MAX_PROTO_BYTES:
        raise ModelUnreadable(sniffed.path, f"its saved_model.pb has {file.stat().st_size:,} bytes")
    stored = SavedModel()
    try:
        stored.ParseFromString(file.read_bytes())
    except DecodeError as err:
        raise ModelUnreadable(sniffed.path, "its saved_model.pb is damaged or cut short", "Export it again.") from err
    if not stored.meta_graphs:
        raise ModelUnreadable(sniffed.path, "its saved_model.pb holds no graph", "Export it again.")
    if not (sniffed.path / "variables" / "variables.index").is_file():
        holds = any(n.op in ("VarHandleOp", "VariableV2") for m in stored.meta_graphs for n in m.graph_def.node)
        if holds:
            found = "its weights are missing (no variables/variables.index)"
            raise ModelUnreadable(sniffed.path, found, "Copy the whole folder.")
    return stored


def _functions_run(meta: Any, functions: Mapping[str, Any]) -> set[str]:
    """Names of the functions that a signature, or loading itself, can reach; the checkpoint's own are not there."""
    serving = _nodes_run(meta)
    pending = [name for node in meta.graph_def.node if node.name in serving for name in _called(node)]
    restored = meta.object_graph_def.nodes
    pending += [
        name
        for node in restored
        if node.WhichOneof("kind") == "function"
        for name in node.function.concrete_functions
        if not re.match(r"__inference_+traced_(save|restore)_\d+$", name)
    ]
    pending += [node.bare_concrete_function.concrete_function_name for node in restored
                if node.WhichOneof("kind") == "bare_concrete_function"]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in functions and name not in seen:
            seen.add(name)
            pending.extend(inner for node in functions[name].node_def for inner in _called(node))
    return seen


def _nodes_run(meta: Any) -> set[str]:
    """Names of the main graph's nodes behind the signatures, and behind what initialises the model."""
    nodes = {node.name: node for node in meta.graph_def.node}
    pending = [info.name for signature in meta.signature_def.values() for info in signature.outputs.values()]
    seen: set[str] = set()
    while pending:
        name = re.sub(r"^\^|:\d+$", "", pending.pop())
        if name in nodes and name not in seen:
            seen.add(name)
            pending.extend(nodes[name].input)
    return seen


def _called(node: Any) -> Iterable[str]:
    """Functions that a node names, in its attributes or as its operation."""
    yield node.op
    for value in node.attr.values():
        if value.func.name:
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _signature(sniffed: Sniffed, loaded: Any) -> Any:
    signatures = {k: f for k, f in getattr(loaded, "signatures", {}).items() if not k.startswith("__")}
    if SERVING in signatures:
        return signatures[SERVING]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    found = f"it has the signatures {', '.join(sorted(signatures))}" if signatures else "it has no signature"
    found += f", and none is called {SERVING}"
    raise ModelUnreadable(sniffed.path, found, "Export it with one serving signature.")


def _spec(sniffed: Sniffed, name: str, spec: Any) -> TensorSpec:
    if spec.shape.rank is None or spec.shape.rank == 0:
        raise ModelUnreadable(sniffed.path, f"its input {name} has no batch dimension", "Export it with a known shape.")
    if spec.dtype in (tf.string, tf.resource, tf.variant):
        raise ModelUnreadable(sniffed.path, f"its input {name} takes {spec.dtype.name}", "mlopt takes numbers only.")
    return tensor_spec(name, spec.shape.as_list(), spec.dtype.name)


def _outputs(
    sniffed: Sniffed, flat: FlatGraph, specs: Sequence[TensorSpec], names: Sequence[str]
) -> Iterable[TensorSpec]:
    """Output shapes, by running zeros through: a stored graph may not know its sizes."""
    zeros = {s.name: tf.zeros((2, *(size or 1 for size in s.shape[1:])), s.dtype) for s in specs}
    rows = flat.function(*(zeros[name] for name in flat.inputs))
    for name, value in zip(names, [rows[list(flat.outputs).index(name)] for name in names], strict=True):
        if value.shape.rank == 0 or value.shape[0] != 2:
            raise ModelUnreadable(sniffed.path, f"its output {name} has no batch dimension: {value.shape}")
        kind = "float32" if value.dtype.is_floating else value.dtype.name
        yield tensor_spec(name, value.shape.as_list(), kind)


def _owners(sniffed: Sniffed, function: Any) -> list[Owner]:
    """The variables that the signature reads, grouped by scope: "block/conv/kernel" belongs to "block/conv"."""
    groups: dict[str, list[Any]] = {}
    for variable in function.graph.variables:
        scope, _, own = variable.name.removesuffix(":0").rpartition("/")
        groups.setdefault(scope or own, []).append(variable)
        values = variable.numpy()
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int(values.size - np.isfinite(values).sum())
            found = f"weights are NaN or infinite in {variable.name} ({bad} of {values.size})"
            raise ModelUnreadable(sniffed.path, found, "Train or save the model again.")
    if not groups:
        constants = [op.outputs[0].shape for op in function.graph.get_operations() if op.type == "Const"]
        if not any(shape.rank and shape.num_elements() > 64 for shape in constants):      # frozen weights are constants
            raise ModelUnreadable(sniffed.path, "the model has no weights", "There is nothing to compress in it.")
    return [
        Owner(
            name=name,
            kind="BatchNormalization" if any("moving_variance" in v.name for v in variables) else "",
            parameters=sum(int(np.prod(v.shape)) for v in variables),
            output_shape=(),
            handles=frozenset(id(v.handle) for v in variables),
        )
        for name, variables in groups.items()
    ]


def _stored_bytes(sniffed: Sniffed) -> tuple[int, int]:
    """(weight bytes, optimizer bytes) as the checkpoint inside lists them."""
    prefix = sniffed.path / "variables" / "variables"
    if not prefix.with_suffix(".index").is_file():
        return 0, 0
    reader = tf.train.load_checkpoint(str(prefix))
    types = reader.get_variable_to_dtype_map()
    weights = optimizer = 0
    for name, shape in reader.get_variable_to_shape_map().items():
        if types[name] == tf.string or name.startswith("save_counter"):
            continue
        size = int(np.prod(shape)) * types[name].size
        if "optimizer" in name.lower() or ".OPTIMIZER_SLOT" in name:
            optimizer += size
        else:
            weights += size
    return weights, optimizer


