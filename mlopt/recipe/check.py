"""What is wrong with a recipe before any data is read: settings that cannot work, and orders that undo themselves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from mlopt.configuration.fields import fields_of
from mlopt.recipe.steps import (
    NO_TEACHER,
    Cluster,
    Distill,
    Finetune,
    Prune,
    Quantize,
    Recipe,
    Slim,
    Step,
    Student,
    Training,
)

_TRAINING = frozenset(f.name for f in fields(Training)) - {"epochs"}
_OF_A_TEACHER = ("temperature", "labels")


@dataclass(frozen=True, kw_only=True)
class Problem:
    step: int               # index in the recipe
    key: str                # of that step; empty: the step itself, where it stands
    sentence: str


def find_problem(recipe: Recipe, said: Sequence[frozenset[str]] | None = None) -> Problem | None:
    """The first problem. `said` holds the keys that each step gives itself; else those that differ from the default."""
    said = said or [_differing(step) for step in recipe.steps]
    for number, step in enumerate(recipe.steps):
        for key, sentence in _of_settings(step, said[number]):
            return Problem(step=number, key=key, sentence=sentence)
        for key, sentence in _of_order(recipe.steps[:number], step, recipe.steps[number + 1:]):
            return Problem(step=number, key=key, sentence=sentence)
    return None


Found = Iterator[tuple[str, str]]        # key, sentence


def _of_settings(step: Step, said: frozenset[str]) -> Found:
    yield from _of_ranges(step)
    yield from _of_training(step, said)
    rules: dict[type, Callable[..., Found]] = {
        Distill: _of_distill, Slim: _of_slim, Prune: _of_prune, Quantize: _of_quantize,
    }
    if type(step) in rules:
        yield from rules[type(step)](step)


def _of_ranges(settings: Step | Student) -> Found:
    for name, field in fields_of(type(settings)).items():
        value = getattr(settings, name)
        if field.settings is not None:
            yield from _of_ranges(value)
        elif field.kind in ("number", "whole number") and not field.fits(value):
            yield name, f"`{name}` is {field.range_text()}; got {value}. {field.about}"
        elif field.choices and not set(value if field.kind == "words" else (value,)) <= set(field.choices):
            yield name, f"`{name}` is {field.range_text()}; got {value!r}"


def _of_training(step: Step, said: frozenset[str]) -> Found:
    if not step.epochs and not isinstance(step, Slim):       # slim ranks channels by the objective, trained or not
        for key in sorted(said & _TRAINING):
            yield key, f"`{key}` is about training, and `{step.name}` does not train: say `epochs` too"
    longest = -(-step.epochs // step.rounds) if isinstance(step, Slim) else step.epochs       # of its trainings
    if step.early_stopping >= longest > 0:
        yield "early_stopping", f"{step.early_stopping} epochs without improvement cannot pass in {longest}"
    if step.teacher == NO_TEACHER:
        for key in _OF_A_TEACHER:
            if key in said and not (key == "labels" and step.labels == 1):
                yield key, f"`{key}` shares between labels and teacher, and `teacher: none` leaves the labels alone"
    elif step.labels == 0:
        shaping = {"label_smoothing": step.label_smoothing > 0, "class_weights": step.class_weights != "none"}
        for key, used in shaping.items():
            if used:
                yield key, f"`{key}` shapes the loss on labels, and `labels: 0` gives that no weight"
    elif step.labels == 1 and "temperature" in said:
        yield "temperature", "`labels: 1` gives the teacher no weight, so its temperature does nothing"


def _of_distill(step: Distill) -> Found:
    if not step.epochs:
        yield "epochs", "`distill` is training: say for how many `epochs`"
    if step.teacher == NO_TEACHER:
        yield "teacher", "`distill` needs a teacher: the source, or a model file. Without one, that is `finetune`"
    features = step.hints > 0 or step.attention > 0
    if step.labels == 1 and not features:
        yield "labels", "`labels: 1` leaves the teacher no weight: take less, or `finetune`"
    if features and "," in step.teacher:
        key = "hints" if step.hints > 0 else "attention"
        yield key, f"`{key}` compares with the features of one teacher, and here are several"
    student = step.student
    chosen = [name for name in ("file", "width", "depth") if getattr(student, name)]
    if len(chosen) > 1:
        yield "student", f"a student is given by one of file, width and depth; here are {' and '.join(chosen)}"
    for name in ("width", "depth"):
        if getattr(student, name) == 1:
            yield "student", f"`{name}: 1` keeps everything: leave `student` out to train the network as it stands"


def _of_slim(step: Slim) -> Found:
    targets = ("macs", "parameters", "bytes", "latency")
    chosen = [name for name in targets if getattr(step, name)]
    if len(chosen) != 1:
        found = " and ".join(chosen) if chosen else "none"
        sentence = f"`slim` takes exactly one target of {', '.join(targets)}; here is {found}"
        yield (chosen[-1] if chosen else ""), sentence
    if step.epochs and step.rounds > step.epochs:
        yield "rounds", f"{step.rounds} rounds share {step.epochs} epochs: at least one epoch a round"
    if step.format and not step.latency:
        yield "format", "`format` says what a latency is measured in: name it with `latency` alone"
    if step.least == 1:
        yield "least", "`least: 1` keeps every channel, so nothing can be cut"


def _of_prune(step: Prune) -> Found:
    if step.pattern == "2:4" and step.sparsity != 0.5:
        yield "sparsity", f"the pattern 2:4 sets exactly half of the weights to zero; got sparsity {step.sparsity:g}"
    if step.pattern == "2:4" and step.scope == "global":
        yield "scope", "2:4 takes half of every kernel: there is nothing to share out among them"
    if step.early_stopping:
        yield "early_stopping", "the best weights may be older than the zeros: stop early in a `finetune` after it"
    if step.begin >= step.end:
        yield "begin", f"the schedule begins at {step.begin:g} of the training and ends at {step.end:g}: begin earlier"


def _of_quantize(step: Quantize) -> Found:
    chosen = [name for name in ("bytes", "share") if getattr(step, name)]
    if step.scheme == "mixed-4-8" and len(chosen) != 1:
        found = " and ".join(chosen) if chosen else "none"
        yield (chosen[-1] if chosen else ""), f"mixed-4-8 takes exactly one budget, bytes or share; here is {found}"
    if step.scheme != "mixed-4-8" and chosen:
        yield chosen[0], f"`{chosen[0]}` is the budget of mixed-4-8; {step.scheme} has nothing to choose"


def _of_order(before: Sequence[Step], step: Step, after: Sequence[Step]) -> Found:
    earlier = {type(s) for s in before}
    if Quantize in earlier:
        yield "", _AFTER_QUANTIZE[type(step)]
    if isinstance(step, Finetune) and not step.epochs:
        yield "epochs", "`finetune` is training: say for how many `epochs`"
    if isinstance(step, Prune) and not step.epochs and not any(s.epochs for s in after):
        yield "epochs", "`prune` takes weights away and nothing trains the rest: say `epochs`, here or in a later step"
    held = [s.pattern for s in before if isinstance(s, Prune) and s.pattern != "unstructured"]
    if isinstance(step, Slim) and held:
        yield "", f"`slim` cuts channels out of the pattern {held[0]} of `prune`: put it before `prune`"
    if isinstance(step, Distill) and before:
        yield from _of_late_student(before, step.student, held)
    if isinstance(step, Prune) and Cluster in earlier:
        yield "", "`prune` would break the values that `cluster` shared: put it first; its zeros stay one value"
    if isinstance(step, Prune):
        yield from _of_second_prune([s for s in before if isinstance(s, Prune)], step)
    if isinstance(step, Cluster) and Cluster in earlier:
        yield "", "weights share their values already since the first `cluster`: keep the one with fewer values"


_AFTER_QUANTIZE = {
    Quantize: "weights stand on one grid: two `quantize` steps cannot both be right; keep the last",
    Finetune: "`finetune` would move weights off the grid that `quantize` has trained: give `quantize` those epochs",
    Distill: "`distill` would move weights off the grid that `quantize` has trained: put it before, or give "
             "`quantize` epochs, which listens to the same teacher",
    Slim: "`slim` cuts channels whose grid `quantize` has measured and trained: put it before",
    Prune: "`prune` would train weights off the grid of `quantize`: put it before, and zeros stay zeros on the grid",
    Cluster: "`cluster` would move weights off the grid of `quantize`: put it before",
}


def _of_late_student(before: Sequence[Step], student: Student, held: Sequence[str]) -> Found:
    if student.file:
        yield "student", f"a student from a file throws away what `{before[-1].name}` did: put this `distill` first"
    if student.width and held:
        yield "student", (
            f"`width` takes channels out of the pattern {held[0]} of `prune`: put this `distill` before `prune`"
        )


def _of_second_prune(earlier: Sequence[Prune], step: Prune) -> Found:
    for first in earlier:
        if step.sparsity <= first.sparsity and step.pattern == first.pattern:
            yield "sparsity", f"an earlier `prune` reached {first.sparsity:g} already: ask for more, or leave this out"
        elif step.pattern == "2:4" and first.sparsity > step.sparsity:
            yield "pattern", f"more than half is zero already ({first.sparsity:g}): 2:4 has nothing left to choose"


def _differing(step: Step) -> frozenset[str]:
    return frozenset(f.name for f in fields(step) if getattr(step, f.name) != f.default)
