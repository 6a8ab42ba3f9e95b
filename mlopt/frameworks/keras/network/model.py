"""A `tf_keras` model behind the protocol that steps are written on."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import FitResult, FitTask, LabelLoss, OnEvent
from mlopt.frameworks.keras import layers as keras_layers
from mlopt.frameworks.keras.graph import applied_to
from mlopt.frameworks.keras.network import folding, leaving_out, narrowing, reading, renaming, saving
from mlopt.frameworks.keras.network.building import Built, assign, build
from mlopt.frameworks.keras.network.plan import Plan, filled, read
from mlopt.frameworks.keras.opening import open_sniffed, recognised, resolve
from mlopt.frameworks.keras.quiet import tf, tf_keras
from mlopt.frameworks.keras.sniff import Sniffed
from mlopt.frameworks.protocol import GriddedModel
from mlopt.grid import ActivationGrid
from mlopt.location import ModelLocation
from mlopt.model import Signature
from mlopt.network import Kept, Network, Weights
from mlopt.scheme import IntegerFormat

BATCH = 256          # rows at a time of what is predicted: speed, not memory, decides above it
PROOF_ROWS = 2
TOLERANCE = 1e-4     # of the largest output; another function differs far more


class KerasNetwork:
    """A `TrainableModel` over a flat functional model; of `weights` it takes those that `plan` needs.

    For those who train it: `plan` says what is called in which order, `built` holds the live layers, the variables by
    weight name and the symbolic tensors by node name, and `forward` runs them one by one.
    """

    def __init__(self, plan: Plan, weights: Weights, signature: Signature, built: Built | None = None) -> None:
        self.plan, self.signature = plan, signature
        self.built: Built = built or build(plan)
        missing = sorted(self.built.variables.keys() - weights.keys())
        if missing:
            raise ValueError(f"no values for the weights {', '.join(missing)}")
        assign(self.built, {name: weights[name] for name in self.built.variables})

    @property
    def keras_model(self) -> Any:
        """The live `tf_keras.Model`."""
        return self.built.model

    @property
    def variables(self) -> Mapping[str, Any]:
        """`tf.Variable` by weight name."""
        return self.built.variables

    @cached_property
    def network(self) -> Network:
        return reading.network(self.plan, self.built)

    @cached_property
    def output_activations(self) -> tuple[str, ...]:
        """What each output applies last, read from the graph as a source's are."""
        names = tuple(dict.fromkeys(self.plan.outputs))
        applied = dict(zip(names, map(applied_to, self._function(names).outputs), strict=True))
        return tuple(applied[name] for name in self.plan.outputs)

    def weights(self) -> dict[str, np.ndarray]:
        """Every weight by its name in `network`, copied."""
        return {name: np.array(variable.numpy()) for name, variable in self.variables.items()}

    def set_weights(self, weights: Weights) -> None:
        """Those that are named; shapes must fit."""
        assign(self.built, weights)

    def forward(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors of every node for tensors by input name of the signature, in inference mode; in a tf.function too."""
        values: dict[str, Any] = {
            spec.name: tf.cast(inputs[port.name], spec.dtype)
            for spec, port in zip(self.plan.inputs, self.signature.inputs, strict=True)
        }
        for call in self.plan.calls:
            layer = self.built.layers[call.layer]
            args, kwargs = filled((call.args, dict(call.kwargs)), values)
            if getattr(layer, "_expects_training_arg", False) and kwargs.get("training") is None:
                kwargs["training"] = False
            values.update(zip(call.nodes, tf.nest.flatten(layer(*args, **kwargs)), strict=True))
        return values

    def outputs_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Of what `forward` gives, the outputs by their names in the signature."""
        return {port.name: values[node] for port, node in zip(self.signature.outputs, self.plan.outputs, strict=True)}

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Float32 outputs [N, ...] by output name; inference mode."""
        found = self.activations(self.plan.outputs, inputs)
        return {
            port.name: np.asarray(found[node], np.float32)
            for port, node in zip(self.signature.outputs, self.plan.outputs, strict=True)
        }

    def activations(self, nodes: Sequence[str], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What these nodes give to their consumers, [N, ...] by node name; inference mode."""
        names = tuple(dict.fromkeys(nodes))
        unknown = [name for name in names if name not in self.built.tensors]
        if unknown:
            raise ValueError(f"the network has no node {', '.join(unknown)}; it has {', '.join(self.built.tensors)}")
        run, pieces = self._function(names), dict[str, list[np.ndarray]]((name, []) for name in names)
        count = len(next(iter(inputs.values())))
        for start in range(0, max(count, 1), BATCH):
            rows = [
                tf.constant(np.asarray(inputs[port.name][start : start + BATCH]).astype(spec.dtype, copy=False))
                for spec, port in zip(self.plan.inputs, self.signature.inputs, strict=True)
            ]
            for name, tensor in zip(names, run(*rows), strict=True):
                pieces[name].append(tensor.numpy())
        return {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in pieces.items()}

    def _function(self, nodes: tuple[str, ...]) -> Any:
        """A compiled function from a list of inputs to these nodes; the last few are kept."""
        kept = self.__dict__.setdefault("_functions", {})
        if nodes not in kept:
            if len(kept) >= 4:
                kept.pop(next(iter(kept)))
            tensors = self.built.tensors
            part = tf_keras.Model([tensors[spec.name] for spec in self.plan.inputs], [tensors[n] for n in nodes])
            specs = [tf.TensorSpec((None, *spec.shape), spec.dtype) for spec in self.plan.inputs]
            kept[nodes] = tf.function(
                lambda *rows: tf.nest.flatten(part(list(rows), training=False)), autograph=False
            ).get_concrete_function(*specs)
        return kept[nodes]

    def first_order_terms(
        self, samples: Path, output: str, loss: LabelLoss | None, *, count: int, seed: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """For each batch gradient * weight by name of each weight that is no statistic; see `TrainableModel`."""
        from mlopt.frameworks.keras.network.first_order import first_order_terms

        return first_order_terms(self, samples, output, loss, count=count, seed=seed)

    def narrowed(self, kept: Kept) -> "KerasNetwork":
        """With fewer channels: every weight cut to the indices that stay, the architecture rebuilt to fit."""
        weights = narrowing.cut(self.weights(), kept)
        return KerasNetwork(narrowing.narrowed(self.plan, self.network, kept), weights, self.signature)

    def without(self, nodes: Sequence[str]) -> "KerasNetwork":
        """Each of these nodes, and what only they need, replaced by an input of the same shape."""
        plan = leaving_out.without(self.plan, self.network, nodes, self._output_layers)
        return KerasNetwork(plan, self.weights(), self.signature)

    def renamed(self, signature: Signature) -> "KerasNetwork":
        """Its inputs and outputs by the names of another signature, in the same order."""
        plan, names = renaming.renamed(
            self.plan, [port.name for port in signature.inputs], [port.name for port in signature.outputs]
        )
        values = {
            names.get(layer, layer) + name.removeprefix(layer): self.variables[name].numpy()
            for layer, owned in self.built.owned.items() for name in owned
        }
        mine = self.signature
        return KerasNetwork(plan, values, Signature(
            inputs=tuple(replace(a, name=b.name) for a, b in zip(mine.inputs, signature.inputs, strict=True)),
            outputs=tuple(replace(a, name=b.name) for a, b in zip(mine.outputs, signature.outputs, strict=True)),
        ))

    def folded(self) -> "KerasNetwork":
        """The same function at inference, batch normalization folded away: see `folding`."""
        plan, weights = folding.folded(
            self.plan, self.network, self.weights(), self.built.layers, self._output_layers
        )
        return KerasNetwork(plan, weights, self.signature)

    def on_grid(
        self,
        activations: Mapping[str, ActivationGrid],
        kernels: Mapping[str, IntegerFormat],
        *,
        shared: Sequence[Sequence[str]] = (),
        learned: Collection[str] = (),
    ) -> GriddedModel:
        from mlopt.frameworks.keras.grid.model import gridded

        return gridded(self, activations, kernels, shared=shared, learned=learned)

    def fit(self, task: FitTask, on_event: OnEvent) -> FitResult:
        from mlopt.frameworks.keras.fitting.loop import fit

        return fit(self, task, on_event)

    def save(self, folder: Path) -> None:
        """`model.h5` in `folder`, a legacy Keras file without optimizer state."""
        saving.save(self.keras_model, folder)

    @property
    def _output_layers(self) -> list[str]:
        return keras_layers.output_names(self.keras_model)


def open_trainable(location: ModelLocation) -> KerasNetwork:
    """See `mlopt.frameworks.open_trainable`."""
    sniffed = recognised(location)
    opened = open_sniffed(sniffed, location)
    if opened.keras_model is None:
        raise BadRequest(f"{location.path}: {_why_not(opened.loaded_by)}")
    return trainable(opened.keras_model, opened.signature, customs=_customs(sniffed, location.custom_objects))


def trainable(model: Any, signature: Signature, customs: Mapping[str, Any] | None = None) -> KerasNetwork:
    """A functional or sequential `tf_keras` model taken apart, and proven to be the same."""
    plan, values = read(model, [port.shape for port in signature.inputs], customs or {})
    built = build(plan)
    weights = {
        name: value
        for layer, arrays in values.items() if layer in built.owned
        for name, value in zip(built.owned[layer], arrays, strict=True)
    }
    made = KerasNetwork(plan, weights, signature, built)
    _prove(model, made)
    return made


def _customs(sniffed: Sniffed, texts: Sequence[str]) -> dict[str, Any]:
    from mlopt.frameworks.keras.legacy import full_names

    return full_names(sniffed.config or {}, resolve(sniffed, texts))


def _why_not(loaded_by: str) -> str:
    if loaded_by.startswith("keras 3"):
        _, _, reason = loaded_by.partition("no tf_keras twin: ")
        return (
            f"recipes change models in the legacy Keras, and this Keras 3 model has no counterpart there"
            f" ({reason.removesuffix(')') or 'it could not be rebuilt'}). Compress it without a recipe."
        )
    return (
        "recipes change a model layer by layer, and a SavedModel holds none: it is a graph. Give the .h5 or .keras file"
        " that it was exported from, or compress it without a recipe."
    )


def _prove(model: Any, made: KerasNetwork) -> None:
    """Both on the same seeded rows; raises `BadRequest` where an output differs."""
    random = np.random.default_rng(0)
    rows = [
        random.standard_normal((PROOF_ROWS, *spec.shape)).astype(spec.dtype)
        if np.dtype(spec.dtype).kind == "f"
        else random.integers(0, 2, (PROOF_ROWS, *spec.shape)).astype(spec.dtype)
        for spec in made.plan.inputs
    ]
    tensors = tf.nest.pack_sequence_as(model.input, [tf.constant(row) for row in rows])
    wanted = [np.asarray(output) for output in tf.nest.flatten(model(tensors, training=False))]
    got = made.predict({port.name: row for port, row in zip(made.signature.inputs, rows, strict=True)})
    for port, one in zip(made.signature.outputs, wanted, strict=True):
        size = max(float(np.abs(one).max()), 1e-6)
        error = float(np.abs(one - got[port.name]).max()) / size
        if not error <= TOLERANCE:
            raise BadRequest(
                f"{model.name} cannot be taken apart: rebuilt layer by layer, its output {port.name} differs by"
                f" {error:.1e} of its size. Compress it without a recipe, and report the layers that it has."
            )
