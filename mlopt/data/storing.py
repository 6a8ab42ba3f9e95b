"""Writes a folder of samples: arrays of a known number of rows, filled in any order, whole or absent."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import disks, files
from mlopt.data.samples import file_name
from mlopt.disks import Place
from mlopt.errors import OutputUnwritable


class ArrayFile:
    """A `.npy` of `count` rows; shape and dtype are those of the first rows put."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self._file = -1
        self._start = 0
        self._row: tuple[tuple[int, ...], np.dtype] | None = None

    def put(self, places: np.ndarray, block: np.ndarray) -> None:
        """Write row i of `block` at row `places[i]`."""
        if self._row is None:
            self._begin(block)
        assert self._row == (block.shape[1:], block.dtype), "rows of one array differ in shape or dtype"
        row_bytes = block[:1].nbytes
        with _as_unwritable(self.path):
            if len(places) and (np.diff(places) == 1).all():
                _write_at(self._file, octets(block), self._start + int(places[0]) * row_bytes)
                return
            for place, row in zip(places.tolist(), block, strict=True):
                _write_at(self._file, octets(row), self._start + place * row_bytes)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self, block: np.ndarray) -> None:
        with _as_unwritable(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            header = {
                "descr": np.lib.format.dtype_to_descr(block.dtype), "fortran_order": False,
                "shape": (self.count, *block.shape[1:]),
            }
            with self.path.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                self._start = file.tell()
                file.truncate(self._start + self.count * block[:1].nbytes)
            self._file = os.open(self.path, os.O_WRONLY)
        self._row = (block.shape[1:], block.dtype)


class SamplesFolder:
    """A samples folder being written: inputs and labels in batches, the rest at the end."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self._inputs: dict[str, ArrayFile] = {}
        self._labels = ArrayFile(folder / "labels.npy", count)

    def put_inputs(self, name: str, places: np.ndarray, block: np.ndarray) -> None:
        if name not in self._inputs:
            self._inputs[name] = ArrayFile(self.folder / "inputs" / file_name(name), self.count)
        self._inputs[name].put(places, block)

    def put_labels(self, places: np.ndarray, block: np.ndarray) -> None:
        self._labels.put(places, block)

    def finish(
        self, *, slices: Mapping[str, np.ndarray], source_rows: np.ndarray | None, scale: float, offset: float,
        origin: str, unscaled: Sequence[str], dtypes: Mapping[str, str], class_names: Sequence[str],
    ) -> None:
        for array in (*self._inputs.values(), self._labels):
            array.close()
        meta: dict[str, Any] = {
            "count": self.count, "scale": scale, "offset": offset, "origin": origin, "unscaled": sorted(unscaled),
            "dtypes": dict(sorted(dtypes.items())), "class_names": list(class_names),
        }
        with _as_unwritable(self.folder):
            if slices:
                (self.folder / "slices").mkdir()
            for name, values in slices.items():
                np.save(self.folder / "slices" / file_name(name), values, allow_pickle=False)
            if source_rows is not None:
                np.save(self.folder / "rows.npy", source_rows.astype(np.int64), allow_pickle=False)
            (self.folder / "meta.json").write_text(json.dumps(meta, indent=1))

    def close(self) -> None:
        for array in (*self._inputs.values(), self._labels):
            array.close()


@contextlib.contextmanager
def new_samples(dest: Path, count: int) -> Iterator[SamplesFolder]:
    """A folder that takes the place of `dest` when the block succeeds; what was there stays when it does not."""
    if dest.exists() and not _may_be_replaced(dest):
        raise OutputUnwritable(dest, "something else than samples is there", "Choose another place, or delete it.")
    with _as_unwritable(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=dest.parent, prefix=f".{dest.name}."))
    being_written = SamplesFolder(temporary, count)
    try:
        yield being_written
        with _as_unwritable(dest):
            temporary.chmod(0o755)
            files.replace_folder(temporary, dest)
    finally:
        being_written.close()
        shutil.rmtree(temporary, ignore_errors=True)


def octets(block: np.ndarray) -> memoryview:
    """The array's bytes, row-major."""
    return np.ascontiguousarray(block).reshape(-1).view(np.uint8).data if block.size else memoryview(b"")


def _may_be_replaced(dest: Path) -> bool:
    return dest.is_dir() and ((dest / "meta.json").exists() or not any(dest.iterdir()))


def _write_at(file: int, content: memoryview, offset: int) -> None:
    while len(content):
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


@contextlib.contextmanager
def _as_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        disks.name_if_full(err, path)
        samples = Place(what="the samples", folder=path.parent, elsewhere="choose another place")
        raise disks.out_of_room(err, [samples]) from err
