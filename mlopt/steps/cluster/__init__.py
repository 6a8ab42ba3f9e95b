"""Clustering: weights share few values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from mlopt.recipe.steps import Found, Step


@dataclass(frozen=True, kw_only=True)
class Cluster(Step):
    """Let weights share few values: smaller when compressed, and palettes for Core ML."""

    name: ClassVar[str] = "cluster"
    apply: ClassVar[str] = "mlopt.steps.cluster.apply:cluster"
    check: ClassVar[str] = "mlopt.steps.cluster.apply:check"
    after_grid: ClassVar[str] = (
        "`cluster` would move weights off the grid of `quantize`: put it before"
    )
    shares_values: ClassVar[bool] = True
    values: Annotated[int, Meta(ge=2, le=256, description="Different numbers in each group.")] = 16
    channels: Annotated[int, Meta(ge=0, description="Output channels in a group; 0: the whole tensor.")] = 0

    def misplaced(self, before: Sequence[Step], after: Sequence[Step]) -> Found:
        for shared in (step for step in before if step.shares_values):
            yield "", (
                f"weights share their values already since the first `{shared.name}`: keep the one with fewer values"
            )
