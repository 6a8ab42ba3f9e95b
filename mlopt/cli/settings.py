"""Text of the command line to values; what does not parse says what it should look like."""

from collections.abc import Callable
from pathlib import Path

from mlopt.errors import MloptError


class BadSetting(MloptError):
    def __init__(self, option: str, text: str, wanted: str) -> None:
        self.option, self.text, self.wanted = option, text, wanted
        super().__init__(f"{option} takes {wanted}; got {text!r}")


def path_of(option: str) -> Callable[[str | Path], Path]:
    """What reads the path that `option` takes; an empty one would be taken for the current folder.

    >>> str(path_of("MODEL")("nets/model.h5"))
    'nets/model.h5'
    """
    def path(text: str | Path) -> Path:
        if not str(text).strip():
            raise BadSetting(option, str(text), "the name of a file or folder")
        return Path(text)

    return path


def names(text: str) -> tuple[str, ...]:
    """Names between commas.

    >>> names("tflite, onnx")
    ('tflite', 'onnx')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers between commas.

    >>> numbers("--cpus", "4, 5")
    (4, 5)
    """
    try:
        found = tuple(int(name) for name in names(text))
    except ValueError as err:
        raise BadSetting(option, text, "whole numbers between commas, e.g. 4,5") from err
    if any(number < 0 for number in found):
        raise BadSetting(option, text, "numbers from 0 on, e.g. 4,5")
    return found


def interval(text: str | None) -> tuple[float, float] | None:
    """Two numbers around two dots.

    >>> interval("-1..1")
    (-1.0, 1.0)
    """
    if text is None:
        return None
    low, dots, high = text.partition("..")
    try:
        bounds = float(low), float(high)
    except ValueError as err:
        raise BadSetting("--normalise", text, "two numbers, e.g. 0..1 or -1..1") from err
    if not dots or not bounds[0] < bounds[1]:
        raise BadSetting("--normalise", text, "two numbers, the smaller first, e.g. 0..1 or -1..1")
    return bounds


def shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """NAME=1,224,224,3 each.

    >>> shapes(["image=1,8,8,3"])
    {'image': (1, 8, 8, 3)}
    """
    found = {}
    for text in texts:
        name, equals, numbers = text.partition("=")
        try:
            shape = tuple(int(n) for n in numbers.split(","))
        except ValueError as err:
            raise BadSetting("--input-shape", text, "a name and whole numbers, e.g. image=1,224,224,3") from err
        if not equals or not name or min(shape) < 1:
            raise BadSetting("--input-shape", text, "a name and sizes of at least 1, e.g. image=1,224,224,3")
        found[name] = shape
    return found
