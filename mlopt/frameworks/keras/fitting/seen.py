"""Stored samples as a model sees them, in the graph."""

from typing import Any

import numpy as np

from mlopt.data.samples import Samples
from mlopt.frameworks.keras.quiet import tf


def seen(samples: Samples, name: str, stored: Any) -> Any:
    """`Samples.as_seen` on a tensor."""
    dtype = samples.dtypes.get(name)
    scaled = name not in samples.unscaled and (samples.scale != 1.0 or samples.offset != 0.0)
    if dtype is not None and np.dtype(dtype).kind in "iu":
        return tf.cast(stored, dtype)
    if dtype is None and stored.dtype.is_integer and stored.dtype.size >= 4 and not scaled:
        return stored
    real = tf.cast(stored, tf.float32)
    return real * np.float32(samples.scale) + np.float32(samples.offset) if scaled else real
