"""The step of a Keras model: see `mlopt.frameworks.stepper.Stepper`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlopt.frameworks.fitting import Hold
from mlopt.frameworks.keras.fitting import strategies
from mlopt.frameworks.keras.fitting.arithmetic import rewritten
from mlopt.frameworks.keras.fitting.determinism import deterministic
from mlopt.frameworks.keras.fitting.preparing import Prepared, prepare
from mlopt.frameworks.keras.fitting.steps import Tree, hold, several
from mlopt.frameworks.keras.fitting.strategies import Engine
from mlopt.frameworks.keras.fitting.student import Trainee
from mlopt.frameworks.keras.fitting.updates import Held, numbers
from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.stepper import Batches, Figure, Lesson, Peers, Steps, Told


@contextmanager
def stepper(trainee: Trainee, lesson: Lesson, engine: Engine | None = None) -> Iterator["KerasStepper"]:
    """By the devices of an engine, which the task chooses where none is given."""
    with deterministic(lesson.task.seed):
        prepared = prepare(trainee, lesson, engine or strategies.engine(lesson.task.strategy))
        with (
            rewritten(prepared.arithmetic),
            prepared.step.chance.installed(prepared.student.model),
            prepared.engine.strategy.scope(),
        ):
            yield KerasStepper(prepared, trainee)


class KerasStepper:
    """Lives in the scope of its strategy."""

    def __init__(self, prepared: Prepared, trainee: Trainee) -> None:
        self.step, self.student, self.engine = prepared.step, prepared.student, prepared.engine
        self.trainee, self.validation = trainee, prepared.validation
        self.parts: tuple[str, ...] = self.step.objective.parts
        self.replicas: int = self.engine.replicas
        self.working: int = self.engine.working
        self.places = self.engine.places(self.step.batch)
        self.peers: Peers = self.engine
        self.measures: Figure = self.validation.measures
        self.notes: tuple[str, ...] = prepared.notes
        self._caller = self.engine.caller()
        self._held: dict[int, Held] = {}
        self._function: Any = None

    @property
    def ready(self) -> bool:
        return self._function is not None

    def place(self, batches: Batches) -> Tree:
        tree: Tree = {"inputs": dict(batches.inputs), "teacher": dict(batches.teacher)}
        if batches.labels is not None:
            tree["labels"] = batches.labels
        placed: Tree = tf.nest.map_structure(tf.constant, tree)
        return placed

    def run(self, steps: Steps, rates: Sequence[float], placed: Tree) -> Iterator[Told]:
        if self._function is None:
            self._function = several(self.step, self._held, placed)
        arguments = (placed, tf.constant(numbers(rates, steps.first)), tf.constant(steps.first, tf.int64))
        return self._caller.call(self._function, steps, arguments)

    def drained(self) -> Iterator[Told]:
        return self._caller.drained()

    def figure(self) -> float:
        return self.validation.figure()

    def weights(self) -> dict[str, np.ndarray]:
        own = self.student.model is self.trainee.keras_model        # a grid gives its kernels in real numbers
        return self.trainee.weights() if own else self.student.values()

    def hold(self, holds: Mapping[str, Hold], *, now: bool) -> None:
        """The graph is built anew only where something else is held, not where masks and ties change."""
        places = self.student.names
        forms = {places[name]: Held.form(one) for name, one in holds.items() if Held.form(one) != (False, 0)}
        if forms != {index: held.shape for index, held in self._held.items()}:
            self._held = {places[name]: Held(one) for name, one in holds.items() if places[name] in forms}
            self._function = None
        else:
            for name, one in holds.items():
                if places[name] in forms:
                    self._held[places[name]].assign(one)
        if now:
            for index, held in self._held.items():
                hold(self.engine.strategy, self.student.variables[index], held)

    def values(self) -> dict[str, np.ndarray]:
        return self.student.values()

    def optimizer(self) -> dict[str, np.ndarray]:
        return {name: np.array(variable.numpy()) for name, variable in self._state().items()}

    def restore(self, values: Mapping[str, np.ndarray], optimizer: Mapping[str, np.ndarray] | None = None) -> None:
        self.student.assign(values)
        for name, variable in self._state().items() if optimizer is not None else ():
            assert optimizer is not None
            variable.assign(optimizer[name])

    def deliver(self) -> None:
        if self.student.model is not self.trainee.keras_model:
            for mine, own in zip(self.student.variables, self.trainee.keras_model.weights, strict=True):
                own.assign(mine.numpy())

    def _state(self) -> dict[str, Any]:
        """Variables beside the student's that a training goes on with."""
        return {f"hint {i}": v for i, v in self.step.objective.projections.items()} | self.step.updates.state()
