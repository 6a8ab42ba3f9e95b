"""Samples on disk as workers read them: arrays that are mapped, never held twice."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Samples:
    """A folder of arrays with one row a sample.

        inputs/NAME.npy     [N, ...] in the source's own dtype (an image stays uint8 on disk)
        labels.npy          [N] or [N, ...], optional
        slices/NAME.npy     [N] of text or integers, optional
        meta.json           {"count": N, "scale": s, "offset": o, "origin": "..."}

    The model sees real = stored * scale + offset, as float32 (or the signature's integer dtype for token inputs).
    """

    folder: Path
    count: int
    origin: str                             # "given", or "synthesised" where mlopt made them from the model itself
    inputs: Mapping[str, np.ndarray]        # memory-mapped, as stored
    labels: np.ndarray | None
    slices: Mapping[str, np.ndarray]
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def open(cls, folder: Path) -> "Samples":
        meta = json.loads((folder / "meta.json").read_text())
        labels = folder / "labels.npy"
        return cls(
            folder=folder,
            count=meta["count"],
            origin=meta["origin"],
            inputs=_mapped(folder / "inputs"),
            labels=np.load(labels, mmap_mode="r") if labels.exists() else None,
            slices=_mapped(folder / "slices"),
            scale=meta["scale"],
            offset=meta["offset"],
        )

    def rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Model inputs of the samples start..stop, converted; integer inputs of an unscaled source stay integers."""
        return {name: self._real(array[start:stop]) for name, array in self.inputs.items()}

    def batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, self.count, size):
            yield self.rows(start, min(start + size, self.count))

    def _real(self, stored: np.ndarray) -> np.ndarray:
        if stored.dtype.kind in "iu" and stored.dtype.itemsize >= 4 and self.scale == 1.0 and self.offset == 0.0:
            return np.asarray(stored)              # token ids, not pixels
        real = stored.astype(np.float32)
        return real if self.scale == 1.0 and self.offset == 0.0 else real * np.float32(self.scale) + np.float32(self.offset)


def _mapped(folder: Path) -> dict[str, np.ndarray]:
    if not folder.is_dir():
        return {}
    return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in sorted(folder.glob("*.npy"))}
