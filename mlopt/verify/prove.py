"""Run an exported file in its own runtime over samples, and compare it with the source model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlopt.convert.protocol import Runtime
from mlopt.data.fingerprint import OutputFingerprint
from mlopt.data.samples import Samples
from mlopt.errors import MloptError
from mlopt.model import SourceModel
from mlopt.report import Evidence
from mlopt.verify.outputs_seen import OutputsSeen
from mlopt.verify.parity import Comparison
from mlopt.verify.task import Scoring, identify_task

_BATCH_BYTES = 16_000_000   # of float32 inputs and outputs
_LARGEST_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What a file gave, and what that is worth beside the source."""

    evidence: Evidence
    outputs: Mapping[str, OutputFingerprint]


def prove(
    runtime: Runtime,
    samples: Samples,
    reference: Mapping[str, np.ndarray],
    *,
    source: SourceModel,
    runtime_name: str,
    samples_name: str,
    class_names: tuple[str, ...] = (),
    seed: int = 0,
) -> Proven:
    """Compare what `runtime` makes of `samples` with `reference`, the source's outputs [N, ...] on the same samples.

    `runtime_name` and `samples_name` ("test", "holdout", "synthesised") stand in the evidence. The task is read
    from the source, the reference and the labels. What the runtime raises passes through; outputs that are missing or
    of another shape raise `MloptError`.
    """
    for name, array in reference.items():
        if len(array) != samples.count:
            raise ValueError(f"reference {name} has {len(array)} rows, the samples {samples.count}")
    task = identify_task(source.signature, source.output_activations, reference, samples.labels)
    comparison = Comparison(
        task, reference, labels=samples.labels, slices=samples.slices, class_names=class_names, seed=seed
    )
    seen = OutputsSeen(task.outputs)
    for inputs in samples.batches(batch_size(samples, reference)):
        outputs = runtime.predict(inputs)
        rows = min(len(a) for a in inputs.values())
        _check(outputs, reference, rows, runtime_name)
        seen.add(outputs)
        comparison.add(outputs, inputs if task.scoring is Scoring.RECONSTRUCTION else None)
    return Proven(
        evidence=comparison.evidence(runtime=runtime_name, samples=samples_name), outputs=seen.fingerprints()
    )


def batch_size(samples: Samples, reference: Mapping[str, np.ndarray]) -> int:
    """Samples to run at once: about 16 MB of float32 inputs and outputs, and at most 256."""
    arrays = [*samples.inputs.values(), *reference.values()]
    bytes_each = sum(4 * int(np.prod(a.shape[1:])) for a in arrays)
    return max(1, min(_LARGEST_BATCH, _BATCH_BYTES // max(1, bytes_each)))


def _check(outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], rows: int, runtime: str) -> None:
    for name, array in reference.items():
        wanted = (rows, *array.shape[1:])
        if name not in outputs:
            raise MloptError(f"{runtime} gave no output {name}; it gave {', '.join(sorted(outputs)) or 'none'}")
        if outputs[name].shape != wanted:
            raise MloptError(f"{runtime} gave {name} with shape {outputs[name].shape}; the source model gives {wanted}")
