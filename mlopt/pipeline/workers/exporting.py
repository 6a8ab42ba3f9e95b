"""The float file of one format."""

from pathlib import Path
from typing import TypedDict

from mlopt import cache, plain, plugins, worker
from mlopt.convert.protocol import Converter
from mlopt.errors import MloptError, UnsupportedPair
from mlopt.events import Doing, Exported, Refused, tell
from mlopt.frameworks.protocol import TrainedModel

MADE = "made.json"       # what the exporter said of the file beside it


class Notes(TypedDict):
    notes: tuple[str, ...]
    choices: dict[str, str]


def float_file(entry: Path, suffix: str) -> Path:
    """Where an entry holds its file."""
    return entry / f"float{suffix}"


def exporter_of(door: Converter, framework: str) -> str:
    """The function that writes models of that framework; raises `UnsupportedPair` where the format has none."""
    if framework not in door.exporters:
        raise UnsupportedPair(door.name, framework, sorted(door.exporters))
    return door.exporters[framework].function


def export(model: TrainedModel, name: str, entry: Path) -> None:
    if not entry.exists():
        tell(Doing(doing=f"exporting {name}", exporting=name))
        door = plugins.load_converter(name)
        try:
            with worker.result(entry) as folder:
                export_ = plain.resolve(exporter_of(door, model.source.framework))
                made = export_(model, model.source.signature, float_file(folder, door.suffix))
                cache.write_record(folder / MADE, {"notes": made.notes, "choices": made.choices})
        except MloptError as err:
            tell(Refused(format=name, message=str(err)))
            return
    tell(Exported(format=name))
