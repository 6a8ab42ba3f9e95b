"""One file in its own runtime, held against the source model's answers, and against the graph that trained it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt import cache, plain
from mlopt.artifact import Contract
from mlopt.convert.protocol import Converter, Precision, Runtime
from mlopt.data.samples import Samples, file_name
from mlopt.errors import MloptError
from mlopt.model import SourceModel
from mlopt.pipeline import golden
from mlopt.pipeline.workers.exporting import float_file
from mlopt.pipeline.workers.making import file_in, grid_for
from mlopt.report import Evidence, LayerError
from mlopt.verify.outputs_seen import OUTPUTS
from mlopt.verify.prove import Proven, prove

GOLDEN = "golden.npz"         # outputs for the golden inputs, in the signature's order
GRAPH = "graph"               # beside a grid: outputs of the rounding network for some validation samples
RECORD = "proof.json"
LEAST_AGREEMENT = 0.96        # of a file with the graph that trained it: kernels round in other places, by one step
_LAYER_ERROR_SAMPLES = 16     # per-layer signal to noise moves by less than 1 dB between 16 and 256 samples


@dataclass(frozen=True, kw_only=True)
class Proving:
    """What files are held against."""

    source: SourceModel
    float_entry: Path               # of the format: what layers are compared with
    samples: Path                   # of any role: the test's, or the validation's where something is to be chosen
    samples_name: str               # "test", "holdout", "synthesised", "validation"
    answers: Path                   # the source's outputs on them
    calibration: Path               # samples that set the range of golden inputs
    class_names: tuple[str, ...]
    seed: int
    grid: Path | None = None        # folder of the grid that the model was trained on, if it was
    validation: Path | None = None  # samples that the training graph's answers beside the grid are for


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was seen when the file ran."""

    evidence: Evidence | None = None
    contract: Contract | None = None
    layer_errors: tuple[LayerError, ...] = ()
    training_graph: str = ""        # how the file agrees with the graph that trained it, where it was trained on a grid
    unverified: str = ""            # why it proves nothing; empty: it is verified


def prove_file(task: Proving, door: Converter, precision: Precision, *, made: Path, folder: Path) -> None:
    """Fill `folder` with the proof of the file in the entry `made`; a file that does not run is a finding, no error."""
    path = file_in(made, door.suffix)
    fields: dict[str, object] = {}
    try:
        fields |= _proof(task, door, precision, path, folder)
        if precision != door.precisions[0] and door.layer_errors:
            fields["layer_errors"] = plain.resolve(door.layer_errors)(
                float_file(task.float_entry, door.suffix), path, Samples.open(task.samples), _LAYER_ERROR_SAMPLES
            )
        if grid_for(precision, task.grid) is not None:
            agreement, words = _against_graph(task, door, path)
            fields["training_graph"] = words
            if precision.full_integer and agreement < LEAST_AGREEMENT:
                raise MloptError(f"{words}, below {LEAST_AGREEMENT:g}: it does not hold the numbers that were trained")
    except MloptError as err:
        fields["unverified"] = str(err)
    cache.write_record(folder / RECORD, Proof(**fields))    # type: ignore[arg-type]  # by name, as they came in


def _proof(task: Proving, door: Converter, precision: Precision, path: Path, folder: Path) -> dict[str, object]:
    """The fields that come from running it."""
    runtime: Runtime = plain.resolve(door.open_runtime)(path, task.source.signature)
    samples = Samples.open(task.samples)
    if precision.proof_samples:
        samples = samples.first(precision.proof_samples)
    reference = {file.stem: np.load(file, mmap_mode="r") for file in sorted(task.answers.glob("*.npy"))}
    reference = {name: array[: samples.count] for name, array in reference.items()}
    proven = _proven(task, door, runtime, reference, (samples, task.samples_name))
    cache.write_record(folder / OUTPUTS, proven.outputs)
    outputs = runtime.predict(golden.inputs(task.source.signature, Samples.open(task.calibration), task.seed))
    np.savez(folder / GOLDEN, *(outputs[spec.name] for spec in task.source.signature.outputs), allow_pickle=False)
    return {"evidence": proven.evidence, "contract": runtime.contract}


def _against_graph(task: Proving, door: Converter, path: Path) -> tuple[float, str]:
    """On how many samples the file answers as the rounding network did in training: the interval's upper end, in words.

    Files whose activations are floats round less than the network did, so that only full-integer ones are held to it.
    """
    assert task.grid is not None and task.validation is not None
    answers = {
        spec.name: np.load(task.grid / GRAPH / file_name(spec.name), mmap_mode="r")
        for spec in task.source.signature.outputs
    }
    samples = Samples.open(task.validation).spread(len(next(iter(answers.values()))))
    runtime = plain.resolve(door.open_runtime)(path, task.source.signature)
    evidence = _proven(task, door, runtime, answers, (samples, "validation")).evidence
    words = f"the file gives its answer on {evidence.agreement:.4f} of {samples.count:,} validation samples"
    return evidence.agreement_interval.high, words


def _proven(
    task: Proving, door: Converter, runtime: Runtime, reference: Mapping[str, np.ndarray], named: tuple[Samples, str]
) -> Proven:
    samples, name = named
    return prove(
        runtime, samples, reference, source=task.source, runtime_name=door.runtime, samples_name=name,
        class_names=task.class_names, seed=task.seed,
    )
