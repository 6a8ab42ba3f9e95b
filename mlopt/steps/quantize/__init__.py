"""Quantization in training: weights and activations are rounded as the exported file will round them."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from mlopt.recipe.steps import Found, Step


@dataclass(frozen=True, kw_only=True)
class Quantize(Step):
    """Round weights and activations in training as the exported file will."""

    name: ClassVar[str] = "quantize"
    apply: ClassVar[str] = "mlopt.steps.quantize.apply:quantize"
    check: ClassVar[str] = "mlopt.steps.quantize.apply:check"
    leaves_grid: ClassVar[bool] = True
    after_grid: ClassVar[str] = (
        "weights stand on one grid: two `quantize` steps cannot both be right; keep the last"
    )
    scheme: Annotated[
        Literal["int8", "mixed-4-8"], Meta(description="mixed-4-8: kernels at 4 bits where it hurts least.")
    ] = "int8"
    bytes: Annotated[
        int, Meta(ge=0, description="mixed-4-8: all kernels and biases together take at most so many.")
    ] = 0
    share: Annotated[
        float, Meta(ge=0, lt=1, description="mixed-4-8: the same, as a share of what they take at 8 bits.")
    ] = 0.0

    @property
    def checks_narrowest(self) -> bool:
        return self.bytes > 0

    def problems(self) -> Found:
        chosen = [name for name in ("bytes", "share") if getattr(self, name)]
        if self.scheme == "mixed-4-8" and len(chosen) != 1:
            found = " and ".join(chosen) if chosen else "none"
            yield (chosen[-1] if chosen else ""), f"mixed-4-8 takes exactly one budget, bytes or share; here is {found}"
        if self.scheme != "mixed-4-8" and chosen:
            yield chosen[0], f"`{chosen[0]}` is the budget of mixed-4-8; {self.scheme} has nothing to choose"
