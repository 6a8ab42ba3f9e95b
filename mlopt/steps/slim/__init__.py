"""Slimming: whole channels go until a target is met."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

from msgspec import Meta

from mlopt.recipe.steps import Found, Step

TARGETS = ("macs", "parameters", "bytes", "latency")


@dataclass(frozen=True, kw_only=True)
class Slim(Step):
    """Cut whole channels until a target is met, with training in between."""

    name: ClassVar[str] = "slim"
    apply: ClassVar[str] = "mlopt.steps.slim.apply:slim"
    check: ClassVar[str] = "mlopt.steps.slim.apply:check"
    after_grid: ClassVar[str] = (
        "`slim` cuts channels whose grid `quantize` has measured and trained: put it before"
    )
    macs: Annotated[
        float, Meta(ge=0, lt=1, description="Share of multiply-accumulates to keep; exactly one of the four targets.")
    ] = 0.0
    parameters: Annotated[float, Meta(ge=0, lt=1, description="Share of parameters to keep.")] = 0.0
    bytes: Annotated[int, Meta(ge=0, description="Most bytes of the weights at 8 bits.")] = 0
    latency: Annotated[
        float, Meta(ge=0, lt=1, description="Share of the measured int8 latency on this machine to keep.")
    ] = 0.0
    format: Annotated[
        str, Meta(description="With latency: the format whose int8 files are timed; left out: the first installed "
                              "format that this machine can time and that drafts such files.")
    ] = ""
    criterion: Annotated[
        Literal["taylor", "magnitude", "scale", "random"],
        Meta(description="Which channels matter: by first-order Taylor terms, by weights, by the scale of batch "
                         "normalization; random is a control."),
    ] = "taylor"
    rounds: Annotated[int, Meta(ge=1, le=100, description="Cuts, with epochs / rounds of training after each.")] = 1
    multiple: Annotated[
        int, Meta(ge=0, description="Widths are rounded to it; 0: 8 for groups of 32 channels or more, else 4.")
    ] = 0
    least: Annotated[
        float, Meta(ge=0, le=1, description="Share of each group's channels that stays at least.")
    ] = 0.25

    @property
    def resizes(self) -> bool:
        return True

    @property
    def trainings(self) -> int:
        return self.rounds

    @property
    def needs_objective(self) -> bool:
        """First-order terms are of the loss, trained or not."""
        return self.epochs > 0 or self.criterion == "taylor"

    @property
    def timed_in(self) -> str | None:
        return self.format if self.latency else None

    def timing(self, format: str) -> Self:
        return replace(self, format=format)

    def problems(self) -> Found:
        chosen = [name for name in TARGETS if getattr(self, name)]
        if len(chosen) != 1:
            found = " and ".join(chosen) if chosen else "none"
            sentence = f"`slim` takes exactly one target of {', '.join(TARGETS)}; here is {found}"
            yield (chosen[-1] if chosen else ""), sentence
        if self.epochs and self.rounds > self.epochs:
            yield "rounds", f"{self.rounds} rounds share {self.epochs} epochs: at least one epoch a round"
        if self.format and not self.latency:
            yield "format", "`format` says what a latency is measured in: name it with `latency` alone"
        if self.least == 1:
            yield "least", "`least: 1` keeps every channel, so nothing can be cut"

    def misplaced(self, before: Sequence[Step], after: Sequence[Step]) -> Found:
        for held in (step for step in before if step.holds_pattern):
            yield "", (
                f"`slim` cuts channels out of the pattern {held.holds_pattern} of `{held.name}`: put it before "
                f"`{held.name}`"
            )
