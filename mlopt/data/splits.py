"""Names that people give to splits, and the one name that mlopt uses for each."""

import enum
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path


class Role(enum.StrEnum):
    """What samples are for."""

    CALIBRATION = "calibration"     # few, spread over the classes: ranges of activations are taken from them
    VALIDATION = "validation"       # as the world is: choices of a recipe are made on them
    TRAIN = "train"                 # what is left
    TEST = "test"                   # as the world is: every figure of the report is measured on them


_NAMES = {
    "train": "train", "training": "train",
    "calibration": "calibration", "calib": "calibration", "cal": "calibration", "representative": "calibration",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}
_ORDER = ("train", "calibration", "validation", "test")
_PREFERRED = {
    Role.CALIBRATION: ("calibration", "train", "validation", "test"),
    Role.VALIDATION: ("validation", "train", "calibration", "test"),
    Role.TRAIN: ("train", "calibration", "validation", "test"),
    Role.TEST: ("test", "validation", "calibration", "train"),
}


def split_of_folder(name: str) -> str | None:
    """The split that a folder of this name holds.

    >>> split_of_folder("Val"), split_of_folder("cats")
    ('validation', None)
    """
    return _NAMES.get(name.lower())


def split_of_file(stem: str) -> tuple[str, str | None]:
    """The rest of a file's or an array's name, and the split that a word at its start or end stands for.

    >>> split_of_file("x_train"), split_of_file("test-00000-of-00002"), split_of_file("trainer")
    (('x', 'train'), ('00000-of-00002', 'test'), ('trainer', None))
    """
    words = re.split(r"[-_.]", stem)
    if len(words) > 1:
        if last := _NAMES.get(words[-1].lower()):
            return stem[: -len(words[-1]) - 1], last
        if first := _NAMES.get(words[0].lower()):
            return stem[len(words[0]) + 1 :], first
    return ("", _NAMES[stem.lower()]) if stem.lower() in _NAMES else (stem, None)


def by_split(files: Sequence[Path]) -> list[tuple[str | None, list[Path]]]:
    """Files of one table by the split that each one's name, or its folder's, stands for; without splits, all as one.

    >>> by_split([Path("b/test-0-of-1.parquet"), Path("b/train-0-of-1.parquet")])
    [('train', [PosixPath('b/train-0-of-1.parquet')]), ('test', [PosixPath('b/test-0-of-1.parquet')])]
    """
    found: dict[str | None, list[Path]] = {}
    for file in sorted(files):
        found.setdefault(_split_of_path(file) if len(files) > 1 else None, []).append(file)
    if None in found:
        return [(None, sorted(files))]
    return sorted(found.items(), key=lambda item: in_order(item[0]))


def names_below(files: Sequence[Path]) -> list[str]:
    """Each file's path below the deepest folder that holds them all."""
    folder = os.path.commonpath([file.parent for file in files])
    return [file.relative_to(folder).as_posix() for file in files]


def _split_of_path(file: Path) -> str | None:
    """Also for the names of sharded datasets: pets-train.tfrecord-00000-of-00001."""
    by_name = (split_of_file(part)[1] for part in file.name.split("."))
    return next((split for split in by_name if split), split_of_folder(file.parent.name))


def in_order(name: str | None) -> int:
    return _ORDER.index(name) if name is not None else -1


def preferred(role: Role, splits: Mapping[str, range]) -> str | None:
    """The split to take samples of `role` from; None for a source without splits."""
    return next((name for name in _PREFERRED[role] if splits.get(name)), None)
