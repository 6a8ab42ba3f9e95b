"""In the framework's worker: open a model once, and make everything that only the opened model can give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlopt import plain
from mlopt.events import Doing, SamplesWanted, ask, tell
from mlopt.frameworks import open_model
from mlopt.frameworks.protocol import TrainedModel
from mlopt.location import ModelLocation
from mlopt.pipeline.workers.answering import Asked, answer
from mlopt.pipeline.workers.exporting import export
from mlopt.pipeline.workers.opening import describe
from mlopt.pipeline.workers.synthesising import synthesise


@dataclass(frozen=True, kw_only=True)
class SourceTask:
    """What to open and what to make of it; entries that are there already are left alone."""

    location: ModelLocation
    describe: Path
    floats: Mapping[str, Path] = field(default_factory=dict)     # format -> entry
    synthesise: Path | None = None
    answers: bool = False                # whether to ask for samples to run the model on
    seed: int = 0


def work(task: SourceTask) -> None:
    tell(Doing(doing="opening"))
    model = open_model(task.location)
    describe(model, task.describe)
    first, *others = task.floats.items() or [("", None)]
    if first[1] is not None:
        export(model, first[0], first[1])
    _run(model, task)                    # the first format's worker can start while the others are exported
    for name, entry in others:
        assert entry is not None
        export(model, name, entry)


def _run(model: TrainedModel, task: SourceTask) -> None:
    if task.synthesise is not None:
        synthesise(model, task.synthesise, task.seed)
    if task.answers:
        asked = ask(SamplesWanted())
        if asked is not None:            # else they are kept already
            answer(model, plain.from_plain(asked, Asked), task.seed)
