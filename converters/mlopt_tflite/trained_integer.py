"""Full-integer files of a trained grid: its ranges, spread to the tensors that share or follow from them."""

from collections.abc import Mapping, Set

import numpy as np

from mlopt.convert.trained import affine, nodes_of
from mlopt.grid import ActivationGrid
from mlopt_tflite import flatfile, full_integer, ranges
from mlopt_tflite.engine import Engine
from mlopt_tflite.observe import Observe, activations
from mlopt_tflite.scales import data_operands, integer_ops
from mlopt_tflite.settle import settle
from mlopt_tflite.spread import passing, prescribed, spread
from mlopt_tflite.static import Lowered, lower
from mlopt_tflite.tables import Model
from mlopt_tflite.trained import Trained, described, weight_notes
from mlopt_tflite.weights import WEIGHTED, Quantized, layers
from mlopt_tflite.written import Written


def integer_file(trained: Trained, observe: Observe, *, four: frozenset[str]) -> Written:
    """Everything in integers; where the grid has no ranges at all, those of the samples are searched."""
    weights = trained.weights(four)
    if not trained.grid.activations:
        model, choices, notes = full_integer.make_integer(observe(), "int8", weights=weights)
        return model, choices | described(trained, weights), (*notes, *weight_notes(trained, weights, four))
    spans, trained_ones, notes = _every_span(trained, observe)
    model, own = trained.model, _prescribed(trained.model)
    found = {tensor: (span.low, span.high) for tensor, span in (spans | own).items()}
    pinned = {tensor: _signed(span) for tensor, span in spans.items()}
    refused: set[int] = set()

    def build(in_float: Set[int]) -> Lowered:
        refused.update(in_float)
        return lower(model, "int8", ranges=found, weights=weights, in_float=in_float, pinned=pinned)

    _, told = settle(model, lambda in_float: build(in_float).model)
    last = build(frozenset(refused))
    choices = described(trained, weights)
    choices["ranges"] = f"trained grid: {trained_ones} of {len(found)} tensors, the others by their operations"
    notes = (*notes, *told, *weight_notes(trained, weights, four), *_raised(trained, last, weights),
             *full_integer.in_float_notes(model, last, frozenset(refused), "int8"))
    return full_integer.compacted(last, weights), choices, notes


def _every_span(trained: Trained, observe: Observe) -> tuple[dict[int, ActivationGrid], int, tuple[str, ...]]:
    """A range for every tensor that becomes an integer, how many of them are nodes' own, and a note on observed ones.

    Ranges that a kernel prescribes are left out. What training did not round takes what the samples reach.
    """
    model, order = trained.model, _in_running_order(trained.model)
    integer, fixed, matched = _integer(model), _prescribed(model), _spans(trained)
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
    observed = ranges.ranges_of(observe(), "min-max")
    passed_on = {out for op in passing(model, integer) for out in op.outputs}
    roots = [t for t in lacking if t in observed and t not in passed_on]
    seen = {t: ActivationGrid(low=min(observed[t][0], 0.0), high=max(observed[t][1], 0.0)) for t in roots}
    makers = {out: f"{op.name}#{op.index}" for op in flatfile.ops(model) for out in op.outputs}
    names = ", ".join(makers.get(t, "an input") for t in roots)
    note = f"training rounds nothing at {names}: the range there is what the samples reach"
    return spread(model, integer, spans | seen, fixed), count, (note,)


def _spans(trained: Trained) -> dict[int, ActivationGrid]:
    """Trained ranges by tensor, where the probes give the values of a node that has one."""
    inputs, nodes = trained.grid.probe_inputs(), trained.grid.probe_outputs()
    engine, values = Engine(trained.content, keep_all=True), dict[int, list[np.ndarray]]()
    for row in range(len(next(iter(inputs.values())))):
        engine.stage({name: array[row : row + 1] for name, array in inputs.items()})
        engine.invoke()
        for tensor in _in_running_order(trained.model):
            if engine.readable(tensor):
                values.setdefault(tensor, []).append(engine.tensor(tensor))
    wanted = {name: nodes[name] for name in trained.grid.activations if name in nodes}
    found = nodes_of({tensor: (np.stack(rows),) for tensor, rows in values.items()}, wanted)
    return {tensor: trained.grid.activations[name] for tensor, name in found.items()}


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
