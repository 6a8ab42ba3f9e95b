"""What a training tells while it runs, with the time left."""

import time

from mlopt.frameworks.fitting import OnEvent

EVERY_S = 0.5           # between two events
SMOOTHING = 0.8         # of the seconds a step takes, from one call to the next


class Events:
    """Progress of a training, at most twice a second, with the seconds that it will still take."""

    def __init__(self, on_event: OnEvent, *, steps: int, epochs: int) -> None:
        self.on_event, self.steps, self.epochs = on_event, steps, epochs
        self.step_s = self.validation_s = 0.0
        self._last = float("-inf")

    def timed(self, seconds: float, steps: int) -> None:
        """So long took so many steps."""
        each = seconds / steps
        self.step_s = SMOOTHING * self.step_s + (1 - SMOOTHING) * each if self.step_s else each

    def tell(self, *, done: int, epoch: int, loss: float, validation: float, last: bool = False) -> None:
        """`epoch` counts from 1; `validation` is the last one's, nan before the first."""
        now = time.monotonic()
        if not last and now - self._last < EVERY_S:
            return
        self._last = now
        known = self.step_s > 0             # not before a step was timed: the first one traces the graph
        left = (self.steps - done) * self.step_s + (self.epochs - epoch + (not last)) * self.validation_s
        self.on_event({
            "doing": "training", "done": done, "total": self.steps, "epoch": epoch, "epochs": self.epochs,
            "loss": loss, "validation": validation, "left_s": 0.0 if last else left if known else float("nan"),
        })
