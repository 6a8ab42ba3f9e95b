"""Inputs made from the model itself, where no data was given: some to calibrate on, others to compare on."""

from dataclasses import replace
from pathlib import Path

from mlopt import cache, worker
from mlopt.data.blends import BLENDED, with_blends
from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.events import Doing, Synthesised, tell
from mlopt.frameworks.protocol import TrainedModel
from mlopt.pipeline.workers.gathering import GATHERED, gathered

SAMPLES = 192                # 128 to calibrate on, 64 to compare on
_CALIBRATION = 128
_BLENDS = 7                  # for each input that files are compared on


def synthesise(model: TrainedModel, entry: Path, seed: int) -> None:
    if not entry.exists():
        tell(Doing(doing="synthesising inputs"))
        inputs, how = model.synthesise(SAMPLES, seed)
        with worker.result(entry) as folder:
            kept = {name: values[_CALIBRATION:] for name, values in inputs.items()}
            parts = {
                Role.CALIBRATION: {name: values[:_CALIBRATION] for name, values in inputs.items()},
                Role.TEST: with_blends(kept, _BLENDS * len(next(iter(kept.values()))), seed),
            }
            found = {}
            for role, arrays in parts.items():
                summary = write_arrays(folder / role.value, arrays, role=role, signature=model.source.signature)
                found[role.value] = replace(gathered(summary), notes=(how,) if role is Role.CALIBRATION else (BLENDED,))
            cache.write_record(folder / GATHERED, found)
    tell(Synthesised())
