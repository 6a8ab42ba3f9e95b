"""Damage to files, the same in every run: what a fuzzer does to bytes, without a fuzzer's clock.

The kinds are those of American Fuzzy Lop's havoc stage: bits and bytes turned over, whole numbers replaced by those at
the edges of their types, pieces cut out, doubled, moved, overwritten, and the end cut off.
"""

import struct
from collections.abc import Callable, Iterator

import numpy as np

EDGES = tuple(
    struct.pack(form, value)
    for form, values in {
        "<B": (0, 1, 0x7F, 0x80, 0xFF),
        "<H": (0x7FFF, 0x8000, 0xFFFF),
        "<I": (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF),
        "<Q": (0, 1, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF),
        "<d": (float("nan"), float("inf"), -float("inf")),
    }.items()
    for value in values
)


def mutations(original: bytes, count: int, *, seed: int = 0) -> Iterator[bytes]:
    """`count` damaged copies of `original`, each with one to four kinds of damage; all differ from it."""
    for index in range(count):
        random = np.random.default_rng((seed, index))
        damaged = original
        while damaged == original:
            for _ in range(random.integers(1, 5)):
                damaged = KINDS[random.integers(len(KINDS))](damaged or original, random)
        yield damaged


def _place(data: bytes, random: np.random.Generator) -> int:
    """Anywhere, but half of the time within a kilobyte of an end, where formats keep their tables."""
    where = int(random.integers(len(data)))
    edge = int(random.integers(min(len(data), 1024)))
    return (where, where, edge, len(data) - 1 - edge)[random.integers(4)]


def _length(data: bytes, random: np.random.Generator) -> int:
    return int(2 ** random.uniform(0, np.log2(max(len(data) / 2, 2))))


def _bit(data: bytes, random: np.random.Generator) -> bytes:
    at = _place(data, random)
    return data[:at] + bytes([data[at] ^ (1 << int(random.integers(8)))]) + data[at + 1 :]


def _byte(data: bytes, random: np.random.Generator) -> bytes:
    at = _place(data, random)
    return data[:at] + bytes([int(random.integers(256))]) + data[at + 1 :]


def _number(data: bytes, random: np.random.Generator) -> bytes:
    at, edge = _place(data, random), EDGES[random.integers(len(EDGES))]
    return data[:at] + edge + data[at + len(edge) :]


def _cut(data: bytes, random: np.random.Generator) -> bytes:
    at = _place(data, random)
    return data[:at] + data[at + _length(data, random) :]


def _end_cut_off(data: bytes, random: np.random.Generator) -> bytes:
    return data[: _place(data, random)]


def _doubled(data: bytes, random: np.random.Generator) -> bytes:
    at = _place(data, random)
    return data[: at + _length(data, random)] + data[at:]


def _overwritten(data: bytes, random: np.random.Generator) -> bytes:
    at, size = _place(data, random), min(_length(data, random), 4096)
    return data[:at] + random.bytes(size) + data[at + size :]


def _zeroed(data: bytes, random: np.random.Generator) -> bytes:
    at, size = _place(data, random), min(_length(data, random), 4096)
    return data[:at] + bytes(size) + data[at + size :]


def _moved(data: bytes, random: np.random.Generator) -> bytes:
    """A piece of it, put over another place: structure that is valid, in the wrong place."""
    start, at, size = _place(data, random), _place(data, random), min(_length(data, random), 4096)
    return data[:at] + data[start : start + size] + data[at + size :]


KINDS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    _bit, _byte, _number, _number, _cut, _end_cut_off, _doubled, _overwritten, _zeroed, _moved,
)
