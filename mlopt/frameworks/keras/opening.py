"""Open what was sniffed: each container by the Keras that wrote it."""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlopt import files, memory
from mlopt.errors import BadRequest, MloptError, ModelUnreadable
from mlopt.frameworks.keras import layers, legacy
from mlopt.frameworks.keras.architecture import reading as architecture
from mlopt.frameworks.keras.model import OpenedModel, fixed, named, tensor_spec
from mlopt.frameworks.keras.quiet import tf, tf_keras
from mlopt.frameworks.keras.sniff import Container, Sniffed, sniff, weights
from mlopt.location import ModelLocation
from mlopt.model import Signature, TensorSpec

OPENING_BYTES = 4 << 30     # of memory, beside what TensorFlow holds already
OPENING_FACTOR = 20         # and for each byte of the file: weights are held some times over while they are read


def open_model(location: ModelLocation) -> OpenedModel:
    """See `mlopt.frameworks.door.Open`."""
    return open_sniffed(recognised(location), location)


def recognised(location: ModelLocation) -> Sniffed:
    """What lies there; a factory's weights have no architecture of their own."""
    return weights(location.path) if location.factory else sniff(location.path)


def open_sniffed(sniffed: Sniffed, location: ModelLocation) -> OpenedModel:
    """Check, rebuild and prove a model; see `mlopt.frameworks.open_model`."""
    budget = OPENING_BYTES + OPENING_FACTOR * files.size(sniffed.path)
    try:
        with memory.ceiling(budget):
            return _opened(sniffed, location)
    except MloptError:
        raise
    except (MemoryError, tf.errors.ResourceExhaustedError) as err:
        found = f"opening it takes more than {budget:,} bytes of memory"
        raise ModelUnreadable(sniffed.path, found, "It is damaged, or made to exhaust memory.") from err
    except Exception as err:     # a framework may raise anything over a damaged file; what it was stays the cause
        if legacy.is_of_the_system(err):
            raise
        found = f"it cannot be opened: {type(err).__name__}: {brief(err)}"
        raise ModelUnreadable(sniffed.path, found, "If the file is whole, save it again where it was trained.") from err


def _opened(sniffed: Sniffed, location: ModelLocation) -> OpenedModel:
    if location.factory:
        model = built(location)
        return wrapped(sniffed, model, f"built by {location.factory}", location.input_shapes)
    if sniffed.container is Container.SAVED_MODEL:
        from mlopt.frameworks.keras.saved_model.opening import open_folder

        return open_folder(sniffed, location)
    assert sniffed.config is not None
    customs = legacy.full_names(sniffed.config, resolve(sniffed, location.custom_objects))
    config = architecture.read(sniffed.path, sniffed.config, trust_code=location.trust_code, custom_names=customs)
    sniffed = replace(sniffed, config=config)          # nobody sees what the file says beside it
    model, loaded_by = rebuilt(sniffed, customs, trust_code=location.trust_code)
    layers.check_weights(sniffed, model)
    return wrapped(sniffed, model, loaded_by, location.input_shapes)


def built(location: ModelLocation) -> Any:
    """What the user's function builds, with the weights that lie beside it; a Keras 3 model as its twin, if it has one.

    Raises `ModelUnreadable` where the function gives something else, or the weights are another network's.
    """
    from mlopt.frameworks.keras import twin

    model = named_object(location.path, location.factory, "the function")()
    if not isinstance(model, tf_keras.Model | twin.keras.Model):
        raise ModelUnreadable(location.path, f"{location.factory} gave a {type(model).__name__} for it, no Keras model")
    try:
        model.load_weights(str(location.path))
    except legacy.LOADING_ERRORS as err:
        if legacy.is_of_the_system(err):
            raise
        found = f"its weights do not fit what {location.factory} builds: {brief(err)}"
        raise ModelUnreadable(location.path, found, "Give the weights that were saved from that network.") from err
    if isinstance(model, tf_keras.Model):
        return model
    try:
        made = twin.twin(model)
        twin.prove(model, made)
    except twin.NoTwin:
        return model
    return made


