"""Samples on disk as workers read them: arrays that are mapped, never held twice."""

import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Samples:
    """A folder of arrays with one row a sample.

        inputs/NAME.npy     [N, ...] in the source's own dtype (an image stays uint8 on disk)
        labels.npy          [N] or [N, ...], optional
        slices/NAME.npy     [N] of text or integers, optional
        rows.npy            [N] int64: each sample's row in its source, optional
        meta.json           {"count": N, "scale": s, "offset": o, "origin": "..."}, and optionally
                            "unscaled": [NAME, ...], "dtypes": {NAME: dtype the model takes}, "class_names": [...]

    A NAME in a file name is percent-encoded. The model sees real = stored * scale + offset, as float32 (or the
    signature's integer dtype for token inputs); an unscaled input is seen as stored.
    """

    folder: Path
    count: int
    origin: str                             # "given", or "synthesised" where mlopt made them from the model itself
    inputs: Mapping[str, np.ndarray]        # memory-mapped, as stored
    labels: np.ndarray | None
    slices: Mapping[str, np.ndarray]
    scale: float = 1.0
    offset: float = 0.0
    unscaled: frozenset[str] = frozenset()  # inputs that scale and offset are not meant for, beside an image
    dtypes: Mapping[str, str] = field(default_factory=dict)      # what the model takes; float32 where it is not said
    class_names: tuple[str, ...] = ()
    source_rows: np.ndarray | None = None   # int64 [N]

    @classmethod
    def open(cls, folder: Path) -> "Samples":
        meta = json.loads((folder / "meta.json").read_text())
        labels, rows = folder / "labels.npy", folder / "rows.npy"
        return cls(
            folder=folder,
            count=meta["count"],
            origin=meta["origin"],
            inputs=_mapped(folder / "inputs"),
            labels=np.load(labels, mmap_mode="r", allow_pickle=False) if labels.exists() else None,
            slices=_mapped(folder / "slices"),
            scale=meta["scale"],
            offset=meta["offset"],
            unscaled=frozenset(meta.get("unscaled", ())),
            dtypes=meta.get("dtypes", {}),
            class_names=tuple(meta.get("class_names", ())),
            source_rows=np.load(rows, mmap_mode="r", allow_pickle=False) if rows.exists() else None,
        )

    def first(self, count: int) -> "Samples":
        """The first `count` samples, or all where there are fewer; nothing is copied."""
        return self._taken(slice(min(count, self.count)), min(count, self.count))

    def spread(self, count: int) -> "Samples":
        """`count` samples at equal distances, or all where there are fewer: a source may be sorted by class. Copied."""
        kept = min(count, self.count)
        return self._taken(np.arange(kept) * (self.count - 1) // max(kept - 1, 1), kept)

    def _taken(self, rows: slice | np.ndarray, count: int) -> "Samples":
        return replace(
            self, count=count, inputs={name: array[rows] for name, array in self.inputs.items()},
            labels=None if self.labels is None else self.labels[rows],
            slices={name: array[rows] for name, array in self.slices.items()},
            source_rows=None if self.source_rows is None else self.source_rows[rows],
        )

    def rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Model inputs of the samples start..stop, converted; integer inputs of an unscaled source stay integers."""
        return {name: self.real(name, start, stop) for name in self.inputs}

    def batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, self.count, size):
            yield self.rows(start, min(start + size, self.count))

    def real(self, name: str, start: int, stop: int) -> np.ndarray:
        """One input of the samples start..stop, as the model sees it."""
        return self.as_seen(name, self.inputs[name][start:stop])

    def as_seen(self, name: str, stored: np.ndarray) -> np.ndarray:
        """Stored values of an input as the model sees them."""
        dtype = self.dtypes.get(name)
        scaled = name not in self.unscaled and (self.scale != 1.0 or self.offset != 0.0)
        if dtype is not None and np.dtype(dtype).kind in "iu":
            return stored.astype(dtype)
        if dtype is None and stored.dtype.kind in "iu" and stored.dtype.itemsize >= 4 and not scaled:
            return np.asarray(stored)              # token ids, not pixels
        real = stored.astype(np.float32)
        return real * np.float32(self.scale) + np.float32(self.offset) if scaled else real


def file_name(name: str) -> str:
    """Where the array of an input or a slice is kept; the name itself may come from a hostile model file.

    >>> file_name("image"), file_name("../x:0")
    ('image.npy', '..%2Fx%3A0.npy')
    """
    return urllib.parse.quote(name, safe="") + ".npy"


def _mapped(folder: Path) -> dict[str, np.ndarray]:
    if not folder.is_dir():
        return {}
    return {
        urllib.parse.unquote(file.name.removesuffix(".npy")): np.load(file, mmap_mode="r", allow_pickle=False)
        for file in sorted(folder.glob("*.npy"))
    }
