"""The ranges that a training on the grid begins with: those that training samples reach, cut where that helps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlopt import ranges
from mlopt.data.samples import Samples
from mlopt.distribution import Distribution
from mlopt.errors import BadRequest
from mlopt.frameworks.protocol import TrainableModel
from mlopt.grid import ActivationGrid
from mlopt.network import Kind
from mlopt.ranges import Range, least_squares, min_max, percentile
from mlopt.steps.quantize.plan import Group, groups

NOTHING = 1e-12     # a range narrower than this holds no signal
CUTS: Mapping[str, Callable[[Distribution], Range]] = {
    "min-max": min_max,
    "percentile 99.99": lambda values: percentile(values, 99.99),
    "least squared error": least_squares,
}


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """As `TrainableModel.on_grid` takes them."""

    name: str                                   # one of CUTS
    grids: Mapping[str, ActivationGrid]
    shared: tuple[tuple[str, ...], ...]
    learned: tuple[str, ...]


UNROUNDED = Ranges(name="none: activations stay floats", grids={}, shared=(), learned=())


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the values of each group were seen to be."""

    groups: tuple[Group, ...]
    values: Mapping[str, Distribution]          # by name of the value


def observe(model: TrainableModel, batches: Sequence[Mapping[str, np.ndarray]]) -> Observed:
    """Run the batches. Raises `BadRequest` where a value is not finite. Values of whole numbers are not rounded."""
    open_ = model.on_grid({}, {})               # rounds nothing, and tells what stands before activation functions
    names = [name for group in groups(model.network) for name in group.members]
    seen = {name: ranges.observed() for name in names}
    whole: set[str] = set()
    for batch in batches:
        for name, values in open_.activations(names, batch).items():
            if values.dtype.kind != "f":
                whole.add(name)
            elif not np.isfinite(values).all():
                raise BadRequest(f"{name} gives NaN or infinity for training samples; check them")
            else:
                seen[name].add(values)
    found = groups(model.network, without=whole)
    kept = {name for group in found for name in group.members}
    return Observed(groups=found, values={name: seen[name] for name in names if name in kept})


def exact_inputs(model: TrainableModel, samples: Samples) -> dict[str, ActivationGrid]:
    """Ranges of inputs that are stored as bytes, by node: every value has its own step."""
    found = {}
    nodes = [node.name for node in model.network.nodes if node.kind is Kind.INPUT]
    for name, port in zip(nodes, model.signature.inputs, strict=True):
        stored = samples.inputs[port.name]
        if stored.dtype == np.uint8 and np.dtype(port.dtype).kind == "f":
            ends = samples.as_seen(port.name, np.array([0, 255], np.uint8))
            found[name] = ActivationGrid(low=min(0.0, float(ends.min())), high=max(0.0, float(ends.max())))
    return found


def candidates(observed: Observed, exact: Mapping[str, ActivationGrid]) -> Iterator[Ranges]:
    """Ranges cut in different ways; a group takes the span of its members. What is known is neither cut nor learned."""
    for name, cut in CUTS.items():
        grids: dict[str, ActivationGrid] = {}
        learned: list[str] = []
        for group in observed.groups:
            known = group.fixed or next((exact[member] for member in group.members if member in exact), None)
            grids |= dict.fromkeys(group.members, known or _span([cut(observed.values[m]) for m in group.members]))
            learned += () if known else group.members
        yield Ranges(
            name=name, grids=grids, shared=tuple(group.members for group in observed.groups), learned=tuple(learned)
        )


def _span(ranges: Sequence[Range]) -> ActivationGrid:
    low, high = min(found.low for found in ranges), max(found.high for found in ranges)
    if high - low < NOTHING:
        low, high = 0.0, 1.0    # a value that never moves: any step stores its zero
    return ActivationGrid(low=low, high=high)