def rebuilt(sniffed: Sniffed, customs: Mapping[str, Any], *, trust_code: bool) -> tuple[Any, str]:
    """The model and who rebuilt it: the Keras that wrote the file first, the other one where that fails."""

    def by_tf_keras() -> tuple[Any, str]:
        zipped = sniffed.container is Container.KERAS_ZIP
        load = legacy.load_zip if zipped else legacy.load_h5
        return load(sniffed, customs, trust_code=trust_code), "tf_keras"

    def by_keras_3() -> tuple[Any, str]:
        from mlopt.frameworks.keras import twin

        return twin.load(sniffed, customs, trust_code=trust_code)

    wrote_3 = sniffed.keras_version.startswith("3")
    first, second = (by_keras_3, by_tf_keras) if wrote_3 else (by_tf_keras, by_keras_3)
    try:
        model, loaded_by = first()
    except legacy.LOADING_ERRORS as error:
        if legacy.is_of_the_system(error) or isinstance(error, tf.errors.ResourceExhaustedError):
            raise
        try:
            model, loaded_by = second()
        except legacy.LOADING_ERRORS:
            version = f"Keras {sniffed.keras_version}" if sniffed.keras_version else "an unnamed Keras"
            raise ModelUnreadable(
                sniffed.path,
                f"it was written by {version} and cannot be rebuilt: {brief(error)}",
                "If the file is whole, load it where it was trained and save it again as .keras or as a SavedModel.",
            ) from error
    if floats := legacy.other_floats(sniffed.config):
        loaded_by += f", {' and '.join(floats)} read as float32"
    return model, loaded_by


def brief(error: BaseException) -> str:
    """The first sentence of an error, for ours.

    >>> brief(ValueError("No such layer: x. Here is the whole config: ..."))
    'No such layer: x'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return re.split(r"(?<=[^.])\.(?=\s|$)", text)[0][:300]


def resolve(sniffed: Sniffed, texts: Sequence[str]) -> dict[str, Any]:
    """Import each "module:NAME" that the caller gave."""
    return {text.partition(":")[2]: named_object(sniffed.path, text, "its custom object") for text in texts}


def named_object(path: Path, text: str, what: str) -> Any:
    """Import "module:NAME" that the caller gave for a model."""
    module, _, name = text.partition(":")
    if not module or not name:
        raise BadRequest(f"{what} is given as module:NAME, e.g. my_layers:Swish; got {text!r}")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as err:
        found = f"{what} {text} cannot be imported: {err}"
        raise ModelUnreadable(path, found, "Check the name, and PYTHONPATH.") from err


def wrapped(sniffed: Sniffed, model: Any, loaded_by: str, input_shapes: Mapping[str, Sequence[int]]) -> OpenedModel:
    """A Keras model of either kind behind the protocol."""
    structure = layers.input_structure(model)
    form = layers.data_format(model)
    ins = layers.ports(structure, layers.input_names(model))
    in_names = named([name for name, _ in ins])
    specs = [tensor_spec(n, t.shape, layers.dtype_of(t), form) for n, (_, t) in zip(in_names, ins, strict=True)]
    specs = fixed(sniffed, specs, input_shapes)

    def call(given: dict[str, Any]) -> list[Any]:
        tensors = tf.nest.pack_sequence_as(structure, [given[name] for name in in_names])
        return tf.nest.flatten(model(tensors, training=False))

    outs = layers.ports(layers.output_structure(model), layers.output_names(model))
    shapes = [tuple(tensor.shape) for _, tensor in outs]
    if any(None in shape[1:] for shape in shapes):
        shapes = traced_shapes(call, specs)
    if any(None in shape[1:] for shape in shapes):
        open_ones = ", ".join(name for (name, _), shape in zip(outs, shapes, strict=True) if None in shape[1:])
        raise ModelUnreadable(sniffed.path, f"the size of its output {open_ones} depends on the values of its input")
    out_specs = [
        tensor_spec(n, shape, layers.real_dtype(t), form)
        for n, (_, t), shape in zip(named([name for name, _ in outs]), outs, shapes, strict=True)
    ]
    return OpenedModel(
        sniffed=sniffed,
        loaded_by=loaded_by,
        signature=Signature(inputs=tuple(specs), outputs=tuple(out_specs)),
        call=call,
        owners=lambda: layers.owners(model),
        weight_bytes=sniffed.weight_bytes,
        optimizer_bytes=sniffed.optimizer_bytes,
        parameters=int(model.count_params()),
        trackable=model,
        keras_model=model if isinstance(model, tf_keras.Model) else None,
    )


def traced_shapes(
    call: Callable[[dict[str, Any]], list[Any]], specs: Sequence[TensorSpec]
) -> list[tuple[int | None, ...]]:
    """Output shapes for the inputs' fixed sizes, from a symbolic run."""
    traced = tf.function(call, autograph=False).get_concrete_function(
        {s.name: tf.TensorSpec(s.shape, s.dtype) for s in specs}
    )
    return [tuple(output.shape.as_list()) for output in traced.structured_outputs]
