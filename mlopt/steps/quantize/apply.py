"""Train a network on the grid of integer kernels, so that the exported file computes what was trained.

Batch normalization is folded first: training runs on the kernels and biases that are exported, with the statistics that
inference uses (Krishnamoorthi 2018, 3.2.3: frozen statistics are right for short trainings from a float network).
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt import cache, files, plain
from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import FitResult, Hold
from mlopt.frameworks.protocol import GriddedModel, TrainableModel
from mlopt.grid import Grid, write_probes
from mlopt.network import Network
from mlopt.scheme import SCHEMES, Granularity, QuantizationScheme
from mlopt.steps.protocol import Context, Done, Train
from mlopt.steps.quantize import Quantize
from mlopt.steps.quantize.knapsack import Option, choose, smallest
from mlopt.steps.quantize.loss import distance, output_heads, sensitivities
from mlopt.steps.quantize.plan import formats, kernels, network_bytes, stored_bytes
from mlopt.steps.quantize.ranges import UNROUNDED, Ranges, candidates, exact_inputs, observe
from mlopt.training.holding import by_channel
from mlopt.training.scoring import score

CALIBRATION_ROWS = 512          # of the training samples: above some hundred, ranges hardly move
JUDGING_ROWS = 1024             # of the validation samples, for ranges and sensitivities
LEAST_ROWS = 32                 # of either, however large the network
MOST_MACS = 2e12                # of all sensitivities together: minutes
PROBES = 4                      # rows that a converter finds the nodes again by


@dataclass(frozen=True, kw_only=True)
class Bits:
    """How many bits each kernel has, by weight name, and why."""

    bits: Mapping[str, int]
    bytes: int                          # of all weights
    losses: Mapping[str, tuple[float, ...]]     # by kernel, alone in each of its formats; empty: nothing was chosen


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was measured before training; kept in the step's folder, so that a resumed step takes the same."""

    bits: Bits
    ranges: Ranges
    error: float                        # distance of the outputs on the grid from the float ones, before training


def quantize(settings: Quantize, context: Context, train: Train) -> Done:
    """Fold, measure, choose bits, train on the grid, and leave the network with its kernels rounded."""
    scheme = SCHEMES[settings.scheme]
    _check_kernels(context.model.network, scheme)
    if not scheme.chooses and not settings.epochs:
        return _left_to_export(context)
    folded = context.model.folded()
    budget = _budget(settings, folded.network)
    holds, notes = _held_by_channel(context.holds, folded)
    plan = _kept_plan(context, folded, scheme, budget)
    gridded = _on_grid(folded, scheme, plan.ranges, plan.bits.bits)

    def figure(model: TrainableModel) -> float:
        return score(model, context.validation, context.seed)

    scores = {"float": figure(folded), "on the grid": figure(gridded)}
    fits: tuple[FitResult, ...] = ()
    if settings.epochs:
        fits = (train(gridded, settings.epochs, "on-grid", holds=holds),)
    gridded.set_weights(_whole_biases(gridded, plan.ranges))
    if settings.epochs:
        scores["trained"] = figure(gridded)
    else:
        notes = (*notes, "quantize: no epochs, so that weights stand on their grid as they were rounded, untrained")
    stripped = gridded.stripped()
    grid = _written(scheme, gridded, stripped, context)
    return Done(
        model=stripped, holds=holds, grid=grid, gridded=gridded, fits=fits,
        facts=_facts(plan, grid, folded.network, scores, budget), notes=(*notes, *_left_out(folded.network)),
    )


def _left_to_export(context: Context) -> Done:
    note = "quantize: no epochs, so that the model is left as it is and rounded when it is exported"
    return Done(model=context.model, holds=context.holds, notes=(note,))


# ---- before training -----------------------------------------------------------------------------------------------


def check(settings: Quantize, context: Context) -> None:
    """Raise `BadRequest` for what cannot work on this network."""
    _check_kernels(context.model.network, SCHEMES[settings.scheme])
    if SCHEMES[settings.scheme].chooses:
        _budget(settings, context.model.folded().network)


def _check_kernels(network: Network, scheme: QuantizationScheme) -> None:
    found = kernels(network)
    if not found:
        raise BadRequest("the network has no convolution and no dense layer that could be rounded")
    for name, (_, nodes) in found.items():
        if not formats(scheme, nodes):
            bits = scheme.weights[0].bits
            raise BadRequest(f"{name} takes no weights of {bits} bits, and {scheme.name} has no others")
    given = scheme.activations
    if given is not None and (given.bits != 8 or given.symmetric or given.granularity is not Granularity.TENSOR):
        raise BadRequest(f"{scheme.name}: activations are trained at 8 bits with a zero point, one step a tensor")


