"""Names that people give to splits, and the one name that mlopt uses for each."""

import enum
import re
from collections.abc import Mapping


class Role(enum.StrEnum):
    """What samples are for."""

    CALIBRATION = "calibration"     # few, spread over the classes: ranges of activations are taken from them
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


def in_order(name: str | None) -> int:
    return _ORDER.index(name) if name is not None else -1


def preferred(role: Role, splits: Mapping[str, range]) -> str | None:
    """The split to take samples of `role` from; None for a source without splits."""
    return next((name for name in _PREFERRED[role] if splits.get(name)), None)
