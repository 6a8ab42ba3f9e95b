"""From a task to something that runs: everything is opened and checked here, before the first step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.data.samples import Samples
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import FitTask, HintLoss, LabelLoss, TeacherLoss
from mlopt.frameworks.keras.fitting import checks, teachers
from mlopt.frameworks.keras.fitting.arithmetic import Arithmetic, chosen
from mlopt.frameworks.keras.fitting.augment import Augment
from mlopt.frameworks.keras.fitting.determinism import Chance
from mlopt.frameworks.keras.fitting.objective import Objective, kinds_of, projection, student_nodes, teacher_nodes
from mlopt.frameworks.keras.fitting.pipeline import Feed, Rows
from mlopt.frameworks.keras.fitting.scoring import Validation
from mlopt.frameworks.keras.fitting.steps import Step
from mlopt.frameworks.keras.fitting.strategies import Engine
from mlopt.frameworks.keras.fitting.student import Student, Trainee, heads, student
from mlopt.frameworks.keras.fitting.updates import Updates
from mlopt.frameworks.keras.quiet import tf
from mlopt.outputs import PROBED


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A training that can begin."""

    task: FitTask
    engine: Engine
    arithmetic: Arithmetic
    student: Student
    step: Step
    feed: Feed
    validation: Validation
    notes: tuple[str, ...]

    @property
    def steps_per_epoch(self) -> int:
        return self.feed.steps_per_epoch

    @property
    def steps(self) -> int:
        return self.task.epochs * self.steps_per_epoch

    @property
    def optimizer_state(self) -> list[Any]:
        """Variables beside the student's that a training goes on with."""
        return [*self.step.objective.projections.values(), *self.step.updates.state()]


def prepare(trainee: Trainee, task: FitTask, engine: Engine) -> Prepared:
    """Raises `BadRequest` or `DataMismatch` for what cannot be trained."""
    checks.settings(task)
    train = Samples.open(task.samples)
    validation = None if task.validation is None else Samples.open(task.validation)
    checks.samples(trainee.signature, train, validation)
    checks.batch(task.batch, engine.replicas, train)
    augment = Augment(task.augment, trainee.signature, seed=task.seed, batch=task.batch)
    with engine.strategy.scope():
        model, tensors = engine.live(trainee)
        one = student(trainee, model, tensors, freeze=task.freeze, nodes=student_nodes(task.losses))
        stored, objective = _objective(trainee, one, task, train, validation)
        places = _places(trainee, task, train, augment, objective)
        arithmetic = chosen(trainee, task, objective.kinds)
        feed = Feed(
            rows=Rows.of(train, stored, with_labels=_needs_labels(objective)), batch=task.batch * engine.replicas,
            places=engine.places(task.batch), seed=task.seed, echo=task.echo,
        )
        learned = (*(one.variables[i] for i in one.trained), *objective.projections.values())
        decay = task.optimizer.weight_decay > 0
        decayed = [decay and i in one.decayed for i in one.trained] + [decay] * len(objective.projections)
        step = Step(
            student=one, objective=objective, augment=augment, chance=Chance(task.seed), samples=train,
            updates=Updates(task.optimizer, learned, decayed, engine.strategy, scaled=arithmetic is Arithmetic.FLOAT16),
            strategy=engine.strategy, batch=task.batch, first=engine.first, here=engine.here,
            learned=learned, places=places,
        )
        scored = Validation(one, objective, validation)
    if task.early_stopping and scored.measures == "nothing":
        raise BadRequest(
            "early stopping needs a figure on the validation samples: labels of theirs, or a teacher that runs beside"
            " the student"
        )
    return Prepared(
        task=task, engine=engine, arithmetic=arithmetic, student=one, step=step, feed=feed, validation=scored,
        notes=(*engine.notes, *filter(None, [arithmetic.note]), *_notes(model, task, objective, scored, feed)),
    )


