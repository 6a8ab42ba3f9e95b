"""Distillation: a student learns from a teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from mlopt.recipe.steps import NO_TEACHER, Found, Step


@dataclass(frozen=True, kw_only=True)
class Student:
    """What learns: exactly one of file, width and depth; none of them: the network as it stands."""

    file: Annotated[
        str, Meta(description="A model file with the same inputs and outputs. A relative path starts at the recipe's "
                              "folder.")
    ] = ""
    width: Annotated[
        float, Meta(ge=0, le=1, description="Share of channels that stay, the largest by norm; 0: not asked for.")
    ] = 0.0
    depth: Annotated[
        float, Meta(ge=0, le=1, description="Share of repeated blocks that stay; 0: not asked for.")
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class Distill(Step):
    """Train a student towards a teacher's outputs, and features where asked."""

    name: ClassVar[str] = "distill"
    apply: ClassVar[str] = "mlopt.steps.distill.apply:distill"
    after_grid: ClassVar[str] = (
        "`distill` would move weights off the grid that `quantize` has trained: put it before, or give "
        "`quantize` epochs, which listens to the same teacher"
    )
    student: Annotated[Student, Meta(description="What learns; left out: the network as it stands.")] = Student()
    hints: Annotated[
        float, Meta(ge=0, description="Weight of feature hints at the ends of the stages (Romero et al. 2014).")
    ] = 0.0
    attention: Annotated[
        float, Meta(ge=0, description="Weight of attention transfer at the same places (Zagoruyko 2017).")
    ] = 0.0

    @property
    def resizes(self) -> bool:
        return self.student != Student()

    def model_files(self) -> tuple[str, ...]:
        return (*super().model_files(), *filter(None, [self.student.file]))

    def problems(self) -> Found:
        if not self.epochs:
            yield "epochs", "`distill` is training: say for how many `epochs`"
        if self.teacher == NO_TEACHER:
            yield "teacher", (
                "`distill` needs a teacher: the source, or a model file. Without one, that is `finetune`"
            )
        features = self.hints > 0 or self.attention > 0
        if self.labels == 1 and not features:
            yield "labels", "`labels: 1` leaves the teacher no weight: take less, or `finetune`"
        if features and "," in self.teacher:
            key = "hints" if self.hints > 0 else "attention"
            yield key, f"`{key}` compares with the features of one teacher, and here are several"
        student = self.student
        chosen = [name for name in ("file", "width", "depth") if getattr(student, name)]
        if len(chosen) > 1:
            yield "student", f"a student is given by one of file, width and depth; here are {' and '.join(chosen)}"
        for name in ("width", "depth"):
            if getattr(student, name) == 1:
                yield "student", f"`{name}: 1` keeps everything: leave `student` out to train the network as it stands"

    def misplaced(self, before: Sequence[Step], after: Sequence[Step]) -> Found:
        if before and self.student.file:
            yield "student", (
                f"a student from a file throws away what `{before[-1].name}` did: put this `distill` first"
            )
        for held in (step for step in before if step.holds_pattern and self.student.width):
            yield "student", (
                f"`width` takes channels out of the pattern {held.holds_pattern} of `{held.name}`: put this `distill` "
                f"before `{held.name}`"
            )
