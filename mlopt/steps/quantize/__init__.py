"""Quantization in training: weights and activations are rounded as the exported file will round them."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from mlopt.configuration.fields import OneOf
from mlopt.recipe.steps import Found, Step
from mlopt.scheme import INT8, SCHEMES

_CHOOSE = ", ".join(scheme.name for scheme in SCHEMES.values() if scheme.chooses)     # those that take a budget


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
        str, OneOf(SCHEMES), Meta(description=" ".join(f"{s.name}: {s.about}" for s in SCHEMES.values()))
    ] = INT8.name
    bytes: Annotated[
        int, Meta(ge=0, description=f"{_CHOOSE}: all kernels and biases together take at most so many.")
    ] = 0
    share: Annotated[
        float, Meta(ge=0, lt=1, description=f"{_CHOOSE}: the same, as a share of what they take at 8 bits.")
    ] = 0.0

    @property
    def checks_narrowest(self) -> bool:
        return self.bytes > 0

    def problems(self) -> Found:
        chosen = [name for name in ("bytes", "share") if getattr(self, name)]
        chooses = SCHEMES[self.scheme].chooses
        if chooses and len(chosen) != 1:
            found = " and ".join(chosen) if chosen else "none"
            yield (chosen[-1] if chosen else ""), (
                f"{self.scheme} takes exactly one budget, bytes or share; here is {found}"
            )
        if not chooses and chosen:
            yield chosen[0], f"`{chosen[0]}` is the budget of {_CHOOSE}; {self.scheme} has nothing to choose"
