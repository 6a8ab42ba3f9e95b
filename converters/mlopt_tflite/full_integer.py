"""Full-integer files: ranges, rounding and biases are tried in LiteRT and kept where the output gains."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

import numpy as np

from mlopt_tflite import bias, equalizing, flatfile, ranges, rounding, weight_files
from mlopt_tflite.judge import Judge
from mlopt_tflite.observe import Observed
from mlopt_tflite.packing import pack
from mlopt_tflite.ranges import BETTER
from mlopt_tflite.scales import Range, integer_ops, shared
from mlopt_tflite.settle import settle
from mlopt_tflite.static import Lowered, lower
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import Quantized, in_8_bits, layers, weight_of
from mlopt_tflite.written import Written

JUDGED = {"int8": 128, "int16": 16}   # samples per trial; int16 activations run 40 to 80 times slower here
REFINING_MACS = 1e11                  # multiply-accumulates that the search for single ranges may spend
HEADROOM = 1.25                       # int16 has steps to spare: room for values beyond those seen


@dataclass(kw_only=True)
class Candidate:
    """What a full-integer file is made of; the search replaces one part at a time."""

    observed: Observed
    kind: str
    ranges: Mapping[int, Range]
    weights: Mapping[int, Quantized]
    biases: Mapping[int, np.ndarray] = field(default_factory=dict)
    in_float: frozenset[int] = frozenset()

    def lowered(self) -> Lowered:
        return lower(
            self.observed.model, self.kind,
            ranges=self.ranges, weights=self.weights, biases=self.biases, in_float=self.in_float,
        )

    def content(self) -> bytes:
        return pack(self.lowered().model)


def make_integer(
    observed: Observed, kind: str, weights: Mapping[int, Quantized] | None = None
) -> Written:
    """The model with activations of `kind` ("int8" or "int16"), what was chosen, and notes.

    Where `weights` are given they stay as they are: only ranges are searched.
    """
    model = observed.model
    candidate = Candidate(
        observed=observed, kind=kind, ranges=_starting_ranges(observed, kind), weights=weights or in_8_bits(model),
    )
    refused: set[int] = set()

    def build(in_float: Set[int]) -> Model:
        refused.update(in_float)
        return replace(candidate, in_float=frozenset(in_float)).lowered().model

    _, notes = settle(model, build)
    candidate.in_float = frozenset(refused)
    judge = observed.judge().first(JUDGED[kind])
    choices = {"weights": "8 bits, a scale for each output channel"}
    if weights is None:
        model = _search_equalization(candidate, choices)
    if kind == "int8":
        error = _search_ranges(candidate, judge, choices)
    else:
        choices["ranges"] = f"min-max, widened {HEADROOM:g} times"
        error = judge.distance(candidate.content()).noise
    if weights is None:
        error = _search_rounding(candidate, judge, choices, error)
    if kind == "int8":
        error = error if weights is not None else _search_drift(candidate, judge, choices, error)
        error = _refine_ranges(candidate, judge, choices, error)
    count = len(next(iter(judge.inputs.values())))
    choices["output noise"] = f"{error:.3g} of the signal's power, on {count} held-out samples"
    lowered = candidate.lowered()
    notes = (*notes, *in_float_notes(model, lowered, candidate.in_float, kind))
    return compacted(lowered, weights), choices, notes


def compacted(lowered: Lowered, weights: Mapping[int, Quantized] | None = None) -> Model:
    """Weights of the operations that stayed in float are stored in 8 bits too, and unpacked when the file is loaded.

    `weights` are by operation of the float file; without them they are rounded here.
    """
    model = lowered.model
    rest = in_8_bits(model)
    if weights is not None:
        known = {op: lowered.source[op] for op in rest}
        rest = {op: replace(weights[source], bits=8) for op, source in known.items() if source is not None}
    tables = weight_files.tables(model)
    return weight_files.with_tables(weight_files.unpacked(model, rest, {}), tables) if rest or tables else model


def _starting_ranges(observed: Observed, kind: str) -> dict[int, Range]:
    found = ranges.ranges_of(observed, "min-max")
    if kind == "int8":
        return found
    return {i: (low * HEADROOM, high * HEADROOM) for i, (low, high) in found.items()}


def _search_equalization(candidate: Candidate, choices: dict[str, str]) -> Model:
    """The float model to lower, from here on the candidate's: with channels evened out where that gains."""

    def trial(model: Model, found: Mapping[int, Range]) -> bytes:
        weights = in_8_bits(model)
        if candidate.kind != "int8":   # all that is rounded hard there are the weights, and float kernels are fast
            return pack(weight_files.replaced(model, {op: q.real() for op, q in weights.items()}, {}))
        return pack(lower(model, candidate.kind, ranges=found, weights=weights, in_float=candidate.in_float).model)

    observed, choices["equalization"] = equalizing.search(candidate.observed, trial)
    if observed is not candidate.observed:
        candidate.observed, candidate.ranges = observed, _starting_ranges(observed, candidate.kind)
        candidate.weights = in_8_bits(observed.model)
    return observed.model


