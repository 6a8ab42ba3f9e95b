"""What a recipe's steps did, as the cells of one table for every rendering."""

import math

from mlopt.report import StepFacts, Trained
from mlopt.words import UNKNOWN_TEXT, clean, count_text, grouped, percent, span

_INPUT = "input: "       # begins a step's notes on how its samples were read

HEADS = ("Step", "Epochs", "Validation", "MACs", "Parameters", "Zeros", "Waited for data", "Took")


def rows(trained: Trained) -> list[tuple[str, ...]]:
    """One a step, in `HEADS`' order; a figure that a step left as it was stands once."""
    return [
        (
            clean(step.name), str(step.epochs) if step.epochs else "none",
            _change(step.validation_before, step.validation),
            _counts(step.macs_before, step.macs), _counts(step.parameters_before, step.parameters),
            percent(1 - step.nonzero / step.parameters) if step.parameters else UNKNOWN_TEXT,
            percent(step.waiting), span(step.seconds),
        )
        for step in trained.steps
    ]


SHORT_HEADS = ("Step", "Epochs", "Validation", "MACs", "Weights", "Zeros", "Waited", "Took")


def short_rows(trained: Trained) -> list[tuple[str, ...]]:
    """What a step left, for 80 columns; in `SHORT_HEADS`' order."""
    return [
        (
            clean(step.name), str(step.epochs), _change(step.validation, step.validation), count_text(step.macs),
            count_text(step.parameters), row[5], row[6], row[7],
        )
        for step, row in zip(trained.steps, rows(trained), strict=True)
    ]


def sentence(trained: Trained) -> str:
    """Which recipe, on how many samples, how long."""
    words = f"{clean(trained.recipe)}: {clean(trained.about)} " if trained.about else f"{clean(trained.recipe)}. "
    return (
        f"{words}Trained on {grouped(trained.train_samples)} samples, chosen on {grouped(trained.validation_samples)} "
        f"others, in {span(trained.seconds)}."
    )


def notes(step: StepFacts) -> list[str]:
    """What a reader must know of a step, a continued training among it; what was done for the input is one note."""
    resumed = [f"continued at training step {grouped(step.resumed_at)} after it was stopped"] if step.resumed_at else []
    of_input = [clean(note.removeprefix(_INPUT)) for note in step.notes if note.startswith(_INPUT)]
    others = [clean(note) for note in step.notes if not note.startswith(_INPUT)]
    return [*resumed, *others, *([f"{_INPUT}{'; '.join(of_input)}"] if of_input else [])]


def _change(before: float, after: float) -> str:
    texts = [UNKNOWN_TEXT if math.isnan(value) else f"{value:.4f}" for value in (before, after)]
    return texts[1] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def _counts(before: int, after: int) -> str:
    return grouped(after) if before == after else f"{grouped(before)} to {grouped(after)}"
