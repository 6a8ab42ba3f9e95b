"""How far a file's outputs are from the float file's, on samples that only judge."""

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from mlopt_tflite.engine import Engine

FAR = 0.1   # a sample agrees when its output error is at most this part of the output's own size (20 dB)
STILL = 0.01   # an output that deviates from its mean by less than this part of its size hardly moves


@dataclass(frozen=True, kw_only=True)
class Distance:
    """`noise` is error power over signal power, the mean of the outputs; `agreement` is the worst output's."""

    noise: float
    agreement: float


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Float outputs [N, ...] by name for inputs [N, ...] by name; `decisions` names those that say yes or no at 0.5."""

    inputs: Mapping[str, np.ndarray]
    reference: Mapping[str, np.ndarray]
    decisions: frozenset[str] = frozenset()

    def first(self, count: int) -> "Judge":
        """A quicker judge, on the first `count` samples."""
        return Judge(
            inputs={n: v[:count] for n, v in self.inputs.items()},
            reference={n: v[:count] for n, v in self.reference.items()},
            decisions=self.decisions,
        )

    def distance(self, content: bytes) -> Distance:
        return distance(self.reference, Engine(content).predict(self.inputs), self.decisions)


def distance(
    reference: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray], decisions: Set[str] = frozenset()
) -> Distance:
    """
    >>> a = {"y": np.array([[0.9, 0.1], [0.2, 0.8]])}
    >>> distance(a, {"y": np.array([[0.6, 0.4], [0.2, 0.8]])}).agreement
    1.0
    """
    pairs = {name: (reference[name].astype(np.float64), outputs[name].astype(np.float64)) for name in sorted(reference)}
    same = [same_side(a, b) if name in decisions else agreement(a, b) for name, (a, b) in pairs.items()]
    return Distance(noise=float(np.mean([noise(a, b) for a, b in pairs.values()])), agreement=float(min(same)))


def noise(reference: np.ndarray, values: np.ndarray) -> float:
    """Squared error over the squared deviation of the reference from its mean over samples; not finite is infinite.

    An output that hardly moves is held to a hundredth of its own size instead.

    >>> noise(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]))
    0.5
    """
    error = float(((reference - values) ** 2).sum())
    signal = float(((reference - reference.mean(axis=0)) ** 2).sum())
    signal = max(signal, STILL**2 * float((reference**2).sum())) or 1.0
    return error / signal if np.isfinite(error) else float("inf")


def agreement(reference: np.ndarray, values: np.ndarray) -> float:
    """The share of samples with the same largest score, for class scores [N, classes] that are probabilities;
    for other outputs the share with an error of at most `FAR` of the output's size.
    """
    if is_scores(reference):
        return float(np.mean(reference.argmax(axis=-1) == values.argmax(axis=-1)))
    rows, others = reference.reshape(len(reference), -1), values.reshape(len(values), -1)
    size, error = np.linalg.norm(rows, axis=1), np.linalg.norm(rows - others, axis=1)
    return float(np.mean(error <= FAR * np.maximum(size, 1e-12)))


def same_side(reference: np.ndarray, values: np.ndarray) -> float:
    """The share of numbers on the same side of one half.

    >>> same_side(np.array([[0.01], [0.6]]), np.array([[0.03], [0.4]]))
    0.5
    """
    return float(np.mean((reference > 0.5) == (values > 0.5)))


def is_scores(output: np.ndarray) -> bool:
    """[N, two or more] of numbers in 0..1 that sum to one."""
    return bool(
        output.ndim == 2 and output.shape[1] > 1 and output.min() >= 0 and np.allclose(output.sum(axis=1), 1, atol=1e-3)
    )