def _search_ranges(candidate: Candidate, judge: Judge, choices: dict[str, str]) -> float:
    found, name, error = ranges.search(candidate.observed, lambda r: replace(candidate, ranges=r).content(), judge)
    candidate.ranges, choices["ranges"] = found, name
    return error


def _search_rounding(candidate: Candidate, judge: Judge, choices: dict[str, str], error: float) -> float:
    """Nearest or carried rounding of the weights, with the bias moved or left; nearest and left unless it gains."""
    observed = candidate.observed
    carried = {
        layer.op: rounding.carried(weight_of(observed.model, layer), observed.moments[layer.op].covariance(), 8)
        for layer in layers(observed.model) if layer.op in observed.moments
    }
    options = {
        ("nearest", "corrected for the rounding of weights"): candidate.weights,
        ("errors carried to later weights", "corrected for the rounding of weights"): {**candidate.weights, **carried},
    }
    choices |= {"rounding": "nearest", "bias": "left: no correction lowered the output error"}
    for (how, moved), weights in options.items():
        biases = bias.for_rounding(observed, weights)
        found = judge.distance(replace(candidate, weights=weights, biases=biases).content()).noise
        if found < error * BETTER:
            error, candidate.weights, candidate.biases = found, weights, biases
            choices |= {"rounding": how, "bias": moved}
    return error


def _search_drift(candidate: Candidate, judge: Judge, choices: dict[str, str], error: float) -> float:
    def build(biases: Mapping[int, np.ndarray]) -> tuple[Lowered, bytes]:
        lowered = replace(candidate, biases=biases).lowered()
        return lowered, pack(lowered.model)

    biases = bias.for_drift(candidate.observed, candidate.biases, build)
    found = judge.distance(replace(candidate, biases=biases).content()).noise
    if found >= error * BETTER:
        return error
    candidate.biases, choices["bias"] = biases, "corrected layer by layer for weights and activations"
    return found


def _refine_ranges(candidate: Candidate, judge: Judge, choices: dict[str, str], error: float) -> float:
    model = candidate.observed.model
    integer = integer_ops(model, candidate.kind, candidate.in_float, set(candidate.ranges))
    sharing = shared(model, candidate.kind, integer)
    groups = {leader: members for leader, members in sharing.groups().items() if leader not in sharing.fixed}
    quick = judge.first(64)
    tries = int(REFINING_MACS / (64 * max(macs(model), 1)))
    start = quick.distance(candidate.content()).noise
    found, kept = ranges.refine(
        candidate.observed, lambda r: replace(candidate, ranges=r).content(), quick,
        start=candidate.ranges, groups=groups, error=start, tries=min(tries, 64),
    )
    final = judge.distance(replace(candidate, ranges=found).content()).noise
    if not kept or final >= error * BETTER:
        return error
    candidate.ranges = found
    choices["ranges"] += f"; {kept} of {len(groups)} tensors by their own search"
    return final


def macs(model: Model) -> int:
    """Multiply-accumulates of one inference, of convolutions and fully connected layers."""
    total = 0
    for layer in layers(model):
        places = np.prod(flatfile.shape_of(model.subgraphs[0].tensors[layer.output])[:-1], dtype=np.int64)
        total += int(places) * layer.elements
    return total


def in_float_notes(model: Model, lowered: Lowered, refused: frozenset[int], kind: str) -> tuple[str, ...]:
    names = [op.name for op in flatfile.ops(model)]
    left = sorted({names[i] for i in lowered.in_float if i not in refused})
    if not left:
        return ()
    return (f"{', '.join(left)} run on floats: LiteRT has no {kind} kernel that was seen to work for them",)
