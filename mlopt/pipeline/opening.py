"""A model's description by its worker, and everything that decides it: part of the key of every later stage."""

import hashlib
import sys
import uuid
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from mlopt import cache, files
from mlopt.cache import Cache
from mlopt.errors import ModelUnreadable
from mlopt.model import SourceModel
from mlopt.pipeline.request import CompressRequest
from mlopt.pipeline.source_stage import SourceTask
from mlopt.sandbox import Reach
from mlopt.worker import Crew, Job, Sees


def describe(request: CompressRequest, crew: Crew, store: Cache) -> SourceModel:
    entry = store.entry("source", **opening_of(request))
    if not entry.exists():
        task = SourceTask(
            path=request.model, trust_code=request.trust_code, custom_objects=request.custom_objects,
            input_shapes=request.input_shapes, describe=entry, floats={},
        )
        job = Job(
            task="opening the model", function="mlopt.pipeline.source_stage:export_source", arguments={"task": task},
            sees=Sees.TENSORFLOW, leaves=(entry,), reach=Reach(reads=(request.model, store.root)),
            user_modules=bool(request.custom_objects),
        )
        crew.run(job, type(None))
    return source_in(entry, request.model)


def opening_of(request: CompressRequest) -> dict[str, Any]:
    """Everything that decides what opening the model gives, the user's own code for it included."""
    return {
        "digest": digest_of(request.model), "trust_code": request.trust_code,
        "custom_objects": {text: _code_of(text) for text in request.custom_objects},
        "input_shapes": request.input_shapes,
    }


def source_in(entry: Path, model: Path) -> SourceModel:
    """The description kept in `entry`, of `model`: the same content may have been opened under another name."""
    return replace(cache.read_record(entry / "source.json", SourceModel), path=model)


def digest_of(model: Path) -> str:
    """The model's digest; raises `ModelUnreadable` where there is nothing to read."""
    try:
        return files.digest(model)
    except FileNotFoundError as err:
        raise ModelUnreadable(model, "no such file or folder", "Give the path of a trained model.") from err
    except OSError as err:
        raise ModelUnreadable(model, f"cannot be read ({err.strerror})") from err


def _code_of(custom_object: str) -> str:
    """Digest of the package that "module:NAME" lies in, its modules only; another each time where they are not found.

    Nothing is imported. What that package imports from others does not count.
    """
    top = custom_object.partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(top, [*sys.path, str(Path.cwd())])      # as the worker will look for it
    if spec is None or spec.origin is None:
        return str(uuid.uuid4())
    place = Path(spec.origin)
    whole = hashlib.sha256()
    for file in sorted(place.parent.rglob("*.py")) if spec.submodule_search_locations else [place]:
        whole.update(f"{file.relative_to(place.parent)}\0{files.digest(file)}".encode())
    return whole.hexdigest()
