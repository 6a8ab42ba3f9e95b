"""In the framework's worker: open the source once, and give everything that only it can give."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import cache, plain, plugins, worker
from mlopt.data.blends import BLENDED, with_blends
from mlopt.data.materialise import write_arrays
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.errors import MloptError
from mlopt.frameworks import open_model
from mlopt.location import ModelLocation
from mlopt.pipeline.data_stage import GATHERED, gathered
from mlopt.verify.outputs_seen import OUTPUTS, OutputsSeen
from mlopt.verify.parity import chunks, measure_source
from mlopt.verify.task import identify_task

_BLENDS = 7           # for each synthesised input that files are compared on
_BATCH = 256          # rows of one reference inference: large enough for BLAS, small enough for memory


@dataclass(frozen=True, kw_only=True)
class SourceTask:
    """What to open and what to make of it; entries that are there already are left alone."""

    location: ModelLocation
    describe: Path                       # entry that holds source.json
    floats: Mapping[str, Path]           # format -> entry that holds the float file
    synthesise: Path | None = None       # entry for inputs made from the model itself, where no data was given
    synthesised_count: int = 0
    calibration_count: int = 0
    seed: int = 0
    reference: bool = False              # whether to ask for samples to run the source on


@dataclass(frozen=True, kw_only=True)
class ReferenceTask:
    """The caller's answer to "reference": which samples, and where the source's outputs go. None when it is done."""

    samples: Path
    samples_name: str                    # "test", "holdout", "synthesised"
    dest: Path


def export_source(task: SourceTask) -> None:
    worker.emit(doing="opening")
    model = open_model(task.location)
    if not task.describe.exists():
        with worker.result(task.describe) as folder:
            cache.write_record(folder / "source.json", model.source)
    worker.emit(ready="source")
    for position, (name, entry) in enumerate(task.floats.items()):
        _export(model, name, entry)
        if position == 0:                # the first format's worker can start while the others are exported
            _synthesise(model, task)
            _refer(model, task)
    if not task.floats:
        _synthesise(model, task)
        _refer(model, task)


def _export(model: Any, name: str, entry: Path) -> None:
    if not entry.exists():
        worker.emit(doing=f"exporting {name}", exporting=name)
        door = plugins.load_converter(name)
        try:
            with worker.result(entry) as folder:
                made = plain.resolve(door.export)(model, model.source.signature, folder / f"float{door.suffix}")
                cache.write_record(folder / "made.json", {"notes": made.notes, "choices": made.choices})
        except MloptError as err:
            worker.emit(refused=name, message=str(err))
            return
    worker.emit(ready=name)


def _synthesise(model: Any, task: SourceTask) -> None:
    if task.synthesise is None:
        return
    if not task.synthesise.exists():
        worker.emit(doing="synthesising inputs")
        inputs, how = model.synthesise(task.synthesised_count, task.seed)
        with worker.result(task.synthesise) as folder:
            kept = {name: values[task.calibration_count :] for name, values in inputs.items()}
            parts = {
                Role.CALIBRATION: {name: values[: task.calibration_count] for name, values in inputs.items()},
                Role.TEST: with_blends(kept, _BLENDS * len(next(iter(kept.values()))), task.seed),
            }
            found = {}
            for role, arrays in parts.items():
                summary = write_arrays(folder / role.value, arrays, role=role, signature=model.source.signature)
                found[role.value] = replace(gathered(summary), notes=(how,) if role is Role.CALIBRATION else (BLENDED,))
            cache.write_record(folder / GATHERED, found)
    worker.emit(ready="synthesised")


def _refer(model: Any, task: SourceTask) -> None:
    if not task.reference:
        return
    answer = worker.ask("reference")
    if answer is None:
        return
    wanted = plain.from_plain(answer, ReferenceTask)
    worker.emit(doing="running the source")
    samples = Samples.open(wanted.samples)
    with worker.result(wanted.dest) as folder:
        outputs: dict[str, np.memmap] = {}
        done = 0
        for batch in samples.batches(_BATCH):
            for name, values in model.predict(batch).items():
                if name not in outputs:
                    outputs[name] = np.lib.format.open_memmap(
                        folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(samples.count, *values.shape[1:])
                    )
                outputs[name][done : done + len(values)] = values
            done += len(next(iter(batch.values())))
            worker.emit(doing="running the source", done=done, total=samples.count)
        for array in outputs.values():
            array.flush()
        described = identify_task(model.source.signature, model.source.output_activations, outputs, samples.labels)
        baseline = measure_source(
            outputs, task=described, samples=wanted.samples_name, labels=samples.labels, inputs=samples.rows,
            seed=task.seed,
        )
        cache.write_record(folder / "baseline.json", baseline)
        seen = OutputsSeen(described.outputs)
        for start, stop in chunks(outputs):
            seen.add({name: array[start:stop] for name, array in outputs.items()})
        cache.write_record(folder / OUTPUTS, seen.fingerprints())
    worker.emit(ready="reference")
