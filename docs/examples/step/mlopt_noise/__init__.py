"""A step that shakes kernels before it trains them: the door. It imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from mlopt.recipe.steps import Found, Step


@dataclass(frozen=True, kw_only=True)
class Noise(Step):
    """Add noise to kernels, then train: a network that ends in a wide minimum loses less when it is rounded."""

    name: ClassVar[str] = "noise"
    apply: ClassVar[str] = "mlopt_noise.work:shake"
    check: ClassVar[str] = "mlopt_noise.work:check"

    share: Annotated[float, Meta(gt=0, le=1, description="Of a kernel's root mean square: the noise's own.")] = 0.05

    def problems(self) -> Found:
        if not self.epochs:
            yield "epochs", "`noise` without training makes a network worse: say for how many `epochs`"
