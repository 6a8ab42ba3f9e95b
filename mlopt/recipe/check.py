"""What is wrong with a recipe before any data is read: settings that cannot work, and orders that undo themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from mlopt.configuration.fields import fields_of
from mlopt.recipe.steps import NO_TEACHER, Found, Recipe, Step, Training

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


def _of_settings(step: Step, said: frozenset[str]) -> Found:
    yield from _of_ranges(step)
    yield from _of_training(step, said)
    yield from step.problems()


def _of_order(before: Sequence[Step], step: Step, after: Sequence[Step]) -> Found:
    grid = next((earlier for earlier in before if earlier.leaves_grid), None)
    if grid is not None:
        yield "", step.after_grid or f"`{step.name}` would move weights off the grid of `{grid.name}`: put it before"
    yield from step.misplaced(before, after)


def _of_ranges(settings: object) -> Found:
    for name, field in fields_of(type(settings)).items():
        value = getattr(settings, name)
        if field.settings is not None:
            yield from _of_ranges(value)
        elif field.kind in ("number", "whole number") and not field.fits(value):
            yield name, f"`{name}` is {field.range_text()}; got {value}. {field.about}"
        elif field.choices and not set(value if field.kind == "words" else (value,)) <= set(field.choices):
            yield name, f"`{name}` is {field.range_text()}; got {value!r}"


def _of_training(step: Step, said: frozenset[str]) -> Found:
    if not step.needs_objective:
        for key in sorted(said & _TRAINING):
            yield key, f"`{key}` is about training, and `{step.name}` does not train: say `epochs` too"
    longest = -(-step.epochs // step.trainings)
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


def _differing(step: Step) -> frozenset[str]:
    return frozenset(f.name for f in fields(step) if getattr(step, f.name) != f.default)