def _objective(
    trainee: Trainee, one: Student, task: FitTask, train: Samples, validation: Samples | None
) -> tuple[Mapping[str, np.ndarray], Objective]:
    signature = trainee.signature
    labelled = [loss for loss in task.losses if isinstance(loss, LabelLoss)]
    taught = tuple(dict.fromkeys(loss.output for loss in task.losses if isinstance(loss, TeacherLoss)))
    for name in (*taught, *(loss.output for loss in labelled)):
        checks.output(signature, name)
    mirrors = checks.mirrored_input(signature, labelled, train.labels)
    if not mirrors:
        for loss in labelled:
            checks.labels(loss, signature, train)
            if validation is not None and validation.labels is not None:
                checks.labels(loss, signature, validation)
    sample = train.rows(0, min(PROBED, train.count))
    own = heads(one, sample, trainee.output_activations)
    stored: Mapping[str, np.ndarray] = {}
    live: tuple[teachers.Teacher, ...] = ()
    if task.teachers is not None:
        nodes = teacher_nodes(task.losses)
        live = tuple(
            teachers.opened(location, signature, taught, nodes, sample) for location in task.teachers.live
        )
        if task.teachers.outputs is not None:
            stored = teachers.cached(task.teachers.outputs, signature, taught, train.count)
    return stored, Objective(
        losses=task.losses, heads=own, kinds=kinds_of(task.losses, own), teachers=live,
        stored=teachers.stored_heads(stored), projections=_projections(one, live, task, sample), mirrors=mirrors,
    )


def _projections(
    one: Student, live: tuple[teachers.Teacher, ...], task: FitTask, sample: Mapping[str, np.ndarray]
) -> dict[int, Any]:
    """A variable for each hint, of the features' channels."""
    if not one.nodes:
        return {}
    first = {name: tf.constant(array[:1]) for name, array in sample.items()}
    mine = one.call(first, training=False)[1]
    its = live[0].run(first)[1]
    found = {}
    for i, loss in enumerate(task.losses):
        if not isinstance(loss, HintLoss):
            continue
        a, b = mine[loss.student_node].shape, its[loss.teacher_node].shape
        if a.rank != b.rank or a.rank < 2:
            raise BadRequest(
                f"a hint compares {loss.student_node} {a[1:]} with the teacher's {loss.teacher_node} {b[1:]}: they must"
                " have the same number of axes"
            )
        found[i] = tf.Variable(projection(a[-1], b[-1], task.seed + i), name=f"hint_{i}")
    return found


def _needs_labels(objective: Objective) -> bool:
    return not objective.mirrors and any(isinstance(loss, LabelLoss) for loss in objective.losses)


def _places(trainee: Trainee, task: FitTask, train: Samples, augment: Augment, objective: Objective) -> bool:
    """Whether labels move with their picture; raises where something that should move cannot."""
    if not augment.moves or not any(name in task.augment for name in ("flip", "shift", "time-shift")):
        return False
    named = ", ".join(name for name in task.augment if name in ("flip", "shift", "time-shift"))
    if objective.stored and any(len(checks.output(trainee.signature, name).shape) > 2 for name in objective.stored):
        raise BadRequest(
            f"{named} moves samples, and the stored outputs of the teacher belong to places of them: let the teacher"
            " run beside the student, or leave the augmentation out"
        )
    if not _needs_labels(objective):
        return False
    if checks.over_places(trainee.signature, train.labels):
        return True
    labelled = [checks.output(trainee.signature, loss.output) for loss in task.losses if isinstance(loss, LabelLoss)]
    in_places = any(len(spec.shape) > 2 for spec in labelled)               # an answer for each frame, or each pixel
    if train.labels is not None and train.labels.ndim > (1 if in_places else 2):
        raise BadRequest(
            f"{named} moves samples, and their labels {list(train.labels.shape)} do not lie over the input's rows and"
            " columns, so that they cannot be moved with it: leave the augmentation out"
        )
    return False


def _notes(model: Any, task: FitTask, objective: Objective, scored: Validation, feed: Feed) -> list[str]:
    notes = []
    if objective.mirrors:
        notes.append(f"no label has the output's shape: it is held to the input {objective.mirrors}")
    if objective.stored and task.augment:
        notes.append("the teacher's outputs were computed before, on samples that were not augmented")
    if model.losses:
        notes.append(f"{len(model.losses)} regularizers of the model's own stay out: the task has weight_decay")
    left = feed.rows.samples.count - feed.batches_per_epoch * feed.batch
    if left:
        notes.append(f"{left} samples of each epoch, others each time, fill no batch and are left out")
    if task.validation is not None and scored.measures == "nothing":
        notes.append("the validation samples have neither labels nor a teacher: there is no figure")
    elif scored.measures == "minus the distance to the teacher":
        notes.append("the validation figure is minus the distance to the teacher: there are no labels")
    return notes
