"""What a training tells while it runs: events with the time left, and TensorBoard's files."""

import time
from collections.abc import Mapping
from pathlib import Path

from mlopt.frameworks.fitting import OnEvent
from mlopt.frameworks.keras.quiet import tf

EVERY_S = 0.5           # between two events
SMOOTHING = 0.8         # of the seconds a step takes, from one call to the next


# What TensorBoard's own `scalar` writes beside a number, so that it draws a curve. TensorFlow's `tf.summary.scalar`
# would import tensorboard, which TensorFlow does not bring; writing takes nothing of it.
_CURVE = tf.compat.v1.SummaryMetadata(plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"))


class Board:
    """TensorBoard event files in a folder; without a folder nothing is written."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = None if folder is None else tf.summary.create_file_writer(str(folder))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            with self._writer.as_default():
                for name, value in values.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), step, metadata=_CURVE)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


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
