"""Files with 4-bit weights. Kernels round activations to 8 bits at run time; depthwise layers keep 8 bits, since
LiteRT has no 4-bit kernel for them that runs on float activations, and they are small.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from mlopt_tflite import bias, equalizing, mixed, rounding, weight_files
from mlopt_tflite.judge import Distance, Judge
from mlopt_tflite.observe import Observed
from mlopt_tflite.packing import pack
from mlopt_tflite.scales import Range
from mlopt_tflite.settle import settle
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import FOUR_BITS, Layer, Quantized, fitted, layers, spanned, weight_of
from mlopt_tflite.written import Written

ROUNDED = "errors carried to later weights (4 bits), nearest (8 bits)"


def make_int4(observed: Observed) -> Written:
    """4 bits wherever a kernel takes them."""
    observed, evened = _equalized(observed)
    four, notes = _four_bits(observed)
    every = frozenset(four)
    model, biases_kept, distance, more = _assembled(observed, four, every)
    choices = _described(observed, every, biases_kept, distance) | {"equalization": evened}
    return model, choices, (*notes, *_kept_at_8(observed, every), *more)


def make_mixed(observed: Observed) -> Written:
    """4 bits for as many layers as the measured distance to the float file allows."""
    found = mixture(observed)
    model, biases_kept, distance, more = _assembled(found.observed, found.four, found.ops)
    described = _described(found.observed, found.ops, biases_kept, distance) | found.choices
    return model, described, (*found.notes, *more, *found.missed)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Which operations take 4 bits, `four` their weights, in the model of `observed`, and how that was found."""

    observed: Observed
    four: Mapping[int, Quantized]
    ops: frozenset[int]
    choices: dict[str, str]
    notes: tuple[str, ...]
    missed: tuple[str, ...]      # a note where 8 bits everywhere are outside of the bound already

    def weights(self) -> dict[int, Quantized]:
        """By operation: 4 bits in `ops`, 8 elsewhere."""
        return _chosen(self.observed, self.four, self.ops)

    def layers_by_bits(self) -> str:
        """Which layers keep 8 bits, as a report says it."""
        return _layers_by_bits(self.observed, self.ops)


