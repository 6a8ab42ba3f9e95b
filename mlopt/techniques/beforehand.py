"""What a recipe's later steps would be refused for is said before its first one trains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks import augmentations
from mlopt.recipe.steps import Cluster, Distill, Prune, Quantize, Slim, Step
from mlopt.techniques import cluster, prune, quantize, slim
from mlopt.techniques.coupling import couple
from mlopt.techniques.step import Context
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
    widths_stay = True
    for position, each in enumerate(steps):
        try:
            _check_samples(each.step, context)
            if position:                    # the first one's own function is about to say it
                trainer(each.step, context)
                if widths_stay:
                    _check_targets(each.step, context)
                elif isinstance(each.step, Quantize) and each.step.bytes:
                    _check_bytes(each.step, context)
        except BadRequest as err:
            raise BadRequest(f"the recipe's step {each.number}, {each.step.name}: {err}") from err
        widths_stay = widths_stay and not _resizes(each.step)


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


def _check_targets(step: Step, context: Context) -> None:
    match step:
        case Slim():
            slim.check(step, context)
        case Quantize():
            quantize.check(step, context)
        case Prune():
            prune.choose(step, context)
        case Cluster():
            cluster.choose(step, context.model.folded())


def _check_bytes(step: Quantize, context: Context) -> None:
    """Whatever earlier steps cut: with one channel left in each group, the bytes can be met."""
    groups = couple(context.model.network)
    all_but_one = {group.name: np.arange(1, group.units) for group in groups.free}
    narrowest = context.model.narrowed(groups.kept(all_but_one))
    try:
        quantize.check(step, replace(context, model=narrowest))
    except BadRequest as err:
        raise BadRequest(f"even with one channel in each group: {err}") from err


def _resizes(step: Step) -> bool:
    return isinstance(step, Slim) or (isinstance(step, Distill) and step.student != type(step.student)())
