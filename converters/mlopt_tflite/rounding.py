"""Rounding weights so that a layer's output moves least, instead of each weight.

Rounding one weight up can be undone by rounding a correlated one down. Columns are rounded one after the other and the
error of each is carried to the columns that follow, through the inverse covariance of the layer's inputs
(Frantar et al. 2022, "GPTQ"; the update is Hassibi and Stork's optimal brain surgeon, 1993).
"""

import numpy as np

from mlopt_tflite.weights import Quantized, largest, span_scales

CLIPS = np.linspace(1.0, 0.55, 10)   # fractions of the largest weight that are tried as the end of the scale
DAMPING = 0.01                       # of the mean variance, added to every input: keeps the inverse stable
BLOCK = 64                           # columns between two updates of everything that follows


def carried(weights: np.ndarray, covariance: np.ndarray, bits: int) -> Quantized:
    """Weights [outputs, ...] (first axis: channels) rounded against the covariance [K, K] of their inputs.

    Per channel the clip with the least expected squared output error, error' covariance error, wins.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    spans = span_scales(weights, 0, bits).astype(np.float64)
    damped = covariance + np.eye(len(covariance)) * (DAMPING * np.trace(covariance) / len(covariance) + 1e-12)
    scales = (CLIPS[:, None] * spans[None, :]).astype(np.float32).astype(np.float64)   # [clips, outputs]
    tried = _round_all(np.tile(rows, (len(CLIPS), 1)), scales.reshape(-1), damped, bits)
    tried = tried.reshape(len(CLIPS), *rows.shape)
    errors = tried * scales[:, :, None] - rows
    cost = np.einsum("cok,cok->co", errors @ damped, errors)
    best = cost.argmin(axis=0)
    pick = np.arange(len(rows))
    return Quantized(
        values=tried[best, pick].reshape(weights.shape).astype(np.int8),
        scale=scales[best, pick].astype(np.float32), axis=0, bits=bits,
    )


def _round_all(rows: np.ndarray, scale: np.ndarray, covariance: np.ndarray, bits: int) -> np.ndarray:
    """`rows` [n, K] to whole numbers [n, K], each with its scale [n]; columns of large variance go first."""
    order = np.argsort(-np.diag(covariance), kind="stable")
    inverse = np.linalg.inv(covariance[np.ix_(order, order)])
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    rows, limit = rows[:, order], largest(bits)
    result = np.zeros_like(rows)
    for start in range(0, rows.shape[1], BLOCK):
        stop = min(start + BLOCK, rows.shape[1])
        errors = np.zeros((len(rows), stop - start))
        for i in range(start, stop):
            result[:, i] = np.clip(np.rint(rows[:, i] / scale), -limit, limit)
            errors[:, i - start] = (rows[:, i] - result[:, i] * scale) / upper[i, i]
            rows[:, i:stop] -= np.outer(errors[:, i - start], upper[i, i:stop])
        rows[:, stop:] -= errors @ upper[start:stop, stop:]
    back = np.empty_like(result)
    back[:, order] = result
    return back
