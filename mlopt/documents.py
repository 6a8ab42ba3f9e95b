"""Files and texts that anybody may have written, read within limits: JSON as strictly as its standard allows, and TOML.

`json.loads` takes NaN, lets the second of two equal keys win, and ends in a RecursionError where brackets nest deeply.
Whoever reads a report, a baseline or a device's answer wants none of that, and wants to be told where it stands.
"""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from mlopt import files
from mlopt.errors import MloptError

DEEPEST = 64                   # levels of lists and objects in each other; a report has nine
_LARGEST_WHOLE = 2**64         # whole numbers below it, of either sign; more digits are no count of anything
_LONGEST = 300                 # characters of a sentence; what it quotes may be anything

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""       # of a key; `++`: nothing that was taken is given back
_DOTTED = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEEPEST}}}")


class DocumentInvalid(MloptError, ValueError):
    """`found` says what is wrong and where in the text. Whoever knows what was read says the rest."""

    def __init__(self, found: str) -> None:
        self.found = found[:_LONGEST]
        super().__init__(self.found)


def content(path: Path, *, most_bytes: int) -> bytes:
    """The bytes of a regular file. Raises `OSError`, or `DocumentInvalid` for one that is larger or is no file.

    A pipe or a device is refused before it is opened: it may never end.
    """
    try:
        stream = files.open_regular(path)
    except files.NotRegular as err:
        raise DocumentInvalid(f"it is {err.strerror}") from err
    with stream:
        found = stream.read(most_bytes + 1)
    if len(found) > most_bytes:
        raise DocumentInvalid(f"it is too large: at most {most_bytes:,} bytes are read")
    return found


def json_value(text: bytes | str, *, nan_allowed: bool = False, infinity_allowed: bool = False) -> Any:
    """The value of a JSON text in UTF-8. Raises `DocumentInvalid`.

    Refused are NaN and infinities (also as `1e999`), a key that stands twice in an object, text with half a surrogate
    pair, whole numbers of more than 64 bits, and nesting deeper than 64 levels. With `nan_allowed`, NaN is read: for
    what mlopt's own programs write to each other. With `infinity_allowed`, infinities are: frameworks write limits so.

    >>> json_value('{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    """
    try:
        value = json.loads(text.decode() if isinstance(text, bytes) else text, object_pairs_hook=_object)
    except DocumentInvalid:
        raise
    except UnicodeDecodeError as err:
        raise DocumentInvalid(f"this is no text: byte {err.start} is not UTF-8") from err
    except RecursionError as err:
        raise DocumentInvalid(f"it nests lists and objects deeper than {DEEPEST} levels") from err
    except ValueError as err:
        raise DocumentInvalid(f"this is no JSON: {err}") from err
    _refuse(value, nan_allowed=nan_allowed, infinity_allowed=infinity_allowed)
    return value


def toml_value(text: bytes) -> dict[str, Any]:
    """The tables of a TOML text. Raises `DocumentInvalid`.

    TOML knows `nan` and `inf`, so that who asks for a number holds it to a range. A key of more than 64 parts with dots
    is refused before Python's reader has it, which takes memory for each pair of parts: gigabytes for a file of 200 kB.
    """
    try:
        decoded = text.decode()
        if _DOTTED.search(decoded):
            raise DocumentInvalid(f"this is no TOML: it nests deeper than {DEEPEST} levels")
        return tomllib.loads(decoded)
    except UnicodeDecodeError as err:
        raise DocumentInvalid(f"this is no text: byte {err.start} is not UTF-8") from err
    except DocumentInvalid:
        raise
    except RecursionError as err:
        raise DocumentInvalid("this is no TOML: it nests too deeply") from err
    except ValueError as err:            # of a day that no month has, or a number of thousands of digits, too
        raise DocumentInvalid(f"this is no TOML: {err}") from err


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise DocumentInvalid(f"the key {_quoted(key)} stands twice in one object")
        made[key] = value
    return made


_Place = tuple["_Place", str | int] | None       # the way back to the outermost value


def _refuse(value: Any, *, nan_allowed: bool, infinity_allowed: bool) -> None:
    """Every value below `value`, without recursion."""
    waiting: list[tuple[Any, _Place, int]] = [(value, None, 0)]
    while waiting:
        found, place, depth = waiting.pop()
        if isinstance(found, dict | list):
            if depth == DEEPEST:
                raise DocumentInvalid(f"it nests lists and objects deeper than {DEEPEST} levels")
            for key, inner in found.items() if isinstance(found, dict) else enumerate(found):
                if isinstance(key, str):
                    _refuse_text(key, place)
                waiting.append((inner, (place, key), depth + 1))
        elif isinstance(found, str):
            _refuse_text(found, place)
        elif isinstance(found, float):
            allowed = nan_allowed if math.isnan(found) else infinity_allowed or math.isfinite(found)
            if not allowed:
                raise DocumentInvalid(f"{found} is no number of JSON, at {_text(place)}")
        elif isinstance(found, int) and not -_LARGEST_WHOLE < found < _LARGEST_WHOLE:
            raise DocumentInvalid(f"a whole number has more than 64 bits, at {_text(place)}")


def _refuse_text(text: str, place: _Place) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise DocumentInvalid(f"a text holds half of a surrogate pair, at {_text(place)}") from err


def _text(place: _Place) -> str:
    """As "$.candidates[3].bytes"."""
    parts: list[str] = []
    while place is not None:
        place, key = place
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}" if key.isidentifier() else f"[{_quoted(key)}]")
    return "$" + "".join(reversed(parts))


def _quoted(key: str) -> str:
    return ascii(key if len(key) <= 60 else f"{key[:60]}...")
