"""An opened Keras model, legacy or Keras 3, behind the protocol that exporters build on."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mlopt import files
from mlopt.errors import BadRequest, ModelUnreadable
from mlopt.frameworks.keras import graph
from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.keras.sniff import Sniffed
from mlopt.model import Signature, SourceModel, TensorSpec


class OpenedModel:
    """A `TensorFlowModel`: `call` maps tensors by input name to the outputs in the signature's order."""

    def __init__(
        self,
        *,
        sniffed: Sniffed,
        loaded_by: str,
        signature: Signature,
        call: Callable[[dict[str, Any]], Sequence[Any]],
        owners: Callable[[], list[graph.Owner]],
        weight_bytes: int,
        optimizer_bytes: int,
        parameters: int,
        trackable: Any,
        keras_model: Any = None,
        loaded: Any = None,
        owner_of: Mapping[str, str] | None = None,
    ) -> None:
        self.sniffed, self.loaded_by, self.signature = sniffed, loaded_by, signature
        self.keras_model = keras_model       # a tf_keras.Model, what training-time steps need; None where there is none
        self._loaded = loaded                # a SavedModel as TensorFlow loaded it
        self.trackable = trackable           # the TensorFlow object that owns the variables
        self._owner_of = owner_of            # for weights that are constants of the graph: see graph.flatten
        self._call, self._owners = call, owners
        self._bytes, self._parameters = (weight_bytes, optimizer_bytes), parameters
        self._concrete: dict[int | None, Any] = {}

    def concrete_function(self, batch: int | None) -> Any:
        """A `tf.ConcreteFunction` with `batch` rows (None: any), inputs and outputs named as in the signature."""
        if batch not in self._concrete:
            specs = [tf.TensorSpec((batch, *s.shape[1:]), s.dtype, name=s.name) for s in self.signature.inputs]

            @tf.function(input_signature=specs, autograph=False)
            def serve(*tensors: Any) -> dict[str, Any]:
                given = dict(zip((s.name for s in self.signature.inputs), tensors, strict=True))
                return {
                    s.name: tf.identity(tf.cast(output, s.dtype), name=f"{s.name}_out")
                    for s, output in zip(self.signature.outputs, self._call(given), strict=True)
                }

            self._concrete[batch] = serve.get_concrete_function()
        return self._concrete[batch]

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Float32 outputs [N, ...] by output name, for inputs [N, ...] by input name; inference mode."""
        tensors = [tf.constant(inputs[s.name], dtype=s.dtype) for s in self.signature.inputs]
        outputs = self.concrete_function(None)(*tensors)
        return {s.name: np.asarray(outputs[s.name].numpy(), np.float32) for s in self.signature.outputs}

    def synthesise(self, count: int, seed: int) -> tuple[dict[str, np.ndarray], str]:
        """Inputs [count, ...] made from the model itself, and one sentence on how and how far to trust them."""
        from mlopt.frameworks.keras import synthesis

        any_batch = graph.flatten(self.concrete_function(None), self._owners(), self._owner_of)
        return synthesis.synthesise(any_batch, self.signature, self.source.macs, count=count, seed=seed)

    @cached_property
    def flat(self) -> graph.FlatGraph:
        """The network as one flat graph for one sample, its weights as constants."""
        return graph.flatten(self.concrete_function(1), self._owners(), self._owner_of)

    @cached_property
    def source(self) -> SourceModel:
        layers = graph.layer_facts(self.flat, self._owners())
        return SourceModel(
            path=self.sniffed.path,
            framework="keras",
            container=self.sniffed.container.value,
            loaded_by=self.loaded_by,
            digest=files.digest(self.sniffed.path),
            file_bytes=files.size(self.sniffed.path),
            weight_bytes=self._bytes[0],
            optimizer_bytes=self._bytes[1],
            parameters=self._parameters,
            macs=sum(layer.macs for layer in layers),
            signature=self.signature,
            output_activations=tuple(graph.activation_of(self.flat, s.name) for s in self.signature.outputs),
            layers=layers,
        )


def named(names: Sequence[str]) -> list[str]:
    """Names that every exported format can hold: letters, digits and underscores, unique, not starting with a digit.

    >>> named(["image", "block/out:0", "block_out_0", "3d"])
    ['image', 'block_out', 'block_out_0', 'x3d']
    """
    taken: list[str] = []
    for raw in names:
        name = re.sub(r"[^A-Za-z0-9_]+", "_", raw.removesuffix(":0")).strip("_") or "tensor"
        name = f"x{name}" if name[0].isdigit() else name
        unique, count = name, 0
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.append(unique)
    return taken


def layout_of(shape: Sequence[int | None], dtype: str, data_format: str = "channels_last") -> str:
    """One letter an axis: what is conventional for the rank, "?" where there is no convention.

    >>> layout_of((None, 32, 32, 3), "float32"), layout_of((None, 16), "int32"), layout_of((None,), "float32")
    ('NHWC', 'NT', 'N')
    """
    rank = len(shape)
    if np.dtype(dtype).kind in "iu" and rank == 2:
        return "NT"                      # token ids
    first = data_format == "channels_first"
    known = {1: "N", 2: "NC", 3: "NCT" if first else "NTC", 4: "NCHW" if first else "NHWC"}
    return known.get(rank, "N" + "?" * (rank - 1))


def tensor_spec(name: str, shape: Sequence[int | None], dtype: str, data_format: str = "channels_last") -> TensorSpec:
    sizes = (None, *(None if d is None else int(d) for d in shape[1:]))
    return TensorSpec(name=name, shape=sizes, dtype=dtype, layout=layout_of(sizes, dtype, data_format))


def fixed(sniffed: Sniffed, specs: Sequence[TensorSpec], input_shapes: Mapping[str, Sequence[int]]) -> list[TensorSpec]:
    """The inputs with every dimension but the batch known; `input_shapes` (batch first) fills the free ones."""
    unknown = set(input_shapes) - {spec.name for spec in specs}
    if unknown:
        have = ", ".join(spec.describe() for spec in specs)
        raise BadRequest(f"--input-shape: no input is called {', '.join(sorted(unknown))}; the model has {have}")
    done = []
    for spec in specs:
        shape = spec.shape
        if spec.name in input_shapes:
            given = tuple(input_shapes[spec.name])
            if len(given) != len(shape) or any(o not in (None, g) for o, g in zip(shape[1:], given[1:], strict=True)):
                raise BadRequest(f"--input-shape: the shape {given} does not fit the input {spec.describe()}")
            shape = (None, *given[1:])
        if None in shape[1:]:
            axes = [f"{spec.layout[i]} (axis {i})" for i, d in enumerate(shape) if i and d is None]
            example = ",".join("1" if i == 0 else str(d) if d else "SIZE" for i, d in enumerate(shape))
            raise ModelUnreadable(
                sniffed.path,
                f"its input {spec.describe()} leaves {' and '.join(axes)} open, and exported files need a size",
                f"Give one: --input-shape {spec.name}={example}",
            )
        done.append(TensorSpec(name=spec.name, shape=shape, dtype=spec.dtype, layout=spec.layout))
    return done
