"""Open SavedModel folders by their serving signature, after every operation that they could run was judged."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mlopt.errors import ModelUnreadable
from mlopt.frameworks.keras.graph import FlatGraph, Owner, flatten
from mlopt.frameworks.keras.model import OpenedModel, fixed, named, tensor_spec
from mlopt.frameworks.keras.quiet import chatter_held, tf
from mlopt.frameworks.keras.saved_model import cleaning, judging
from mlopt.frameworks.keras.sniff import Sniffed
from mlopt.location import ModelLocation
from mlopt.model import Signature, TensorSpec

SERVING = "serving_default"


def open_folder(sniffed: Sniffed, location: ModelLocation) -> OpenedModel:
    """The model behind `serving_default`, or behind the only signature there is."""
    with TemporaryDirectory(prefix="mlopt-") as folder:
        stored = judging.parsed(sniffed.path)
        if not location.trust_code:
            stored = cleaning.cleaned(stored)
            judging.check(sniffed.path, stored)
        copy = cleaning.written(sniffed.path, stored, Path(folder))
        with chatter_held():
            loaded = tf.saved_model.load(str(copy))
        return _opened(sniffed, loaded, location.input_shapes)


def _opened(sniffed: Sniffed, loaded: Any, input_shapes: Mapping[str, Sequence[int]]) -> OpenedModel:
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
