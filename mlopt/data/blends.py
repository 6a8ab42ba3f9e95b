"""Harder samples out of easy ones: blends of two, which lie nearer to where a model changes its mind.

Inputs that were synthesised for clear-cut answers are answered alike by every file, so they cannot tell files apart.
Between two of them a network is less sure, and small errors show (the blend is that of mixup: Zhang et al., 2018).
"""

from collections.abc import Mapping

import numpy as np

BLENDED = (
    "files were compared on synthesised inputs that calibration did not see, and on blends of two of them, which are "
    "harder than real samples: agreement on real ones is usually higher"
)


def with_blends(inputs: Mapping[str, np.ndarray], count: int, seed: int) -> dict[str, np.ndarray]:
    """The samples [N, ...] and `count` blends after them: share * one + (1 - share) * another, share in [0.3, 0.7].

    All inputs of a sample are blended with the same two and the same share; an integer input is the one's.

    >>> made = with_blends({"x": np.array([[0.0], [10.0]], np.float32)}, 50, seed=0)
    >>> made["x"].shape, bool((made["x"][2:] >= 3).all() and (made["x"][2:] <= 7).all())
    ((52, 1), True)
    """
    random = np.random.default_rng(seed)
    n = len(next(iter(inputs.values())))
    one = random.integers(0, n, count)
    other = (one + random.integers(1, max(n, 2), count)) % n
    share = random.uniform(0.3, 0.7, count)
    return {name: np.concatenate([values, _blend(values, one, other, share)]) for name, values in inputs.items()}


def _blend(values: np.ndarray, one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu":
        return values[one]
    weight = share.reshape(-1, *[1] * (values.ndim - 1))
    return (weight * values[one] + (1 - weight) * values[other]).astype(values.dtype)
