"""Copies of a file, or of a folder's files, that a disk or a download has spoiled."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def damaged(source: Path, folder: Path) -> Iterator[Path]:
    """Three copies in `folder`: emptied, cut to half, and scrambled."""
    for number, spoil in enumerate((_emptied, _cut, _scrambled)):
        copy = folder / f"{number}{source.suffix}"
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copyfile(source, copy)
        for file in [p for p in copy.rglob("*") if p.is_file()] if copy.is_dir() else [copy]:
            file.write_bytes(spoil(file.read_bytes()))
        yield copy


def _emptied(content: bytes) -> bytes:
    return b""


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _scrambled(content: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(content))
