"""The arithmetic of training steps; the order of samples, rates, epochs, checkpoints and early stopping are mlopt's."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Hold, LabelLoss, Strategy
from mlopt.frameworks.stepper import Batches, Figure, Lesson, Peers, Steps, Told
from mlopt.outputs import LabelKind
from mlopt_linear.model import BIAS, KERNEL, LinearModel

MOMENTUM = 0.9


@contextmanager
def stepper(model: LinearModel, lesson: Lesson) -> Iterator["LinearStepper"]:
    """Raises `BadRequest` for a task that asks for what is not here."""
    task, o = lesson.task, lesson.task.optimizer
    known = all(isinstance(loss, LabelLoss) and loss.kind is LabelKind.VALUES for loss in task.losses)
    asked = {
        "learn numbers from labels alone (`teacher: none`)": not known or len(task.losses) != 1 or bool(lesson.mirrors),
        "are trained by `optimizer: sgd`": o.name != "sgd",
        "know neither weight decay nor clipping": bool(o.weight_decay or o.clip_norm),
        "know no augmentation": bool(task.augment),
        "train on one device": task.strategy not in (Strategy.AUTO, Strategy.ONE),
    }
    for what, wrong in asked.items():
        if wrong:
            raise BadRequest(f"linear models {what}")
    yield LinearStepper(model, lesson)


class LinearStepper:
    """`mlopt.frameworks.stepper.Stepper`: mean squared error, gradient descent with Nesterov momentum."""

    parts = ("labels", "total")
    replicas = working = 1
    peers = Peers()
    notes = ()
    ready = True

    def __init__(self, model: LinearModel, lesson: Lesson) -> None:
        self.model, self.lesson, self.places = model, lesson, slice(0, lesson.task.batch)
        self.now = model.weights()
        self.momentum = {name: np.zeros_like(values) for name, values in self.now.items()}
        self.held: Mapping[str, Hold] = {}
        labelled = lesson.validation is not None and lesson.validation.labels is not None
        self.measures = Figure.MINUS_LOSS if labelled else Figure.NOTHING

    def place(self, batches: Batches) -> Batches:
        return batches

    def run(self, steps: Steps, rates: Sequence[float], placed: Batches) -> Iterator[Told]:
        assert placed.labels is not None
        losses = []
        for rate, stored, wanted in zip(rates, placed.inputs["x"], placed.labels, strict=True):
            x = self.lesson.train.as_seen("x", stored)
            error = x @ self.now[KERNEL] + self.now[BIAS] - wanted.astype(np.float32)
            weight = self.lesson.task.losses[0].weight
            slope = np.float32(2 * weight / error.size) * error
            for name, gradient in ((KERNEL, x.T @ slope), (BIAS, slope.sum(axis=0))):
                if name not in self.lesson.task.freeze:
                    self.momentum[name] = MOMENTUM * self.momentum[name] + gradient
                    ahead = MOMENTUM * self.momentum[name] + gradient
                    self.now[name] = (self.now[name] - rate * ahead).astype(np.float32)
            self._make_true()
            loss = float(np.mean(error**2))
            losses.append([loss, weight * loss])
        yield steps, np.array(losses)

    def drained(self) -> Iterator[Told]:
        return iter(())

    def figure(self) -> float:
        return _figure(self.now, self.lesson.validation)

    def weights(self) -> dict[str, np.ndarray]:
        return self.values()

    def hold(self, holds: Mapping[str, Hold], *, now: bool) -> None:
        self.held = holds
        if now:
            self._make_true()

    def _make_true(self) -> None:
        for name, hold in self.held.items():
            if hold.ties is not None:
                sums, counts = np.bincount(hold.ties.ravel(), self.now[name].ravel()), np.bincount(hold.ties.ravel())
                self.now[name] = (sums / np.maximum(counts, 1))[hold.ties].astype(np.float32)
            if hold.mask is not None:
                self.now[name] = self.now[name] * hold.mask

    def values(self) -> dict[str, np.ndarray]:
        return {name: values.copy() for name, values in self.now.items()}

    def optimizer(self) -> dict[str, np.ndarray]:
        return {name: values.copy() for name, values in self.momentum.items()}

    def restore(self, values: Mapping[str, np.ndarray], optimizer: Mapping[str, np.ndarray] | None = None) -> None:
        self.now = {name: array.copy() for name, array in values.items()}
        if optimizer is not None:
            self.momentum = {name: array.copy() for name, array in optimizer.items()}

    def deliver(self) -> None:
        self.model.set_weights(self.now)


def _figure(weights: Mapping[str, np.ndarray], samples: Samples | None) -> float:
    if samples is None or samples.labels is None:
        return float("nan")
    error = samples.as_seen("x", samples.inputs["x"]) @ weights[KERNEL] + weights[BIAS] - samples.labels
    return -float(np.mean(error**2))