def mixture(observed: Observed) -> Mixture:
    """4 bits for as many layers as the measured distance to the float file allows."""
    observed, evened = _equalized(observed)
    four, notes = _four_bits(observed)
    judge = observed.judge()
    choices = [
        mixed.Choice(op=layer.op, saved_bytes=layer.elements // 2, noise=_alone(observed, judge, four[layer.op], layer))
        for layer in layers(observed.model) if layer.op in four
    ]
    plans = mixed.frontier(choices)
    seen: dict[frozenset[int], Distance] = {}

    def measure(plan: mixed.Plan) -> Distance:
        seen[plan.ops] = _assembled(observed, four, plan.ops)[2]
        return seen[plan.ops]

    plan, _, measured = mixed.choose(plans, measure)
    bound = f"agreement >= {mixed.AGREEMENT:g} and noise <= {mixed.NOISE:g}"
    search = f"{measured} of {len(plans)} mixtures measured; wanted {bound}"
    at_8_bits, missed = seen[plans[0].ops], tuple[str, ...]()
    if at_8_bits.agreement < mixed.AGREEMENT or at_8_bits.noise > mixed.NOISE:
        found = f"agreement {at_8_bits.agreement:.4f}, noise {at_8_bits.noise:.3g}"
        missed = (f"8 bits everywhere miss the bound on held-out samples ({found}): they were the measure",)
    return Mixture(
        observed=observed, four=four, ops=plan.ops, choices={"equalization": evened, "search": search},
        notes=notes, missed=missed,
    )


def _equalized(observed: Observed) -> tuple[Observed, str]:
    """What the layers see once channels are evened out, where that helps weights of 4 bits; tried in float kernels."""

    def trial(model: Model, _: Mapping[int, Range]) -> bytes:
        four = {layer.op: fitted(weight_of(model, layer), layer.axis, 4).real()
                for layer in layers(model) if layer.kind in FOUR_BITS}
        return pack(weight_files.replaced(model, four, {}))

    return equalizing.search(observed, trial)


def _four_bits(observed: Observed) -> tuple[dict[int, Quantized], tuple[str, ...]]:
    """4-bit weights by operation, rounded against what the layers see; and notes on layers too wide for that."""
    found, wide = {}, []
    for layer in layers(observed.model):
        if layer.kind not in FOUR_BITS:
            continue
        weights = weight_of(observed.model, layer)
        moments = observed.moments.get(layer.op)
        if moments is None:
            wide.append(layer.label)
            found[layer.op] = fitted(weights, layer.axis, 4)
        else:
            found[layer.op] = rounding.carried(weights, moments.covariance(), 4)
    notes = [f"{', '.join(wide)} rounded to the nearest 4-bit number: too wide to keep what their inputs share"]
    return found, tuple(notes if wide else ())


def _alone(observed: Observed, judge: Judge, q: Quantized, layer: Layer) -> float:
    """The noise at the output when only this layer has 4 bits; simulated in float kernels, which are faster."""
    biases = bias.for_rounding(observed, {layer.op: q})
    return judge.distance(pack(weight_files.replaced(observed.model, {layer.op: q.real()}, biases))).noise


def _assembled(
    observed: Observed, four: Mapping[int, Quantized], ops: Set[int]
) -> tuple[Model, bool, Distance, tuple[str, ...]]:
    """The file's model with `ops` at 4 bits and the rest at 8, whether biases were moved, its distance, and notes."""
    model, judge = observed.model, observed.judge()
    chosen = _chosen(observed, four, ops)
    tables = weight_files.tables(model)
    moved = bias.for_rounding(observed, chosen)

    def build(in_float: Set[int], biases: Mapping[int, np.ndarray]) -> Model:
        based = weight_files.replaced(model, {}, biases)
        return weight_files.with_tables(weight_files.dynamic(based, chosen, in_float), tables)

    plain, notes = settle(model, lambda in_float: build(in_float, {}))
    corrected, notes = settle(model, lambda in_float: build(in_float, moved))
    before, after = judge.distance(pack(plain)), judge.distance(pack(corrected))
    if after.noise < before.noise:
        return corrected, True, after, notes
    return plain, False, before, notes


def _chosen(observed: Observed, four: Mapping[int, Quantized], ops: Set[int]) -> dict[int, Quantized]:
    return {
        layer.op: four[layer.op] if layer.op in ops else spanned(weight_of(observed.model, layer), layer.axis, 8)
        for layer in layers(observed.model)
    }


def _layers_by_bits(observed: Observed, ops: Set[int]) -> str:
    labels = [layer.label for layer in layers(observed.model) if layer.op not in ops]
    return f"4 bits in {len(ops)} layers, 8 bits in {', '.join(labels) or 'none'}"


def _described(observed: Observed, ops: Set[int], biases_kept: bool, distance: Distance) -> dict[str, str]:
    return {
        "weights": _layers_by_bits(observed, ops),
        "rounding": ROUNDED,
        "bias": "corrected for the rounding of weights" if biases_kept else "left: a correction did not help",
        "activations": "rounded to 8 bits at run time",
        "agreement": f"{distance.agreement:.4f} of {len(next(iter(observed.held_out.values())))} held-out samples",
        "output noise": f"{distance.noise:.3g} of the signal's power",
    }


def _kept_at_8(observed: Observed, ops: Set[int]) -> tuple[str, ...]:
    labels = [layer.label for layer in layers(observed.model) if layer.op not in ops]
    return (f"{', '.join(labels)} keep 8 bits: LiteRT has no 4-bit kernel for them",) if labels else ()
