"""The header of a `.npy` array, by a grammar of its own: Python's evaluates text, and stumbles over what is damaged.

Format: numpy.lib.format. After the magic, a version and a length stands the text of a dict, for instance
{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
"""

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

MAGIC = b"\x93NUMPY"
_LENGTHS = {1: "<H", 2: "<I", 3: "<I"}      # how each version writes the length of the text
_LONGEST_TEXT = 10_000                      # characters, as numpy's own limit
_MOST_AXES = 32
_ENTRY = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])(?P<text>[^'"]*)\3|(?P<flag>True|False)|\((?P<sizes>[-\dL,\s]*)\)|(?P<fields>\[.*\])\s*)"""
    r"""\s*(?:,|(?=\}))""",
    re.DOTALL,
)
_PLAIN = re.compile(r"[<>|=]?[biufcSUOVmM]\d{0,9}(\[\w{1,10}\])?")      # what numpy writes for a type without fields
_SIZE = re.compile(r"\s*(-?\d{1,19})L?\s*")                             # Python 2 wrote 3L


@dataclass(frozen=True, kw_only=True)
class Header:
    shape: tuple[int, ...]
    dtype: np.dtype | None      # None for an array with named fields
    fortran: bool               # columns before rows
    bytes: int                  # of the header itself, magic included


def read_header(file: BinaryIO) -> Header:
    """Read the header at the start of `file`, and leave the file where the values begin; raises `ValueError`."""
    start = file.read(len(MAGIC) + 2)
    if len(start) < len(MAGIC) + 2 or not start.startswith(MAGIC):
        raise ValueError("it does not start as an array does")
    form = _LENGTHS.get(start[len(MAGIC)])
    if form is None:
        raise ValueError(f"of an unknown version, {start[-2]}.{start[-1]}")
    packed = file.read(struct.calcsize(form))
    if len(packed) < struct.calcsize(form):
        raise ValueError("cut off")
    length = struct.unpack(form, packed)[0]
    if length > _LONGEST_TEXT:
        raise ValueError(f"of {length:,} characters, where {_LONGEST_TEXT:,} are the most")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("cut off")
    shape, dtype, fortran = _parsed(text.decode("utf-8" if start[len(MAGIC)] == 3 else "latin1"))
    return Header(shape=shape, dtype=dtype, fortran=fortran, bytes=len(start) + len(packed) + length)


def _parsed(text: str) -> tuple[tuple[int, ...], np.dtype | None, bool]:
    text = text.strip()
    if not text.startswith("{"):
        raise ValueError(f"{text[:40]!r} is no dict")
    found: dict[str, re.Match[str]] = {}
    at = 1
    while (entry := _ENTRY.match(text, at)) is not None:
        if entry["key"] in found:
            raise ValueError(f"{entry['key']} stands twice")
        found[entry["key"]] = entry
        at = entry.end()
    if text[at:].strip() != "}":
        raise ValueError(f"{text[at : at + 40]!r} is not understood")
    if found.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"it says {', '.join(sorted(found)) or 'nothing'}, and not descr, fortran_order and shape")
    if found["fortran_order"]["flag"] is None:
        raise ValueError("fortran_order is neither True nor False")
    return _shape(found["shape"]["sizes"]), _dtype(found["descr"]), found["fortran_order"]["flag"] == "True"


def _shape(sizes: str | None) -> tuple[int, ...]:
    if sizes is None:
        raise ValueError("shape is no tuple")
    *first, last = sizes.split(",")
    if (last.strip() and not first) or len(first) > _MOST_AXES:
        raise ValueError(f"shape ({sizes[:40]}) is no tuple of at most {_MOST_AXES} sizes")
    shape = []
    for size in [*first, last] if last.strip() else first:
        number = _SIZE.fullmatch(size)
        if number is None or int(number[1]) < 0:
            raise ValueError(f"shape ({sizes[:40]}) holds {size.strip()[:20]!r}, which is no size")
        shape.append(int(number[1]))
    return tuple(shape)


def _dtype(entry: re.Match[str]) -> np.dtype | None:
    if entry["fields"] is not None:
        return None
    text = entry["text"]
    if text is None or _PLAIN.fullmatch(text) is None:
        raise ValueError(f"descr {(text or '')[:40]!r} names no type of numbers or text")
    try:
        return np.dtype(text)
    except TypeError as err:
        raise ValueError(f"descr {text!r} names no type") from err