def _budget(settings: Quantize, network: Network) -> int | None:
    """Bytes of all weights; None where none is asked for. Raises `BadRequest` for one that cannot be met."""
    scheme = SCHEMES[settings.scheme]
    if not scheme.chooses:
        return None
    every = network_bytes(network, {})
    budget = settings.bytes or int(settings.share * every)
    items, fixed = _options(network, scheme, {})
    least = smallest([options for _, options in items]) + fixed
    if budget < least:
        narrowest = scheme.weights[-1].bits
        raise BadRequest(
            f"{budget} bytes cannot be reached: with {narrowest} bits wherever a kernel takes them the weights take"
            f" {least} bytes, at 8 bits {every}. Ask for {least} or more, or cut channels first with `slim`."
        )
    return budget


def _options(
    network: Network, scheme: QuantizationScheme, losses: Mapping[str, Sequence[float]]
) -> tuple[list[tuple[str, tuple[Option, ...]]], int]:
    """(kernel, its ways to be stored, in the scheme's order) and the bytes of everything that has no choice."""
    found: list[tuple[str, tuple[Option, ...]]] = []
    chosen = 0
    for name, (weight, nodes) in kernels(network).items():
        able = formats(scheme, nodes)
        if len(able) > 1:
            sizes = [stored_bytes(weight.shape, nodes[0].channels, format.bits) for format in able]
            lost = losses.get(name, (0.0,) * len(able))
            found.append((name, tuple(Option(bytes=b, loss=x) for b, x in zip(sizes, lost, strict=True))))
            chosen += stored_bytes(weight.shape, nodes[0].channels, 8)
    return found, network_bytes(network, {}) - chosen


def _kept_plan(
    context: Context, folded: TrainableModel, scheme: QuantizationScheme, budget: int | None
) -> Plan:
    """The plan of this step: from its folder where an earlier run has left it, else measured now."""
    file = context.work / "plan.json"
    if not file.exists():
        context.work.mkdir(parents=True, exist_ok=True)
        plan = _measured(context, folded, scheme, budget)
        files.write_atomically(file, json.dumps(plain.to_plain(plan)).encode())
    return cache.read_record(file, Plan)


def _measured(context: Context, folded: TrainableModel, scheme: QuantizationScheme, budget: int | None) -> Plan:
    network, training = folded.network, Samples.open(context.train)
    rows = _rows(Samples.open(context.validation), JUDGING_ROWS, network)
    reference = folded.predict(rows)
    heads = output_heads(folded, reference)
    bits = _chosen_bits(context, folded, scheme, rows, budget)
    cuts: Iterable[Ranges] = (UNROUNDED,)
    if scheme.activations is not None:
        context.on_event({"doing": "observing activations", "done": 0, "total": 1})
        values = observe(folded, _batches(training, CALIBRATION_ROWS, network))
        cuts = candidates(values, exact_inputs(folded, training))
    best: Plan | None = None
    for ranges in cuts:
        found = _on_grid(folded, scheme, ranges, bits.bits).predict(rows)
        error = distance(reference, found, heads)
        if best is None or error < best.error:
            best = Plan(bits=bits, ranges=ranges, error=error)
    assert best is not None
    return best


def _chosen_bits(
    context: Context, folded: TrainableModel, scheme: QuantizationScheme, rows: Mapping[str, np.ndarray],
    budget: int | None,
) -> Bits:
    network = folded.network
    able = {name: formats(scheme, nodes) for name, (_, nodes) in kernels(network).items()}
    bits = {name: found[0].bits for name, found in able.items()}
    if budget is None:
        return Bits(bits=bits, bytes=network_bytes(network, bits), losses={})
    choosing = {name: found for name, found in able.items() if len(found) > 1}
    narrower = " or ".join(str(format.bits) for format in scheme.weights[1:])

    def on_done(number: int) -> None:
        context.on_event({
            "doing": f"measuring each kernel at {narrower} bits", "done": number, "total": len(choosing)
        })

    losses = sensitivities(folded, rows, choosing, on_done)
    items, fixed = _options(network, scheme, losses)
    for (name, _), place in zip(items, choose([options for _, options in items], budget - fixed), strict=True):
        bits[name] = choosing[name][place].bits
    return Bits(bits=bits, bytes=network_bytes(network, bits), losses=losses)


def _on_grid(
    folded: TrainableModel, scheme: QuantizationScheme, ranges: Ranges, bits: Mapping[str, int]
) -> GriddedModel:
    """`bits` by kernel."""
    by_node = {
        node.name: scheme.weight_format(bits[name])
        for name, (_, nodes) in kernels(folded.network).items() for node in nodes
    }
    return folded.on_grid(ranges.grids, by_node, shared=ranges.shared, learned=ranges.learned)


def _rows(samples: Samples, most: int, network: Network) -> dict[str, np.ndarray]:
    """Rows spread over the samples, as the model sees them; fewer of a network that takes long."""
    affordable = int(MOST_MACS / max(network.macs * len(kernels(network)), 1))
    chosen = samples.spread(max(LEAST_ROWS, min(most, affordable)))
    return chosen.rows(0, chosen.count)


def _batches(samples: Samples, most: int, network: Network) -> list[dict[str, np.ndarray]]:
    rows = _rows(samples, most, network)
    count = len(next(iter(rows.values())))
    return [{name: array[i : i + LEAST_ROWS] for name, array in rows.items()} for i in range(0, count, LEAST_ROWS)]


