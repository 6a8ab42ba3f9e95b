"""In a format's worker, without any training framework: make each precision, run it, compare it with the source."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt import cache, files, plain, plugins, worker
from mlopt.artifact import Made, Storage
from mlopt.convert.protocol import Converter, Precision, Runtime
from mlopt.data.samples import Samples, file_name
from mlopt.errors import MloptError
from mlopt.grid import Grid
from mlopt.model import SourceModel
from mlopt.pipeline import golden
from mlopt.report import Candidate, LayerError
from mlopt.verify.prove import prove

GOLDEN = "golden.npz"         # outputs for the golden inputs, in the signature's order
SKIPPED = "skipped.json"      # in an entry: the reason why this model gets no such file
LEAST_AGREEMENT = 0.96        # of a file with the graph that trained it: kernels round in other places, by one step
GRAPH = "graph"               # beside a grid: outputs of the rounding network for some validation samples
_LAYER_ERROR_SAMPLES = 16     # per-layer signal to noise moves by less than 1 dB between 16 and 256 samples


@dataclass(frozen=True, kw_only=True)
class FormatTask:
    format: str
    source: SourceModel
    stem: str                       # files are called STEM-PRECISION
    float_file: Path
    calibration: Path               # samples to calibrate on
    proof: Path                     # samples to compare on
    proof_name: str                 # "test", "holdout", "synthesised"
    reference: Path                 # the source's outputs on the proof samples
    entries: Mapping[str, Path]     # precision -> where its candidate goes
    class_names: tuple[str, ...]
    seed: int
    grid: Path | None = None        # folder of the grid that the model was trained on, if it was
    validation: Path | None = None  # samples that the training graph's answers beside the grid are for


def make_and_prove(task: FormatTask) -> None:
    """Each precision by itself: what fails is told, and the others go on."""
    door = plugins.load_converter(task.format)
    by_name = {p.name: p for p in door.precisions}
    for name, entry in task.entries.items():
        worker.emit(begun=name)
        precision = by_name[name]
        try:
            why_not = plain.resolve(precision.refusal)(task.float_file) if precision.refusal else ""
            with worker.result(entry) as folder:
                if why_not:
                    cache.write_record(folder / SKIPPED, why_not)
                else:
                    _candidate(task, door, precision, folder)
        except MloptError as err:
            worker.emit(failed=name, message=str(err))
        else:
            worker.emit(finished=name)


def _candidate(task: FormatTask, door: Converter, precision: Precision, folder: Path) -> None:
    path = folder / f"{task.stem}-{precision.name}{door.suffix}"
    made = _make(task, door, precision, path)
    storage: Storage = plain.resolve(door.read_storage)(path)
    candidate = Candidate(
        format=door.name,
        precision=precision.name,
        about=precision.about,
        path=path.name,
        sha256=files.digest(path),
        bytes=files.size(path),
        bytes_zipped=files.zipped_size(path),
        weights_by_dtype=storage.weights_by_dtype,
        ops_by_dtype=storage.ops_by_dtype,
        layers=storage.layers,
        overhead_bytes=storage.overhead_bytes,
        choices=made.choices,
    )
    notes = list(made.notes)
    fields = plain.to_plain(candidate)
    try:
        fields |= _proof(task, door, precision, path, folder)
        if task.grid is not None and _takes(precision, task.grid):
            agreement, words = _against_graph(task, door, path)
            fields["choices"] = {**made.choices, "training graph": words}
            if precision.full_integer and agreement < LEAST_AGREEMENT:
                raise MloptError(f"{words}, below {LEAST_AGREEMENT:g}: it does not hold the numbers that were trained")
    except MloptError as err:
        fields["verified"] = False
        notes.append(f"unverified: {err}")
    cache.write_record(folder / "candidate.json", fields)
    cache.write_record(folder / "notes.json", notes)


def _make(task: FormatTask, door: Converter, precision: Precision, path: Path) -> Made:
    if precision == door.precisions[0]:
        if task.float_file.is_dir():
            shutil.copytree(task.float_file, path)
        else:
            shutil.copyfile(task.float_file, path)
        return Made(path=path, **json.loads((task.float_file.parent / "made.json").read_text()))
    samples = Samples.open(task.calibration) if precision.needs_samples else None
    trained = {"grid": Grid.read(task.grid)} if task.grid is not None and _takes(precision, task.grid) else {}
    return plain.resolve(door.make)(
        task.float_file, precision.name, path, signature=task.source.signature, samples=samples, seed=task.seed,
        **trained,
    )


def _takes(precision: Precision, grid: Path) -> bool:
    """Whether a grid of this scheme decides the numbers of that precision."""
    return precision.takes(Grid.read(grid).scheme)


def _against_graph(task: FormatTask, door: Converter, path: Path) -> tuple[float, str]:
    """On how many samples the file answers as the rounding network did in training: the interval's upper end, in words.

    Files whose activations are floats round less than the network did, so that only full-integer ones are held to it.
    """
    assert task.grid is not None and task.validation is not None
    answers = {
        spec.name: np.load(task.grid / GRAPH / file_name(spec.name), mmap_mode="r")
        for spec in task.source.signature.outputs
    }
    samples = Samples.open(task.validation).spread(len(next(iter(answers.values()))))
    evidence = prove(
        plain.resolve(door.open_runtime)(path, task.source.signature), samples, answers, source=task.source,
        runtime_name=door.runtime, samples_name="validation", class_names=task.class_names, seed=task.seed,
    )
    words = f"the file gives its answer on {evidence.agreement:.4f} of {samples.count:,} validation samples"
    return evidence.agreement_interval.high, words


def _proof(task: FormatTask, door: Converter, precision: Precision, path: Path, folder: Path) -> dict[str, object]:
    """The candidate's fields that come from running it."""
    runtime: Runtime = plain.resolve(door.open_runtime)(path, task.source.signature)
    samples = Samples.open(task.proof)
    if precision.proof_samples:
        samples = samples.first(precision.proof_samples)
    reference = {file.stem: np.load(file, mmap_mode="r") for file in sorted(task.reference.glob("*.npy"))}
    evidence = prove(
        runtime, samples, {name: array[: samples.count] for name, array in reference.items()},
        source=task.source, runtime_name=door.runtime, samples_name=task.proof_name,
        class_names=task.class_names, seed=task.seed,
    )
    outputs = runtime.predict(golden.inputs(task.source.signature, Samples.open(task.calibration), task.seed))
    np.savez(folder / GOLDEN, *(outputs[spec.name] for spec in task.source.signature.outputs), allow_pickle=False)
    proven: dict[str, object] = {
        "verified": True,
        "evidence": plain.to_plain(evidence),
        "contract": plain.to_plain(runtime.contract),
        "layer_errors": plain.to_plain(_layer_errors(task, door, precision, path)),
    }
    return proven


def _layer_errors(task: FormatTask, door: Converter, precision: Precision, path: Path) -> tuple[LayerError, ...]:
    if precision == door.precisions[0] or not door.layer_errors:
        return ()
    return plain.resolve(door.layer_errors)(
        task.float_file, path, Samples.open(task.proof), _LAYER_ERROR_SAMPLES
    )
