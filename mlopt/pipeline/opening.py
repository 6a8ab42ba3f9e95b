"""A model's description by its worker."""

from dataclasses import replace
from pathlib import Path

from mlopt import cache
from mlopt.cache import Cache
from mlopt.location import ModelLocation
from mlopt.model import SourceModel
from mlopt.pipeline.source_stage import SourceTask
from mlopt.sandbox import Reach
from mlopt.worker import Crew, Job


def describe(location: ModelLocation, crew: Crew, store: Cache) -> SourceModel:
    entry = store.entry("source", **location.identity)
    if not entry.exists():
        task = SourceTask(location=location, describe=entry, floats={})
        job = Job(
            task="opening the model", function="mlopt.pipeline.source_stage:export_source", arguments={"task": task},
            sees=("keras",), leaves=(entry,), reach=Reach(reads=(location.path, store.root)),
            user_modules=location.imports_user_code,
        )
        crew.run(job, type(None))
    return source_in(entry, location.path)


def source_in(entry: Path, model: Path) -> SourceModel:
    """The description kept in `entry`, of `model`: the same content may have been opened under another name."""
    return replace(cache.read_record(entry / "source.json", SourceModel), path=model)
