"""A tiny model as a float TFLite file, with samples for it."""

import json
from pathlib import Path

import making
import numpy as np
from mlopt_tflite import TFLiteConverter
from mlopt_tflite.exporter import export

from mlopt.data.samples import Samples
from mlopt.testing import tiny

PRECISIONS = tuple(p.name for p in TFLiteConverter.precisions[1:])
NEEDING = {p.name for p in TFLiteConverter.precisions if p.needs_samples}


class Exported:
    """One tiny model, its float file and samples for it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.model = tiny.TinyModel(tiny.build(name))
        self.signature = self.model.signature
        self.file = folder / f"{name}.tflite"
        self.made = export(self.model, self.signature, self.file)
        self.inputs = tiny.inputs_for(self.model, 60)
        self.samples = write_samples(folder / name, self.inputs)

    def make(self, precision: str, dest: Path, seed: int = 0):
        samples = self.samples if precision in NEEDING else None
        return making.make(
            TFLiteConverter, self.file, precision, dest, signature=self.signature, samples=samples, seed=seed
        )


def write_samples(folder: Path, inputs: dict[str, np.ndarray], **meta) -> Samples:
    (folder / "inputs").mkdir(parents=True)
    for name, array in inputs.items():
        np.save(folder / "inputs" / f"{name}.npy", array)
    count = len(next(iter(inputs.values())))
    facts = {"count": count, "scale": 1.0, "offset": 0.0, "origin": "given"} | meta
    (folder / "meta.json").write_text(json.dumps(facts))
    return Samples.open(folder)
