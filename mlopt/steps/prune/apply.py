"""Weight sparsity: single weights set to zero on a schedule, and an honest account of what that gives."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Hold
from mlopt.network import Weights
from mlopt.steps.kernels import Kernel, kernels, left_alone, zipped_bytes
from mlopt.steps.protocol import Context, Done, Train
from mlopt.steps.prune import Prune
from mlopt.steps.prune.sparsity import across, fits, keep_largest, mask_of, ramp, spread, unit_scores
from mlopt.training.holding import combined, held

SPARED = 0.02        # of all kernel weights: the smallest kernels together, which hold much and weigh little
CHANGES = 64         # of the masks over a training, at most: each costs a pass over the weights on the host


def prune(settings: Prune, context: Context, train: Train) -> Done:
    """Zeros appear between `begin` and `end` of the training, the smallest weights first; what is zero stays so."""
    network, before = context.model.network, context.model.weights()
    chosen, left = choose(settings, context)
    total = sum(kernel.size for kernel in chosen)
    samples = Samples.open(context.train).count
    steps = max(1, math.ceil(samples / settings.batch)) * settings.epochs
    schedule = Gradual(settings=settings, kernels=chosen, earlier=context.holds, every=max(1, steps // CHANGES))
    fitted = (train(context.model, settings.epochs, "prune", holder=schedule),) if settings.epochs else ()
    holds = combined(context.holds, schedule.masks(context.model.weights(), 1.0))
    context.model.set_weights({
        name: held(array, holds[name]) for name, array in context.model.weights().items() if name in holds
    })
    after = context.model.weights()
    every = [weight.name for weight in network.weights().values() if weight.role == "kernel"]
    facts: dict[str, Any] = {
        "pattern": settings.pattern, "scope": settings.scope,
        "sparsity": _zeros(after, [k.name for k in chosen]), "sparsity_of_all_kernels": _zeros(after, every),
        "kernels": {k.name: _zeros(after, [k.name]) for k in chosen}, "weights": total,
        "before": zipped_bytes(before, chosen), "after": zipped_bytes(after, chosen),
    }
    return Done(
        model=context.model, holds=holds, fits=fitted, facts=facts,
        notes=(*_honest(settings, facts), *left_alone(left)),
    )


def check(settings: Prune, context: Context) -> None:
    """Raise `BadRequest` where no kernel takes the pattern."""
    choose(settings, context)


def choose(settings: Prune, context: Context) -> tuple[tuple[Kernel, ...], dict[str, str]]:
    """Kernels to prune, and why others are left alone. Raises `BadRequest` where none is left."""
    found, left = kernels(context.model.network)
    left |= {k.name: why for k in found if (why := fits(k.shape, settings.pattern, (k.out_axis, k.in_axis)))}
    candidates = [k for k in found if k.name not in left]
    spared, limit = 0, SPARED * sum(k.size for k in found)
    for kernel in sorted(candidates, key=lambda k: k.size):
        spared += kernel.size
        if spared > limit:
            break
        left[kernel.name] = "the smallest kernels together hold less than a fiftieth of all weights"
    chosen = tuple(k for k in candidates if k.name not in left)
    if not chosen:
        raise BadRequest(f"`prune` finds no kernel for the pattern {settings.pattern}: {'; '.join(left_alone(left))}")
    return chosen, left


@dataclass(frozen=True, kw_only=True)
class Gradual:
    """A `Holder` whose masks follow the schedule; what was zero before stays zero."""

    settings: Prune
    kernels: tuple[Kernel, ...]
    earlier: Mapping[str, Hold]
    every: int

    def holds(self, step: int, steps: int, weights: Weights) -> Mapping[str, Hold] | None:
        last_asked = (steps - 1) // self.every * self.every
        begin = min(math.floor(self.settings.begin * steps), last_asked)
        end = min(max(math.ceil(self.settings.end * steps), begin + 1), last_asked)     # nobody asks after that
        if step < begin:
            return None
        share = ramp(step, begin=begin, end=end, first=0.0, last=1.0)
        return self.masks(weights, share)

    def masks(self, weights: Weights, share: float) -> dict[str, Hold]:
        """Of each kernel, at `share` of the way from the zeros that it has to those that are asked for."""
        arrays = {k.name: held(weights[k.name], self.earlier.get(k.name, Hold())) for k in self.kernels}
        if self.settings.scope == "global":
            return self._together(arrays, share)
        found = {}
        for kernel in self.kernels:
            first = self._first(kernel)
            sparsity = first + (max(self.settings.sparsity, first) - first) * share
            axes = (kernel.out_axis, kernel.in_axis)
            found[kernel.name] = Hold(mask=mask_of(arrays[kernel.name], sparsity, self.settings.pattern, axes))
        return found

    def _together(self, arrays: Mapping[str, np.ndarray], share: float) -> dict[str, Hold]:
        """One threshold for all kernels."""
        pattern = self.settings.pattern
        scores = across({
            k.name: unit_scores(arrays[k.name], pattern, (k.out_axis, k.in_axis)) for k in self.kernels
        })
        sizes = [k.size for k in self.kernels]
        first = float(np.average([self._first(k) for k in self.kernels], weights=sizes))
        sparsity = first + (max(self.settings.sparsity, first) - first) * share
        kept = keep_largest(np.concatenate([s.ravel() for s in scores.values()]), sparsity)
        parts = np.split(kept, np.cumsum([s.size for s in scores.values()])[:-1])
        return {
            k.name: Hold(mask=spread(
                part.reshape(scores[k.name].shape), k.shape, pattern, (k.out_axis, k.in_axis)
            ))
            for k, part in zip(self.kernels, parts, strict=True)
        }

    def _first(self, kernel: Kernel) -> float:
        """The share of zeros that an earlier step holds."""
        mask = self.earlier.get(kernel.name, Hold()).mask
        return 0.0 if mask is None else float(1 - mask.mean())


def _zeros(weights: Weights, names: list[str]) -> float:
    total = sum(weights[name].size for name in names)
    return 1 - sum(int(np.count_nonzero(weights[name])) for name in names) / total


def _honest(settings: Prune, facts: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = facts["before"]["zipped_int8_bytes"], facts["after"]["zipped_int8_bytes"]
    speed = {
        "unstructured": "a runtime gets faster by it only with sparse kernels: XNNPACK has them for 1x1 convolutions",
        "2:4": "a runtime gets faster by it only with 2:4 kernels, which GPUs have and mobile runtimes have not",
        "block-1x4": "a runtime gets faster by it only with block-sparse kernels",
    }[settings.pattern]
    return (
        f"zeros make the file smaller after compression alone: these kernels at 8 bits, zipped, {before:,} to "
        f"{after:,} bytes", f"{speed}; no such kernel was timed here, and the report times the files as they are",
    )