def _held_by_channel(
    holds: Mapping[str, Hold], folded: TrainableModel
) -> tuple[dict[str, Hold], tuple[str, ...]]:
    """What stays held: kernels on a grid share values within an output channel alone, since each has its own step."""
    known, rounded = folded.network.weights(), kernels(folded.network)
    weights, found = folded.weights(), {}
    lost, split = [], []
    for name, hold in holds.items():
        if name not in known:
            lost.append(name)
        elif name in rounded and hold.ties is not None:
            node = rounded[name][1][0]
            for axis in node.kernel_axes:
                hold = by_channel(hold, axis)       # noqa: PLW2901
            in_axis = known[name].in_axis
            if in_axis is not None and not _shares(weights[name], hold):    # its input channels were scaled too
                hold = by_channel(hold, in_axis)    # noqa: PLW2901
            before = holds[name].ties
            assert before is not None and hold.ties is not None
            split.append(f"{name} {len(np.unique(before))} to {len(np.unique(hold.ties))}")
            found[name] = hold
        else:
            found[name] = hold
    notes = [f"quantize: {', '.join(lost)} went into other weights with batch normalization and are held no more"]
    more = ["quantize: each output channel has a step of its own, so that tied kernels have more different values: "
            + ", ".join(split)]
    return found, (*(notes if lost else ()), *(more if split else ()))


def _shares(values: np.ndarray, hold: Hold) -> bool:
    """Whether tied values that are kept are equal."""
    assert hold.ties is not None
    kept = np.ones(values.shape, bool) if hold.mask is None else hold.mask
    ties, numbers = hold.ties[kept], values[kept]
    low, high = np.full(int(hold.ties.max()) + 1, np.inf), np.full(int(hold.ties.max()) + 1, -np.inf)
    np.minimum.at(low, ties, numbers)
    np.maximum.at(high, ties, numbers)
    used = high >= low
    return bool((high[used] - low[used] <= 1e-5 * max(float(np.abs(values).max()), 1e-12)).all())


# ---- after training ------------------------------------------------------------------------------------------------


def _whole_biases(gridded: GriddedModel, ranges: Ranges) -> dict[str, np.ndarray]:
    """Biases as files hold them: whole numbers of the input's step times the kernel's, by weight name.

    These steps are so small that nothing is lost; but a value between two steps of the output would fall to the one
    side in training and to the other in the file, and what follows would drift apart.
    """
    activations, weights = gridded.grids()
    group = {name: names for names in ranges.shared for name in names}
    values, found = gridded.weights(), {}
    for node in gridded.network.nodes:
        if node.name not in weights:
            continue
        biases = [weight for weight in node.weights if weight.role == "bias"]
        grids = [activations[name] for name in group.get(node.inputs[0], ()) if name in activations]
        if biases and grids:
            steps = np.array(weights[node.name].steps) * (grids[0].high - grids[0].low) / 255
            (name,) = (weight.name for weight in biases)
            found[name] = (np.rint(values[name] / steps) * steps).astype(np.float32)
    return found


def _written(
    scheme: QuantizationScheme, gridded: GriddedModel, stripped: TrainableModel, context: Context
) -> Grid:
    activations, weights = gridded.grids()
    folder = context.work / "grid"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    grid = Grid(scheme=scheme, activations=activations, weights=weights, folder=folder)
    inputs = _rows(Samples.open(context.train).first(PROBES), PROBES, stripped.network)
    seen = stripped.on_grid({}, {}).activations(list(activations), inputs) if activations else {}
    write_probes(folder, inputs, seen)
    grid.write()
    return grid


def _facts(
    plan: Plan, grid: Grid, network: Network, scores: Mapping[str, float], budget: int | None
) -> dict[str, Any]:
    table = [
        {
            "kernel": name, "bits": plan.bits.bits[name],
            **dict(zip(_columns(grid.scheme), plan.bits.losses.get(name, ())[1:], strict=False)),
            "bytes": stored_bytes(weight.shape, nodes[0].channels, plan.bits.bits[name]),
        }
        for name, (weight, nodes) in kernels(network).items()
    ]
    return {
        "scheme": grid.scheme.name, "validation": dict(scores), "error_before_training": plan.error,
        "ranges": plan.ranges.name, "activations": {name: [g.low, g.high] for name, g in grid.activations.items()},
        "bytes": plan.bits.bytes, "bytes_at_8_bits": network_bytes(network, {}), "budget": budget, "kernels": table,
    }


def _columns(scheme: QuantizationScheme) -> list[str]:
    return [f"loss_at_{format.bits}_bits" for format in scheme.weights[1:]]


def _left_out(network: Network) -> tuple[str, ...]:
    """Nodes with kernels that training does not round."""
    rounded = kernels(network)
    names = sorted({
        node.name for node in network.nodes for weight in node.weights
        if weight.role == "kernel" and weight.name not in rounded
    })
    if not names:
        return ()
    return (f"quantize: kernels of {', '.join(names)} are not rounded in training, only when the model is exported",)
