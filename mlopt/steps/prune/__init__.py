"""Pruning: single weights are set to zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from mlopt.recipe.steps import Found, Step


@dataclass(frozen=True, kw_only=True)
class Prune(Step):
    """Set single weights to zero on a schedule. Files get smaller when compressed; speed needs sparse kernels."""

    name: ClassVar[str] = "prune"
    apply: ClassVar[str] = "mlopt.steps.prune.apply:prune"
    check: ClassVar[str] = "mlopt.steps.prune.apply:check"
    after_grid: ClassVar[str] = (
        "`prune` would train weights off the grid of `quantize`: put it before, and zeros stay zeros on the grid"
    )
    sparsity: Annotated[float, Meta(gt=0, lt=1, description="Share of zeros at the end.")] = 0.5
    pattern: Annotated[
        Literal["unstructured", "2:4", "block-1x4"],
        Meta(description="Anywhere; two of every four along the input channels; or four output channels at once."),
    ] = "unstructured"
    scope: Annotated[
        Literal["layer", "global"],
        Meta(description="The same share of every kernel, or the smallest of all kernels (Lee et al. 2021)."),
    ] = "layer"
    begin: Annotated[float, Meta(ge=0, lt=1, description="The schedule's start, as a share of the training.")] = 0.0
    end: Annotated[float, Meta(gt=0, le=1, description="The schedule's end, as a share of the training.")] = 0.75

    @property
    def holds_pattern(self) -> str:
        return self.pattern if self.pattern != "unstructured" else ""

    def problems(self) -> Found:
        if self.pattern == "2:4" and self.sparsity != 0.5:
            yield "sparsity", (
                f"the pattern 2:4 sets exactly half of the weights to zero; got sparsity {self.sparsity:g}"
            )
        if self.pattern == "2:4" and self.scope == "global":
            yield "scope", "2:4 takes half of every kernel: there is nothing to share out among them"
        if self.early_stopping:
            yield "early_stopping", "the best weights may be older than the zeros: stop early in a `finetune` after it"
        if self.begin >= self.end:
            yield "begin", (
                f"the schedule begins at {self.begin:g} of the training and ends at {self.end:g}: begin earlier"
            )

    def misplaced(self, before: Sequence[Step], after: Sequence[Step]) -> Found:
        if not self.epochs and not any(step.epochs for step in after):
            yield "epochs", (
                "`prune` takes weights away and nothing trains the rest: say `epochs`, here or in a later step"
            )
        for shared in (step for step in before if step.shares_values):
            yield "", (
                f"`prune` would break the values that `{shared.name}` shared: put it first; its zeros stay one value"
            )
        for first in (step for step in before if isinstance(step, Prune)):
            if self.sparsity <= first.sparsity and self.pattern == first.pattern:
                yield "sparsity", (
                    f"an earlier `prune` reached {first.sparsity:g} already: ask for more, or leave this out"
                )
            elif self.pattern == "2:4" and first.sparsity > self.sparsity:
                yield "pattern", (
                    f"more than half is zero already ({first.sparsity:g}): 2:4 has nothing left to choose"
                )
