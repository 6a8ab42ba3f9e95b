"""Open a model in its worker and give back what it is."""

from mlopt import cache
from mlopt.cache import Cache
from mlopt.model import SourceModel
from mlopt.pipeline.request import CompressRequest
from mlopt.pipeline.run import opening_of
from mlopt.pipeline.source_stage import SourceTask
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
            sees=Sees.TENSORFLOW, user_modules=bool(request.custom_objects),
        )
        crew.run(job, type(None))
    return cache.read_record(entry / "source.json", SourceModel)
