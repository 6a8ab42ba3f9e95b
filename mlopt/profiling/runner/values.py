"""Input values for a measurement: seeded, and safe for any model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike


def random(name: str, shape: Sequence[int] | np.ndarray, dtype: DTypeLike, seed: int) -> np.ndarray:
    """An array of that shape and type.

    Real numbers from the standard normal, 8- and 16-bit integers over their range, truth values by coin. Wider
    integers are 0: they are mostly places in a table, and 0 is a place in every table.
    """
    import numpy as np

    kind = np.dtype(dtype)
    source = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if kind.kind == "f":
        return source.standard_normal(tuple(shape)).astype(kind)
    if kind.kind == "b":
        return source.integers(0, 2, tuple(shape)).astype(kind)
    if kind.kind in "iu" and kind.itemsize <= 2:
        limits = np.iinfo(kind)
        return source.integers(limits.min, limits.max, tuple(shape), dtype=kind, endpoint=True)
    if kind.kind in "iu":
        return np.zeros(tuple(shape), kind)
    raise ValueError(f"input {name} is {kind}, and no value of that kind is safe to measure with")
