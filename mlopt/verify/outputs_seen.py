"""Fingerprints of what a model or a file gives, and the answers and probabilities that its outputs stand for."""

from collections.abc import Mapping

import numpy as np

from mlopt.data.fingerprint import OCCUPIED, Channels, OutputFingerprint
from mlopt.distribution import Distribution
from mlopt.outputs import Head, Output, OutputKind
from mlopt.verify.metrics import decisions, top_classes

OUTPUTS = "outputs.json"        # in an entry of the cache: fingerprints of what a file, or the source, gave


class OutputsSeen:
    """Fingerprints of a model's outputs, from batches in any order."""

    def __init__(self, outputs: tuple[Output, ...]) -> None:
        self._seen = {output.name: _OutputSeen(output) for output in outputs}

    def add(self, values: Mapping[str, np.ndarray]) -> None:
        """Outputs [n, ...] by name."""
        for name, seen in self._seen.items():
            seen.add(np.asarray(values[name], dtype=np.float32))

    def fingerprints(self) -> dict[str, OutputFingerprint]:
        return {name: seen.fingerprint() for name, seen in self._seen.items()}


class _OutputSeen:
    def __init__(self, output: Output) -> None:
        self.output, self.count = output, 0
        self.channels: Channels | None = None
        self.confidence = Distribution(occupied=OCCUPIED)
        self.answers: dict[str, int] = {}

    def add(self, values: np.ndarray) -> None:
        self.channels = self.channels or Channels.of(values.shape, least_axes=2)
        self.count += len(values)
        self.channels.add(values)
        if self.output.kind in (OutputKind.CLASSES, OutputKind.BINARY):
            answers, confidence = answered(self.output, values)
            self.confidence.add(confidence)
            found, counts = np.unique(answers[answers >= 0], return_counts=True)
            for answer, n in zip(found.tolist(), counts.tolist(), strict=True):
                self.answers[str(answer)] = self.answers.get(str(answer), 0) + n

    def fingerprint(self) -> OutputFingerprint:
        one = self.output
        return OutputFingerprint(
            kind=one.kind, head=one.head, axis=one.axis, classes=one.classes, count=self.count,
            channels=self.channels.states() if self.channels else (),
            top_classes=dict(sorted(self.answers.items(), key=lambda item: int(item[0]))),
            confidence=self.confidence.state() if self.answers else None,
        )


def answered(output: Output, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The answer at each position of an output of classes or of yes and no, and its probability, float64.

    `values` are [N, ..., C] for C classes, else [N, ...]. Scores become probabilities by a softmax or a sigmoid. Where
    they are not finite the answer is -1 and the probability nan.

    >>> two = Output(name="y", kind=OutputKind.CLASSES, head=Head.PLAIN, classes=2)
    >>> answers, shares = answered(two, np.array([[0.0, np.log(3)]])); answers.tolist(), shares.round(2).tolist()
    ([1], [0.75])
    """
    real = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if output.kind is OutputKind.CLASSES:
            answers = top_classes(values)
            highest = real.max(axis=-1)
            shares = 1 / np.exp(real - highest[..., None]).sum(axis=-1) if output.head is Head.PLAIN else highest
        else:
            answers = decisions(values, output.threshold)
            yes = 1 / (1 + np.exp(-real)) if output.head is Head.PLAIN else real
            shares = np.where(answers == 1, yes, 1 - yes)
    return answers, np.where(answers >= 0, shares, np.nan)
