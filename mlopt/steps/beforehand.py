"""What a recipe's later steps would be refused for is said before its first one trains."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlopt import plain
from mlopt.channels.coupling import couple
from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks import augmentations
from mlopt.frameworks.fitting import FitResult
from mlopt.frameworks.protocol import TrainableModel
from mlopt.recipe.steps import Step
from mlopt.steps.protocol import Check, Context, Train
from mlopt.training.objective import trainer


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """A step and its place in the recipe, from 1."""

    number: int
    step: Step


def check(steps: Sequence[Numbered], context: Context) -> None:
    """Raise `BadRequest` or `DataMismatch` for samples, teachers and targets that cannot work.

    `steps` are those that are still to be done; the first one begins with the context's model. Targets are looked at
    as long as no earlier one of them changes the widths of the network; bytes, after that, on the narrowest there is.
    """
    for position, each in enumerate(steps):
        with _named(each):
            _check_samples(each.step, context)
            if position:                    # the first one's own function is about to say it
                trainer(each.step, context)
    _check_targets(steps[1:], context, widths_stay=not steps[0].step.resizes)


def watched(train: Train, steps: Sequence[Numbered], context: Context) -> Train:
    """The first step's `train`; where that step resizes, it looks at later targets first, as widths are known now."""
    first = steps[0].step
    if not first.resizes or first.trainings > 1:
        return train

    def checked(model: TrainableModel, epochs: int, name: str, **further: Any) -> FitResult:
        _check_targets(steps[1:], replace(context, model=model), widths_stay=True)
        return train(model, epochs, name, **further)

    return checked


def _check_targets(steps: Sequence[Numbered], context: Context, *, widths_stay: bool) -> None:
    """`widths_stay`: the context's model is the one that the first of the steps begins with."""
    for each in steps:
        with _named(each):
            if widths_stay:
                _check_target(each.step, context)
            elif each.step.checks_narrowest:
                _check_narrowest(each.step, context)
        widths_stay = widths_stay and not each.step.resizes


@contextmanager
def _named(each: Numbered) -> Iterator[None]:
    """An error says which step it is about."""
    try:
        yield
    except BadRequest as err:
        raise BadRequest(f"the recipe's step {each.number}, {each.step.name}: {err}") from err


def _check_samples(step: Step, context: Context) -> None:
    if not step.epochs:
        return
    count = Samples.open(context.train).count
    if step.batch > count:
        raise BadRequest(
            f"a batch of {step.batch:,} is more than there are samples to train on, {count:,}: say `batch: {count}` or "
            "less, or give more samples"
        )
    augmentations.check(step.augment, context.model.signature)


def _check_target(step: Step, context: Context) -> None:
    if step.check:
        check_: Check = plain.resolve(step.check)
        check_(step, context)


def _check_narrowest(step: Step, context: Context) -> None:
    """Whatever earlier steps cut: with one channel left in each group, the target can be met."""
    groups = couple(context.model.network)
    all_but_one = {group.name: np.arange(1, group.units) for group in groups.free}
    narrowest = context.model.narrowed(groups.kept(all_but_one))
    try:
        _check_target(step, replace(context, model=narrowest))
    except BadRequest as err:
        raise BadRequest(f"even with one channel in each group: {err}") from err
