"""A folder of pictures: class subfolders become labels in sorted order; train, val and test subfolders are splits."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mlopt.data import splits as split_names
from mlopt.data.images import LARGEST_PIXELS
from mlopt.data.reading import open_file
from mlopt.data.source import BATCH_BYTES, Column, Kind
from mlopt.errors import DataUnreadable

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


_LARGEST_FILE = 4 * LARGEST_PIXELS + (1 << 20)      # bytes: the largest picture that is decoded, not packed at all


class ImageFolderSource:
    about = "image folder"

    def __init__(self, text: str, folder: Path, images: Sequence[Path]) -> None:
        """`images` are paths relative to `folder`."""
        self.text, self.folder = text, folder
        self.notes: tuple[str, ...] = ()
        by_split = _by_split(images)
        classes, loose = _classes(by_split)
        if loose and classes:
            self.notes += (f"{len(loose):,} images lie outside the class folders, unused: {_few(loose)}",)
        self.files: list[tuple[Path, Path]] = []            # (path below the split, path below the folder)
        splits: dict[str, range] = {}
        for split in sorted(by_split, key=split_names.in_order):
            start = len(self.files)
            self.files += sorted(p for p in by_split[split] if not classes or len(p[0].parts) > 1)
            if split is not None:
                splits[split] = range(start, len(self.files))
        self.splits: Mapping[str, range] = splits
        self.count = len(self.files)
        columns = {"image": Column(name="image", kind=Kind.IMAGE)}
        self._labels = np.zeros(0, dtype=np.int64)
        if len(classes) > 1:
            numbers = {name: i for i, name in enumerate(classes)}
            self._labels = np.array([numbers[below.parts[0]] for below, _ in self.files], dtype=np.int64)
            columns["label"] = Column(name="label", kind=Kind.ARRAY, dtype="int64", names=tuple(classes))
            if all(c.isdecimal() for c in classes) and classes != sorted(classes, key=int):
                self.notes += (f"the class folders are numbers, taken in text order ({_few(classes)})",)
        elif classes:
            self.notes += (f"all images lie in one folder, {classes[0]}: it is not taken for a class",)
        self.columns: Mapping[str, Column] = columns

    def read(
        self, columns: Sequence[str], rows: np.ndarray | None = None, *, batch: int = 1024
    ) -> Iterator[dict[str, np.ndarray]]:
        wanted = np.arange(self.count) if rows is None else rows
        with_images = "image" in columns
        at = 0
        while at < len(wanted):
            picked: list[bytes] = []
            stop = min(at + batch, len(wanted))
            if with_images:
                held = 0
                while at + len(picked) < stop and held < BATCH_BYTES:
                    picked.append(self._content(int(wanted[at + len(picked)])))
                    held += len(picked[-1])
                stop = at + len(picked)
            here = wanted[at:stop]
            images = np.empty(len(picked), dtype=object)
            images[:] = picked
            yield {c: images if c == "image" else self._labels[here] for c in columns}
            at = stop

    def row_name(self, row: int) -> str:
        return self.files[row][1].as_posix()

    def _content(self, row: int) -> bytes:
        with open_file(self.folder / self.files[row][1]) as file:
            if os.fstat(file.fileno()).st_size > _LARGEST_FILE:
                raise DataUnreadable(
                    self.text, f"{self.row_name(row)} has more than {_LARGEST_FILE:,} bytes", "Remove or shrink it."
                )
            try:
                return file.read(_LARGEST_FILE)
            except OSError as err:
                raise DataUnreadable(self.text, f"{self.row_name(row)}: {os.strerror(err.errno or 0)}") from err


def _by_split(images: Sequence[Path]) -> dict[str | None, list[tuple[Path, Path]]]:
    """Pairs (path below the split's folder, whole path) by split; {None: all} where the folder has no splits."""
    if images and all(len(p.parts) > 1 and split_names.split_of_folder(p.parts[0]) for p in images):
        found: dict[str | None, list[tuple[Path, Path]]] = {}
        for path in images:
            found.setdefault(split_names.split_of_folder(path.parts[0]), []).append((Path(*path.parts[1:]), path))
        return found
    return {None: [(path, path) for path in images]}


def _classes(by_split: Mapping[str | None, Sequence[tuple[Path, Path]]]) -> tuple[list[str], list[str]]:
    """Class names of all splits in sorted order, and the images that lie in no class folder."""
    every = [pair for pairs in by_split.values() for pair in pairs]
    classes = sorted({below.parts[0] for below, _ in every if len(below.parts) > 1})
    return classes, [whole.as_posix() for below, whole in every if len(below.parts) == 1]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
