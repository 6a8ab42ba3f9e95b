"""The float file of one format."""

from pathlib import Path
from typing import TypedDict

from mlopt import cache, plain, plugins, worker
from mlopt.errors import MloptError
from mlopt.events import Doing, Exported, Refused, tell
from mlopt.frameworks.protocol import TrainedModel

MADE = "made.json"       # what the exporter said of the file beside it


class Notes(TypedDict):
    notes: tuple[str, ...]
    choices: dict[str, str]


def float_file(entry: Path, suffix: str) -> Path:
    """Where an entry holds its file."""
    return entry / f"float{suffix}"


def export(model: TrainedModel, name: str, entry: Path) -> None:
    if not entry.exists():
        tell(Doing(doing=f"exporting {name}", exporting=name))
        door = plugins.load_converter(name)
        try:
            with worker.result(entry) as folder:
                made = plain.resolve(door.export)(model, model.source.signature, float_file(folder, door.suffix))
                cache.write_record(folder / MADE, {"notes": made.notes, "choices": made.choices})
        except MloptError as err:
            tell(Refused(format=name, message=str(err)))
            return
    tell(Exported(format=name))
