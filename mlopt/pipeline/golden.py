"""Golden pairs: inputs and the outputs that a file gave for them, for a device to replay after download.

The inputs come from a seed and from the range of the calibration samples, never from the samples themselves: a bundle
is handed around, and the data is the user's.
"""

import numpy as np

from mlopt.data.samples import Samples
from mlopt.model import Signature

COUNT = 4     # enough to tell a wrong layout, scale or file; few enough to ship


def inputs(signature: Signature, samples: Samples, seed: int) -> dict[str, np.ndarray]:
    """Uniform noise [COUNT, ...] within each input's range over the first calibration samples; integers stay so."""
    random = np.random.default_rng(seed)
    seen = samples.rows(0, min(samples.count, 64))
    made = {}
    for spec in signature.inputs:
        values = seen[spec.name]
        low, high = values.min().item(), values.max().item()
        shape = (COUNT, *values.shape[1:])
        if values.dtype.kind in "iu":
            made[spec.name] = random.integers(low, high, shape, dtype=values.dtype, endpoint=True)
        else:
            made[spec.name] = random.uniform(low, high, shape).astype(np.float32)
    return made


def raw(values: np.ndarray) -> bytes:
    """Little-endian values in C order, as a device reads them without a library.

    >>> raw(np.array([1, 258], np.int16)).hex()
    '01000201'
    """
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
