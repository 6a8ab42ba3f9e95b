"""Task metrics: labels and outputs in, one number or one number a sample out.

Shapes: N samples first. A dense output has one prediction for each of several positions (a mask, a tagged sequence):
its sample's score is the mean over the positions, so that samples, which are independent, are what intervals count.
"""

import numpy as np


def top_classes(scores: np.ndarray) -> np.ndarray:
    """Index of the largest score along the last axis, -1 where any score of that position is not finite.

    Ties go to the lower index, as an app's argmax does.

    >>> top_classes(np.array([[0.1, 0.9], [0.5, 0.5], [np.nan, 1.0]])).tolist()
    [1, 0, -1]
    """
    best = scores.argmax(axis=-1)
    if np.isfinite(scores).all():
        return best
    return np.where(np.isfinite(scores).all(axis=-1), best, -1)


def decisions(scores: np.ndarray, threshold: float) -> np.ndarray:
    """1 where a yes-or-no score is above the threshold, 0 where it is not, -1 where it is not finite.

    >>> decisions(np.array([0.2, 0.7, np.inf]), 0.5).tolist()
    [0, 1, -1]
    """
    return np.where(np.isfinite(scores), (scores > threshold).astype(np.int64), -1)


def per_sample(hits: np.ndarray) -> np.ndarray:
    """Mean over everything but the first axis: [N, ...] of booleans or numbers -> [N] float64.

    >>> per_sample(np.array([[True, False], [True, True]])).tolist()
    [0.5, 1.0]
    """
    if hits.ndim == 1:
        return hits.astype(np.float64)
    return hits.reshape(len(hits), -1).mean(axis=1, dtype=np.float64)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative; ties count half.

    `labels` [N] of 0 and 1, `scores` [N]. Undefined, and therefore `nan`, with one class only or a score that is NaN.

    >>> auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    if np.isnan(scores).any() or len(np.unique(labels)) != 2:
        return float("nan")
    return float(weighted_auc(labels, scores, np.ones((1, len(labels))))[0])


def weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the ROC curve for each row of sample weights [B, N] -> [B]; `nan` where a class has no weight.

    Mann-Whitney's statistic: negatives are sorted once, and a positive finds its place among them once, for all rows.
    """
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels != 1)
    negative = negative[np.argsort(scores[negative], kind="stable")]
    positive = positive[np.argsort(scores[positive], kind="stable")]       # in order, so that look-ups stay near
    places = [np.searchsorted(scores[negative], scores[positive], side) for side in ("left", "right")]
    below = np.zeros((len(weights), len(negative) + 1))
    np.cumsum(weights[:, negative], axis=1, out=below[:, 1:])              # weight of the k lowest negatives
    ours = weights[:, positive]
    wins = sum(np.einsum("bp,bp->b", ours, below[:, place]) for place in places) / 2
    pairs = ours.sum(axis=1) * below[:, -1]
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def r2(squared_error: np.ndarray, spread: np.ndarray) -> float:
    """Share of the variance explained, from each sample's squared error and squared distance to the mean label [N].

    With several values in an output both are sums over them, each value against its own mean: the variance-weighted R2.
    Undefined, and therefore `nan`, when there are no samples or the labels do not vary.

    >>> r2(np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0]))
    0.5
    """
    total = spread.sum()
    return float(1 - squared_error.sum() / total) if total > 0 else float("nan")
