"""Whom a student listens to: frozen models in the same graph, or outputs that were computed before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import outputs as what
from mlopt.data.samples import file_name
from mlopt.errors import BadRequest, DataUnreadable
from mlopt.frameworks.keras import layers as keras_layers
from mlopt.frameworks.keras.fitting.heads import SMALLEST, head_of, scores
from mlopt.frameworks.keras.fitting.student import node_tensors
from mlopt.frameworks.keras.graph import applied_to
from mlopt.frameworks.keras.quiet import convert_variables_to_constants_v2, tf, tf_keras
from mlopt.location import ModelLocation
from mlopt.model import Signature, TensorSpec
from mlopt.outputs import Head

SMALLEST_STORED = 1e-37         # the smallest probability a float32 softmax gives


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A model as a frozen function of the student's inputs."""

    path: Path
    run: Callable[[Mapping[str, Any]], tuple[dict[str, Any], dict[str, Any]]]      # scores by output, nodes by name
    heads: Mapping[str, Head]           # by the student's output names


def opened(
    location: ModelLocation, signature: Signature, outputs: Sequence[str], nodes: Sequence[str],
    sample: Mapping[str, np.ndarray],
) -> Teacher:
    """Open a model file as a teacher; raises `BadRequest` where it takes or gives something else than the student.

    Inputs and outputs are matched by name, by order where names differ; `sample` holds some of the student's inputs.
    Its variables become constants, so that batch normalization is folded and nothing of it is trained.
    """
    path = location.path
    model, call, places = _function(location, nodes)
    taken = _matched(path, "takes", signature.inputs, model.signature.inputs)
    if len(taken) != len(model.signature.inputs):
        have = ", ".join(spec.describe() for spec in model.signature.inputs)
        raise BadRequest(f"the teacher {path} takes {have}, more than the student. Give another teacher.")
    given = _matched(path, "gives", [s for s in signature.outputs if s.name in outputs], model.signature.outputs)
    heads: dict[str, Head] = {}
    applied: dict[str, str] = {}
    its_place = {its.name: i for i, (_, its) in enumerate(taken)}
    specs = [tf.TensorSpec((None, *its.shape[1:]), its.dtype) for _, its in taken]

    @tf.function(autograph=False, input_signature=specs)
    def before_heads(*flat: Any) -> list[Any]:
        values = call([flat[its_place[spec.name]] for spec in model.signature.inputs])
        done = []
        for mine, its in given:
            value = values[places.index(its.name)]
            heads[mine.name], applied[mine.name] = head_of(value), applied_to(value)
            done.append(tf.cast(scores(value, heads[mine.name]), tf.float32))
        return [*done, *values[len(places) :]]

    frozen = convert_variables_to_constants_v2(before_heads.get_concrete_function())
    names = [mine.name for mine, _ in given]

    def apply(inputs: Mapping[str, Any]) -> list[Any]:
        return tf.nest.flatten(frozen(*(tf.cast(inputs[mine.name], its.dtype) for mine, its in taken)))

    hidden: dict[str, Head] = {}
    if Head.PLAIN in heads.values():
        seen = apply({name: tf.constant(array) for name, array in sample.items()})
        hidden = {
            name: what.head_of(applied[name], value.numpy()) for name, value in zip(names, seen, strict=False)
            if heads[name] is Head.PLAIN
        }

    def run(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        values = [tf.stop_gradient(value) for value in apply(inputs)]
        own = dict(zip(names, values, strict=False))
        own |= {name: as_scores(own[name], head) for name, head in hidden.items()}
        return own, dict(zip(nodes, values[len(names) :], strict=True))

    return Teacher(path=path, run=run, heads={**heads, **hidden})


def _function(
    location: ModelLocation, nodes: Sequence[str]
) -> tuple[Any, Callable[[Sequence[Any]], list[Any]], list[str]]:
    """The model, its call on a flat list of inputs giving outputs and then nodes, and its outputs' names."""
    from mlopt.frameworks import open_model, open_trainable

    model: Any = open_trainable(location) if nodes else open_model(location)
    names = [spec.name for spec in model.signature.outputs]
    keras_model = model.keras_model
    if nodes:
        tensors = node_tensors(model.built.tensors, nodes, "teacher")
        ends = [*tf.nest.flatten(keras_model.outputs), *(tensors[name] for name in nodes)]
        keras_model = tf_keras.Model(keras_layers.input_structure(keras_model), ends)

    def call(flat: Sequence[Any]) -> list[Any]:
        if keras_model is None:                 # a SavedModel
            found = model.concrete_function(None)(*flat)
            return [found[name] for name in names]
        given = tf.nest.pack_sequence_as(keras_layers.input_structure(model.keras_model), list(flat))
        return tf.nest.flatten(keras_model(given, training=False))

    return model, call, names


def _matched(
    path: Path, verb: str, mine: Sequence[TensorSpec], its: Sequence[TensorSpec]
) -> list[tuple[TensorSpec, TensorSpec]]:
    """Pairs; by name, else by order. Raises `BadRequest` where shapes differ."""
    by_name = {spec.name: spec for spec in its}
    same = all(spec.name in by_name for spec in mine)
    if not same and len(its) < len(mine):
        have = ", ".join(spec.describe() for spec in its)
        raise BadRequest(f"the teacher {path} {verb} {have}; the student has {len(mine)}. Give another teacher.")
    pairs = [(spec, by_name[spec.name] if same else its[i]) for i, spec in enumerate(mine)]
    for spec, other in pairs:
        if spec.shape[1:] != other.shape[1:]:
            raise BadRequest(
                f"the teacher {path} {verb} {other.describe()}, and the student {spec.describe()}: they must have the"
                " same shape. Give another teacher."
            )
    return pairs


def cached(folder: Path, signature: Signature, outputs: Sequence[str], count: int) -> dict[str, np.ndarray]:
    """Outputs computed before, mapped; raises where they are missing or do not fit the student and its samples."""
    found = {}
    for spec in signature.outputs:
        if spec.name not in outputs:
            continue
        file = folder / file_name(spec.name)
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as err:
            raise DataUnreadable(file, f"no outputs of a teacher: {err}", "Compute them again.") from err
        if array.dtype not in (np.float32, np.float16):
            raise DataUnreadable(file, f"a teacher's outputs as {array.dtype}, not float32 or float16")
        if len(array) != count:
            raise BadRequest(f"{file} holds a teacher's outputs for {len(array):,} samples; there are {count:,}")
        if array.shape[1:] != tuple(d or 1 for d in spec.shape[1:]):
            raise BadRequest(
                f"{file} holds outputs of the shape {list(array.shape[1:])} and the student gives {spec.describe()}:"
                " the teacher knows other classes. Give another teacher."
            )
        found[spec.name] = array
    return found


def stored_heads(outputs: Mapping[str, np.ndarray]) -> dict[str, Head]:
    return {name: what.looks_like(array) for name, array in outputs.items()}


def agreed(values: Sequence[Any], heads: Sequence[Head], kind: Head) -> Any:
    """What several teachers say together, from their scores: log probabilities for SOFTMAX, scores of the mean
    probability for SIGMOID, the mean for PLAIN. A teacher's PLAIN outputs are read as the student's `kind`.
    """
    if kind is Head.PLAIN:
        own = [tf.nn.softmax(v) if h is Head.SOFTMAX else tf.sigmoid(v) if h is Head.SIGMOID else v
               for v, h in zip(values, heads, strict=True)]
        return tf.add_n(own) / len(own)
    if kind is Head.SOFTMAX:
        logs = [tf.nn.log_softmax(value) for value in values]
        return logs[0] if len(logs) == 1 else tf.reduce_logsumexp(tf.stack(logs), 0) - np.log(len(logs))
    if len(values) == 1:
        return values[0]
    mean = tf.clip_by_value(tf.add_n([tf.sigmoid(value) for value in values]) / len(values), SMALLEST, 1 - SMALLEST)
    return tf.math.log(mean) - tf.math.log1p(-mean)


def as_scores(stored: Any, head: Head) -> Any:
    """Scores of stored outputs; probabilities that vanished in storage are cut at the smallest number there is."""
    value = tf.cast(stored, tf.float32)
    if head is Head.SOFTMAX:
        return tf.math.log(tf.maximum(value, 6e-8 if stored.dtype == tf.float16 else SMALLEST_STORED))
    if head is Head.SIGMOID:
        clipped = tf.clip_by_value(value, SMALLEST, 1 - SMALLEST)
        return tf.math.log(clipped) - tf.math.log1p(-clipped)
    return value
