"""Distillation: a student learns from a teacher; it is given, or made from the network by narrowing or shortening."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import frameworks
from mlopt.channels.coupling import couple
from mlopt.channels.criteria import magnitude
from mlopt.channels.widths import allowed_widths
from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import AttentionLoss, HintLoss, Hold, Loss
from mlopt.frameworks.protocol import TrainableModel
from mlopt.location import ModelLocation
from mlopt.recipe.steps import THE_SOURCE
from mlopt.steps.distill import Distill, Student
from mlopt.steps.distill.blocks import Block, blocks, least_missed
from mlopt.steps.distill.stages import Pair, pairs
from mlopt.steps.protocol import Context, Done, Train
from mlopt.training.holding import cut_holds
from mlopt.training.teachers import check_fits

PROBED = 256         # validation samples on which the effect of leaving a block out is measured


def distill(settings: Distill, context: Context, train: Train) -> Done:
    """Make the student, find where features are compared, train."""
    student, holds, facts, notes = _student(settings.student, context)
    teacher = context.source if settings.teacher == THE_SOURCE else context.source.beside(Path(settings.teacher))
    losses: list[Loss] = []
    if settings.hints or settings.attention:
        _refuse_another_framework("`hints` and `attention` look into the teacher", teacher, context)
        if frameworks.of(teacher).answers_only(teacher):
            raise BadRequest(
                f"`hints` and `attention` look into the teacher, and {teacher.path} is a graph that only answers: give "
                "the model with layers that it came from, or leave them out"
            )
        found = pairs(student.network, context.open_model(teacher).network)
        if not found:
            raise BadRequest(
                f"`hints` and `attention` compare features of one size, and the student and {teacher.path} have none: "
                "leave them out"
            )
        losses = _feature_losses(settings, found)
        facts["features"] = [[pair.student, pair.teacher] for pair in found]
    fit = train(student, settings.epochs, "distill", losses=losses, holds=holds)
    facts |= {"teacher": settings.teacher, "macs": [context.model.network.macs, student.network.macs],
              "parameters": [context.model.network.parameters, student.network.parameters]}
    return Done(model=student, holds=holds, fits=(fit,), facts=facts, notes=notes)


def _refuse_another_framework(why: str, location: ModelLocation, context: Context) -> None:
    other, own = frameworks.of(location).name, context.model.framework
    if other != own:
        raise BadRequest(f"{why}, and {location.path} is a {other} model beside a source of {own}: give one of {own}")


def _feature_losses(settings: Distill, found: Sequence[Pair]) -> list[Loss]:
    """The weights are shared among the places."""
    losses: list[Loss] = []
    for pair in found:
        for weight, kind in ((settings.hints, HintLoss), (settings.attention, AttentionLoss)):
            if weight:
                losses.append(
                    kind(student_node=pair.student, teacher_node=pair.teacher, weight=weight / len(found))
                )
    return losses


Made = tuple[TrainableModel, dict[str, Hold], dict[str, Any], tuple[str, ...]]


def _student(wanted: Student, context: Context) -> Made:
    if wanted.file:
        location = context.source.beside(Path(wanted.file))
        _refuse_another_framework("the student is trained where the source is", location, context)
        student = context.open_model(location)
        check_fits(f"the student {wanted.file}", student.signature, context.model.signature)
        return student.renamed(context.model.signature), {}, {"student": "file"}, ()
    if wanted.width:
        return _narrowed(wanted.width, context)
    if wanted.depth:
        return _shortened(wanted.depth, context)
    return context.model, dict(context.holds), {"student": "the network"}, ()


def _narrowed(width: float, context: Context) -> Made:
    """The channels with the largest norm, as many as the nearest width that kernels like."""
    groups = couple(context.model.network)
    worth = magnitude(groups, context.model.weights())
    dropped, widths = {}, {}
    for group in groups.free:
        allowed = allowed_widths(group.units, group.units, multiple=0, least=0.0)
        stay = min(allowed, key=lambda units: (abs(units - width * group.units), units))
        if stay < group.units:
            dropped[group.name] = np.sort(np.argsort(worth[group.name], kind="stable")[: group.units - stay])
        widths[group.name] = [group.units, stay]
    if not dropped:
        raise BadRequest(
            f"at width {width:g} no group of channels loses a multiple of 4 or 8: ask for less, or use `slim`"
        )
    kept = groups.kept(dropped)
    pinned = sorted({group.pinned for group in groups.all if group.pinned})
    notes = (f"left as wide as they are: {'; '.join(pinned)}",) if pinned else ()
    return (
        context.model.narrowed(kept), cut_holds(context.holds, kept), {"student": "width", "widths": widths}, notes
    )


def _shortened(depth: float, context: Context) -> Made:
    """Without the blocks whose absence changes the outputs least, measured one by one on validation samples."""
    found = blocks(context.model.network)
    if not found:
        raise BadRequest(
            "no block of this network can be left out: none gives the shape that it takes. Give `width`, or a file"
        )
    goes = max(1, round((1 - depth) * len(found)))
    samples = Samples.open(context.validation).spread(PROBED)
    inputs = samples.rows(0, samples.count)
    whole = context.model.predict(inputs)
    effects = [_effect(whole, context.model.without(block.nodes).predict(inputs)) for block in found]
    gone = [found[i] for i in least_missed(effects, goes)]
    student = context.model.without([name for block in gone for name in block.nodes])
    there = student.weights()
    facts = {
        "student": "depth", "blocks": {block.end: effect for block, effect in zip(found, effects, strict=True)},
        "left_out": [block.end for block in gone],
    }
    notes = (f"left out: {', '.join(_words(block) for block in gone)}, {len(gone)} of {len(found)} repeated blocks",)
    return student, {name: hold for name, hold in context.holds.items() if name in there}, facts, notes


def _effect(whole: dict[str, np.ndarray], without: dict[str, np.ndarray]) -> float:
    """Mean squared change of the outputs, each by its own mean square; the mean over outputs."""
    parts = [
        float(np.mean(np.square(whole[name] - without[name])) / max(float(np.mean(np.square(whole[name]))), 1e-30))
        for name in whole
    ]
    return float(np.mean(parts))


def _words(block: Block) -> str:
    return f"{block.start} to {block.end}"
