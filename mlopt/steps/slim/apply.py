"""Cut whole channels until a target is met: groups are found, valued, priced, chosen; the cut is proven, then trained.

Every finished piece of work lies in the step's own folder: the measured times, what each round cut, and the network
that it left. A step that is started again goes on after the last of them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import plain
from mlopt.channels import costs, criteria
from mlopt.channels.coupling import Dropped, Groups, couple
from mlopt.channels.resizing import resized
from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.files import new_folder, write_atomically
from mlopt.frameworks.fitting import FitResult, LabelLoss
from mlopt.frameworks.protocol import TrainableModel
from mlopt.network import Network, Weights
from mlopt.steps.protocol import Context, Done, Train
from mlopt.steps.slim import TARGETS, Slim, latency
from mlopt.steps.slim.describing import describe, table
from mlopt.steps.slim.latency import LatencyTable
from mlopt.steps.slim.proof import prove
from mlopt.steps.slim.selection import Priced, Room, choose, room
from mlopt.training.holding import cut_holds
from mlopt.training.objective import objective

TAYLOR_SAMPLES = 8192           # of the training samples, for first-order terms: 256 batches, a value to about 9 %
PROOF_SAMPLES = 16              # of the validation samples, for the proof of the cut
_MUCH_LESS = 0.9                # of the share that was asked for: a cut below it is told
COSTS = {"macs": costs.macs, "parameters": costs.parameters, "bytes": costs.weight_bytes}


@dataclass(frozen=True, kw_only=True)
class _Start:
    """What does not change over the rounds."""

    target: str                         # one of TARGETS
    share: float                        # of the first network's cost that may be left, at most 1
    groups: Groups                      # of the first network
    first: Mapping[str, int]            # units of its free groups
    table: LatencyTable | None          # of a target by latency


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """What a round cut, as it is kept on disk."""

    dropped: Mapping[str, tuple[int, ...]]
    facts: Mapping[str, Any]

    @property
    def units(self) -> Dropped:
        return {name: np.array(units, dtype=np.int64) for name, units in self.dropped.items()}


def slim(settings: Slim, context: Context, train: Train) -> Done:
    """Cut to the target in rounds, each followed by its share of the epochs."""
    context.work.mkdir(parents=True, exist_ok=True)
    start = _begin(settings, context)
    network, model, left = context.model.network, context.model, None
    holds, fits, rounds = dict(context.holds), list[FitResult](), list[dict[str, Any]]()
    for number in range(1, settings.rounds + 1):
        place, groups = _place(context, number), couple(network)
        if (place / "left").is_dir():
            cut = _read(place / "cut.json", _Cut)
            left = place / "left"
        else:
            model = context.open_model(context.source.beside(left / "model")) if left else model
            left = None
            here = replace(context, model=model, holds=holds)
            cut = _decided(settings, here, start, groups, number)
            model = _carried_out(settings, here, groups, cut, number=number, train=train)
        kept = groups.kept(cut.units)
        network, holds = resized(network, kept), cut_holds(holds, kept)
        more = _read(place / "left" / "fits.json", _Fits)
        fits += more.fits
        rounds.append({"round": number, **cut.facts, **_weights(network), "difference": more.difference,
                       "validation": more.fits[-1].validation if more.fits else None})
    model = context.open_model(context.source.beside(left / "model")) if left else model
    return Done(
        model=model, holds=holds, fits=tuple(fits), facts=_facts(settings, start, network, rounds),
        notes=_notes(settings, start, rounds),
    )


# ---- before anything is cut


def check(settings: Slim, context: Context) -> None:
    """Raise `BadRequest` for what cannot work on this network; a target by latency is not timed here."""
    _target(settings)
    if not settings.latency:
        _begin(settings, replace(context, on_event=lambda event: None))


def _target(settings: Slim) -> str:
    chosen = [name for name in TARGETS if getattr(settings, name)]
    if len(chosen) != 1:
        found = " and ".join(chosen) or "none"
        raise BadRequest(f"slim takes exactly one target of {', '.join(TARGETS)}; here is {found}")
    if 0 < settings.epochs < settings.rounds:
        raise BadRequest(f"{settings.rounds} rounds share {settings.epochs} epochs: at least one epoch a round")
    return chosen[0]


def _begin(settings: Slim, context: Context) -> _Start:
    """Refuse what cannot work, show the groups, and time what has to be timed."""
    target = _target(settings)
    groups = couple(context.model.network)
    rows = describe(groups)
    for line in (f"{len(groups.free)} groups of channels can be cut", *table(rows)):
        context.on_event({"doing": line, "stays": True})
    if not groups.free:
        raise BadRequest(
            "slim finds no channel that could be cut. " + "; ".join(dict.fromkeys(r.pinned for r in rows if r.pinned))
        )
    valued = [group.name for group in groups.free if _has_value(settings, groups, group)]
    if not valued:
        raise BadRequest("no group of channels has a batch norm, so `criterion: scale` ranks none: take taylor")
    first = {group.name: group.units for group in groups.free}
    options = _room(settings, groups, {name: np.zeros(first[name]) for name in valued}, first)
    start = _Start(target=target, share=1.0, groups=groups, first=first, table=None)
    if target == "latency":
        start = replace(start, share=settings.latency, table=_table(groups, options, context))
        assert start.table is not None
        smallest = start.table.smallest_us / start.table.whole_us
    else:
        cost = COSTS[target](groups)
        whole = float(cost(options.whole))
        share = settings.bytes / whole if target == "bytes" else float(getattr(settings, target))
        start, smallest = replace(start, share=min(share, 1.0)), float(cost(options.smallest)) / whole
    if smallest > start.share * (1 + 1e-9):
        raise BadRequest(_unreachable(settings, start, smallest))
    return start


def _table(groups: Groups, options: Room, context: Context) -> LatencyTable:
    if context.latencies is None:
        raise BadRequest("nothing can be timed here, so slim cannot cut to a latency: take macs, parameters or bytes")
    path = context.work / "latency.json"
    if not path.exists():
        latency.measure(groups, options, context, context.latencies).write(path)
    whole = context.work / "whole"
    if not whole.is_dir():
        with new_folder(whole) as folder:
            context.model.save(folder / "model")
    return LatencyTable.read(path)


def _unreachable(settings: Slim, start: _Start, smallest: float) -> str:
    multiple = f"multiples of {settings.multiple}" if settings.multiple else "multiples of 8 (4 below 32 channels)"
    asked, least = f"{start.target}: {getattr(settings, start.target):g}", f"least: {settings.least:g}"
    reached = f"the smallest share is {smallest:.3f}"
    if start.target == "bytes":
        whole = settings.bytes / start.share
        reached = f"the fewest bytes are {int(np.ceil(smallest * whole))} of {whole:.0f}"
    return (
        f"slim cannot reach `{asked}`: with `{least}` and widths in {multiple}, {reached}. Ask for no less than that, "
        "or take a smaller `least` or `multiple`"
    )


# ---- one round


@dataclass(frozen=True, kw_only=True)
class _Fits:
    """What a round left besides its network."""

    fits: tuple[FitResult, ...]
    difference: float                   # between the silenced network and the cut one, before training


def _place(context: Context, number: int) -> Path:
    return context.work / f"round-{number}"


def _decided(settings: Slim, context: Context, start: _Start, groups: Groups, number: int) -> _Cut:
    """What this round cuts: decided once, then read."""
    path = _place(context, number) / "cut.json"
    if path.exists():
        return _read(path, _Cut)
    context.on_event({"doing": f"choosing channels, round {number} of {settings.rounds}"})
    importance = _importance(settings, context, groups, number)
    if start.table is not None:             # what was not timed stays whole
        importance = {name: worth for name, worth in importance.items() if name in start.table.by_width_us}
    options = _room(settings, groups, importance, start.first)
    share = start.share ** (number / settings.rounds)
    facts: dict[str, Any] = {"target": share}
    if start.table is not None:
        cost = latency.predicted(start.table, start.groups, groups)
        widths = choose(options, cost, share)
        if number == settings.rounds:
            assert context.latencies is not None
            whole = context.work / "whole" / "model"
            met = latency.meet(
                groups, options, cost, share, context=context, latencies=context.latencies, whole=whole,
                kept=_place(context, number) / "tried.json",
            )
            widths = met.widths
            facts |= {"measured": met.share, "tried": [list(each) for each in met.tried]}
        widths = options.smallest if widths is None else widths        # measured to be enough when the table was made
        facts["predicted"] = float(cost(widths))
    else:
        price: Priced = COSTS[start.target](groups)
        whole_cost = float(COSTS[start.target](start.groups)(np.array(list(start.first.values()))))
        found = choose(options, price, share * whole_cost)
        assert found is not None, "the smallest network was within the target before the first round"
        widths = found
        facts["reached"] = float(price(widths)) / whole_cost
    total = sum(float(lost[0]) for lost in options.lost)
    facts["lost"] = options.total_lost(widths) / total if total > 0 else 0.0
    cut = _Cut(dropped={name: tuple(units.tolist()) for name, units in options.dropped(widths).items()}, facts=facts)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(plain.to_plain(cut)).encode())
    return cut


def _carried_out(
    settings: Slim, context: Context, groups: Groups, cut: _Cut, *, number: int, train: Train
) -> TrainableModel:
    """Rebuild, prove, train, keep."""
    context.on_event({"doing": f"cutting, round {number} of {settings.rounds}"})
    model = context.model.narrowed(groups.kept(cut.units))
    inputs = Samples.open(context.validation).first(PROOF_SAMPLES).rows(0, PROOF_SAMPLES)
    difference = prove(context.model, model, groups, cut.units, inputs)
    epochs = _epochs(settings, number)
    holds = cut_holds(context.holds, groups.kept(cut.units))
    fits = (train(model, epochs, f"round-{number}", holds=holds),) if epochs else ()
    with new_folder(_place(context, number) / "left") as folder:
        model.save(folder / "model")
        left = _Fits(fits=fits, difference=difference)
        (folder / "fits.json").write_text(json.dumps(plain.to_plain(left)))
    return model


def _importance(settings: Slim, context: Context, groups: Groups, number: int) -> criteria.Importance:
    seed = context.seed + number
    match settings.criterion:
        case "magnitude":
            return criteria.magnitude(groups, context.model.weights())
        case "scale":
            return criteria.scale(groups, context.model.weights())
        case "random":
            return criteria.random(groups, seed)
        case "taylor":
            return _by_taylor(settings, context, groups, seed)
    raise BadRequest(f"criterion is taylor, magnitude, scale or random; got {settings.criterion!r}")


def _by_taylor(settings: Slim, context: Context, groups: Groups, seed: int) -> criteria.Importance:
    """Every output counts as much: by the loss on its labels, or by its size: a teacher that agrees gives no slope."""
    found = objective(settings, context, context.model).losses
    labels = {loss.output: loss for loss in found if isinstance(loss, LabelLoss)}
    return criteria.together([
        criteria.taylor(groups, _finite(context.model.first_order_terms(
            context.train, spec.name, labels.get(spec.name), count=TAYLOR_SAMPLES, seed=seed
        )))
        for spec in context.model.signature.outputs
    ])


def _finite(batches: Iterator[Weights]) -> Iterator[Weights]:
    for terms in batches:
        wrong = sorted(name for name, values in terms.items() if not np.isfinite(values).all())
        if wrong:
            raise BadRequest(f"the gradients of {', '.join(wrong)} are not finite: take `criterion: magnitude`")
        yield terms


def _has_value(settings: Slim, groups: Groups, group: Any) -> bool:
    return settings.criterion != "scale" or bool(criteria.gammas(groups, group))


def _room(settings: Slim, groups: Groups, importance: criteria.Importance, first: Mapping[str, int]) -> Room:
    return room(groups, importance, first, multiple=settings.multiple, least=settings.least)


def _epochs(settings: Slim, number: int) -> int:
    """The rounds share the epochs; what does not divide goes to the last ones.

    >>> [_epochs(Slim(macs=0.5, epochs=8, rounds=3), number) for number in (1, 2, 3)]
    [2, 3, 3]
    """
    return settings.epochs * number // settings.rounds - settings.epochs * (number - 1) // settings.rounds


# ---- what is told


def _weights(network: Network) -> dict[str, int]:
    groups = couple(network)
    widths = np.array([group.units for group in groups.free], dtype=np.int64)
    return {"macs": network.macs, "parameters": network.parameters,
            "bytes": round(float(costs.weight_bytes(groups)(widths)))}


def _facts(settings: Slim, start: _Start, network: Network, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    after = {group.name: group.units for group in couple(network).all}
    facts: dict[str, Any] = {
        "target": start.target, "share": start.share, "criterion": settings.criterion,
        "before": _weights(start.groups.network), "after": _weights(network),
        "groups": [
            {"group": row.group, "together": list(row.together), "nodes": list(row.nodes), "before": row.channels,
             "after": after[row.group], "pinned": row.pinned}
            for row in describe(start.groups)
        ],
        "rounds": rounds,
    }
    if start.table is not None:
        facts["latency"] = plain.to_plain(start.table)
    return facts


def _notes(settings: Slim, start: _Start, rounds: list[dict[str, Any]]) -> tuple[str, ...]:
    notes = []
    if start.share == 1.0:
        notes.append(f"the network was within `{start.target}` before anything was cut")
    without = [group.name for group in start.groups.free if not _has_value(settings, start.groups, group)]
    if without:
        notes.append(f"no batch norm ranks the channels of {', '.join(without)}: left whole")
    if start.table is not None:
        untimed = [group.name for group in start.groups.free if group.name not in start.table.by_width_us]
        if untimed:
            notes.append(f"without room to be narrower, or too many to time: {', '.join(untimed)}: left whole")
        if rounds[-1]["measured"] > start.share:
            notes.append(
                f"the measured latency is {rounds[-1]['measured']:.3f} of the whole network's, not {start.share:g}: "
                "nearer was not found"
            )
    elif rounds[-1]["reached"] < _MUCH_LESS * start.share:
        notes.append(
            f"whole steps of widths leave {rounds[-1]['reached']:.3f} of the {start.target}, and {start.share:.3g} was "
            "asked for: a smaller `multiple` comes nearer"
        )
    return tuple(notes)


def _read(path: Path, kind: Any) -> Any:
    return plain.from_plain(json.loads(path.read_text()), kind)
