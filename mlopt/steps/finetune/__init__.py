"""Training of the network as it stands."""

from dataclasses import dataclass
from typing import ClassVar

from mlopt.recipe.steps import Found, Step


@dataclass(frozen=True, kw_only=True)
class Finetune(Step):
    """Train the network as it stands; what earlier steps made sparse or shared stays so."""

    name: ClassVar[str] = "finetune"
    apply: ClassVar[str] = "mlopt.steps.finetune.apply:finetune"

    def problems(self) -> Found:
        if not self.epochs:
            yield "epochs", "`finetune` is training: say for how many `epochs`"
