"""Files whose numbers are those of a trained grid: nothing is searched, evened out, rounded again or corrected."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.convert.trained import SAYS, Kernel, OnGrid, affine, factor_notes, kernels_on, nodes_of
from mlopt.grid import ActivationGrid, Grid
from mlopt_tflite import flatfile, full_integer, ranges, weight_files
from mlopt_tflite.engine import Engine
from mlopt_tflite.full_integer import Written
from mlopt_tflite.low_bits import FOUR_BITS
from mlopt_tflite.observe import Observed, activations
from mlopt_tflite.scales import data_operands, integer_ops
from mlopt_tflite.settle import settle
from mlopt_tflite.spread import passing, prescribed, spread
from mlopt_tflite.static import Lowered, lower
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import WEIGHTED, Quantized, layers, spanned, weight_of

FOUR_BITS_INTEGER = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})   # 4-bit kernels on int8 activations


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A float file with the grid of its network. `kernels` are by operation; `observe` runs the samples, if asked."""

    model: Model
    content: bytes
    grid: Grid
    kernels: Mapping[int, OnGrid]
    observe: Callable[[], Observed]

    @classmethod
    def of(cls, float_file: Path, grid: Grid, observe: Callable[[], Observed]) -> "Trained":
        """Raises `GridMismatch` where a node's kernel is not in the file."""
        content = float_file.read_bytes()
        model = flatfile.parse(content, float_file)
        kernels = {
            layer.op: Kernel(
                values=weight_of(model, layer), axis=layer.axis, label=layer.label,
                depthwise=layer.kind == "DEPTHWISE_CONV_2D",
            )
            for layer in layers(model)
        }
        return cls(model=model, content=content, grid=grid, kernels=kernels_on(kernels, grid), observe=observe)

    def weights(self, four: frozenset[str]) -> dict[int, Quantized]:
        """By operation; 4-bit numbers are stored in 4 bits for the kinds in `four` and in 8 bits elsewhere."""
        found = {}
        for layer in layers(self.model):
            on = self.kernels.get(layer.op)
            if on is None:
                found[layer.op] = spanned(weight_of(self.model, layer), layer.axis, 8)
            else:
                bits = on.bits if layer.kind in four else 8
                found[layer.op] = Quantized(values=on.whole, scale=on.steps, axis=layer.axis, bits=bits)
        return found

    def spans(self) -> dict[int, ActivationGrid]:
        """Trained ranges by tensor, where the probes give the values of a node that has one."""
        inputs, nodes = self.grid.probe_inputs(), self.grid.probe_outputs()
        engine, values = Engine(self.content, keep_all=True), dict[int, list[np.ndarray]]()
        for row in range(len(next(iter(inputs.values())))):
            engine.stage({name: array[row : row + 1] for name, array in inputs.items()})
            engine.invoke()
            for tensor in _in_running_order(self.model):
                if engine.readable(tensor):
                    values.setdefault(tensor, []).append(engine.tensor(tensor))
        wanted = {name: nodes[name] for name in self.grid.activations if name in nodes}
        found = nodes_of({tensor: (np.stack(rows),) for tensor, rows in values.items()}, wanted)
        return {tensor: self.grid.activations[name] for tensor, name in found.items()}


def _integer_file(trained: Trained, *, four: frozenset[str]) -> Written:
    """Everything in integers; where the grid has no ranges at all, those of the samples are searched."""
    weights = trained.weights(four)
    if not trained.grid.activations:
        model, choices, notes = full_integer.make_integer(trained.observe(), "int8", weights=weights)
        return model, choices | _described(trained, weights), (*notes, *_weight_notes(trained, weights, four))
    spans, trained_ones, notes = _every_span(trained)
    model, own = trained.model, _prescribed(trained.model)
    found = {tensor: (span.low, span.high) for tensor, span in (spans | own).items()}
    pinned = {tensor: _signed(span) for tensor, span in spans.items()}
    refused: set[int] = set()

    def build(in_float: Set[int]) -> Lowered:
        refused.update(in_float)
        return lower(model, "int8", ranges=found, weights=weights, in_float=in_float, pinned=pinned)

    _, told = settle(model, lambda in_float: build(in_float).model)
    last = build(frozenset(refused))
    choices = _described(trained, weights)
    choices["ranges"] = f"trained grid: {trained_ones} of {len(found)} tensors, the others by their operations"
    notes = (*notes, *told, *_weight_notes(trained, weights, four), *_raised(trained, last, weights),
             *full_integer.in_float_notes(model, last, frozenset(refused), "int8"))
    return full_integer.compacted(last, weights), choices, notes


def _weights_file(trained: Trained) -> Written:
    """Trained weights, stored in 8 bits and unpacked when the file is loaded."""
    weights, tables = trained.weights(frozenset()), weight_files.tables(trained.model)
    model = weight_files.with_tables(weight_files.unpacked(trained.model, weights, {}), tables)
    choices = _described(trained, weights) | {"activations": "float"}
    return model, choices, _weight_notes(trained, weights, frozenset())


def _dynamic_file(trained: Trained, *, four: frozenset[str]) -> Written:
    """Trained weights; activations are floats, rounded to 8 bits at run time."""
    weights, tables = trained.weights(four), weight_files.tables(trained.model)
    model, refused = settle(
        trained.model,
        lambda in_float: weight_files.with_tables(weight_files.dynamic(trained.model, weights, in_float), tables),
    )
    choices = _described(trained, weights) | {"activations": "rounded to 8 bits at run time"}
    return model, choices, (*refused, *_weight_notes(trained, weights, four))


