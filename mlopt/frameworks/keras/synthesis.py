"""Inputs made from the model itself, where nobody gave data."""

from typing import Any

import numpy as np

from mlopt.model import Signature


def synthesise(
    flat: Any, signature: Signature, macs: int, *, count: int, seed: int
) -> tuple[dict[str, np.ndarray], str]:
    """Seeded noise [count, ...] by input name, and one sentence on how far to trust it."""
    random = np.random.default_rng(seed)
    made = {s.name: random.normal(size=(count, *s.shape[1:])).astype(s.dtype) for s in signature.inputs}
    return made, "Samples are plain noise: ranges found on them say little about real inputs."
