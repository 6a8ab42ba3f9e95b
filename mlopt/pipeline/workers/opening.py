"""The description of an opened model."""

from pathlib import Path

from mlopt import cache, worker
from mlopt.events import Opened, tell
from mlopt.frameworks.protocol import TrainedModel

SOURCE = "source.json"


def describe(model: TrainedModel, entry: Path) -> None:
    if not entry.exists():
        with worker.result(entry) as folder:
            cache.write_record(folder / SOURCE, model.source)
    tell(Opened())