def _every_span(trained: Trained) -> tuple[dict[int, ActivationGrid], int, tuple[str, ...]]:
    """A range for every tensor that becomes an integer, how many of them are nodes' own, and a note on observed ones.

    Ranges that a kernel prescribes are left out. What training did not round takes what the samples reach.
    """
    model, order = trained.model, _in_running_order(trained.model)
    integer, fixed, matched = _integer(model), _prescribed(model), trained.spans()
    spans = spread(model, integer, matched, fixed)
    graph = model.subgraphs[0]
    needed = {int(i) for i in (*graph.inputs, *graph.outputs)}
    for op in flatfile.ops(model):
        if op.index in integer:
            needed |= {*op.outputs, *data_operands(model, op)}
    lacking = [t for t in order if t in needed and t not in spans and t not in fixed]
    count = len(needed & matched.keys() - fixed.keys())
    if not lacking:
        return spans, count, ()
    observed = ranges.ranges_of(trained.observe(), "min-max")
    passed_on = {out for op in passing(model, integer) for out in op.outputs}
    roots = [t for t in lacking if t in observed and t not in passed_on]
    seen = {t: ActivationGrid(low=min(observed[t][0], 0.0), high=max(observed[t][1], 0.0)) for t in roots}
    makers = {out: f"{op.name}#{op.index}" for op in flatfile.ops(model) for out in op.outputs}
    names = ", ".join(makers.get(t, "an input") for t in roots)
    note = f"training rounds nothing at {names}: the range there is what the samples reach"
    return spread(model, integer, spans | seen, fixed), count, (note,)


def _integer(model: Model) -> set[int]:
    return integer_ops(model, "int8", frozenset(), set(activations(model)))


def _prescribed(model: Model) -> dict[int, ActivationGrid]:
    return prescribed(model, _integer(model))


def _signed(span: ActivationGrid) -> tuple[float, int]:
    scale, zero = affine(span)
    return scale, zero - 128


def _in_running_order(model: Model) -> list[int]:
    """Float activations: inputs first, then what each operation makes."""
    floats, graph = set(activations(model)), model.subgraphs[0]
    order = [int(i) for i in graph.inputs] + [i for op in flatfile.ops(model) for i in op.outputs]
    return [i for i in dict.fromkeys(order) if i in floats]


def _described(trained: Trained, weights: Mapping[int, Quantized]) -> dict[str, str]:
    bits = [trained.kernels[op].bits for op in weights if op in trained.kernels]
    stored = [q.bits for op, q in weights.items() if op in trained.kernels]
    counts = ", ".join(f"{n} bits in {bits.count(n)} layers" for n in (4, 8) if n in bits)
    inside = "" if bits == stored else f", of which {stored.count(4)} are stored in 4 bits and {stored.count(8)} in 8"
    return {
        "weights": f"trained grid: {counts}{inside}",
        "rounding": SAYS,
        "bias": SAYS,
        "equalization": "none: it would leave the trained grid",
    }


def _weight_notes(trained: Trained, weights: Mapping[int, Quantized], four: frozenset[str]) -> tuple[str, ...]:
    """On layers that training did not round, and on those that `four` leaves out: LiteRT cannot run their 4 bits."""
    known = {layer.op: layer for layer in layers(trained.model)}
    free = [layer.label for op, layer in known.items() if op not in trained.kernels]
    notes = [f"{', '.join(free)} are not on the trained grid: rounded to 8 bits, to the nearest"] if free else []
    if four:
        wide = [known[op].label for op, on in trained.kernels.items() if on.bits == 4 and weights[op].bits == 8]
        if wide:
            notes.append(f"{', '.join(wide)} store trained 4-bit weights in 8 bits: LiteRT has no 4-bit kernel there")
    return (*notes, *factor_notes(trained.kernels.values()))


def _raised(trained: Trained, lowered: Lowered, weights: Mapping[int, Quantized]) -> tuple[str, ...]:
    """Read back: a note on each layer whose steps had to be raised for a bias that its 32 bits would not hold."""
    graph, notes = lowered.model.subgraphs[0], []
    by_source = {source: op for op, source in enumerate(lowered.source) if source is not None}
    for layer in layers(trained.model):
        tensor = graph.tensors[graph.operators[by_source[layer.op]].inputs[WEIGHTED[layer.kind][1]]]
        if flatfile.type_name(tensor) == "float32" or layer.op not in trained.kernels:
            continue
        wanted = weights[layer.op]
        if not np.array_equal(flatfile.constant(lowered.model, tensor), wanted.values):
            assert tensor.quantization is not None      # integer weights have scales
            moved = int((np.asarray(tensor.quantization.scale) != wanted.scale).sum())
            notes.append(
                f"{layer.label} ({trained.kernels[layer.op].node}): {moved} channels leave the trained grid, since "
                "their bias is too large for their steps"
            )
    return tuple(notes)


BY_GRID: Mapping[str, Callable[[Trained], Written]] = {
    "int8": lambda trained: _integer_file(trained, four=frozenset()),
    "int8-dynamic": lambda trained: _dynamic_file(trained, four=frozenset()),
    "int8-weights": _weights_file,
    "mixed-4-8": lambda trained: _dynamic_file(trained, four=FOUR_BITS),
    "int8-mixed-4-8": lambda trained: _integer_file(trained, four=FOUR_BITS_INTEGER),
}
