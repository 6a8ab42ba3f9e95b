"""Whether the probabilities that a file gives are those with which it is right."""

import numpy as np

from mlopt.outputs import Output
from mlopt.report import CalibrationBin
from mlopt.verify.outputs_seen import answered

BINS = 20
UNIT = 1 << 20          # a probability is counted in these parts of 1


class CalibrationTally:
    """Answers by their probability, from batches in any order; exact integers."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self._counts = np.zeros((3, BINS), dtype=np.int64)

    def add(self, labels: np.ndarray, values: np.ndarray) -> None:
        """`values` of the output for n samples, and the right answers to them, of as many positions.

        Answers that are not finite stand in no bin.
        """
        answers, probabilities = (each.ravel() for each in answered(self.output, values))
        sound = answers >= 0
        right = answers[sound] == labels.ravel()[sound]
        given = np.clip(probabilities[sound], 0, 1)    # scores that looked like probabilities on the rows that decided
        bins = np.minimum((given * BINS).astype(np.int64), BINS - 1)
        parts = np.rint(given * UNIT).astype(np.int64)
        for row, weights in zip(self._counts, (np.ones_like(parts), right.astype(np.int64), parts), strict=True):
            np.add.at(row, bins, weights)

    def curve(self) -> tuple[CalibrationBin, ...]:
        return tuple(
            CalibrationBin(answers=n, right=right, probability=parts) for n, right, parts in self._counts.T.tolist()
        )
