"""From a lesson to something that runs: everything of Keras is opened here, before the first step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import FitTask, HintLoss, LabelLoss, TeacherLoss
from mlopt.frameworks.keras.fitting import teachers
from mlopt.frameworks.keras.fitting.arithmetic import Arithmetic, chosen
from mlopt.frameworks.keras.fitting.augment import Augment
from mlopt.frameworks.keras.fitting.determinism import Chance
from mlopt.frameworks.keras.fitting.objective import Objective, kinds_of, projection, student_nodes, teacher_nodes
from mlopt.frameworks.keras.fitting.scoring import Validation
from mlopt.frameworks.keras.fitting.steps import Step
from mlopt.frameworks.keras.fitting.strategies import Engine
from mlopt.frameworks.keras.fitting.student import Student, Trainee, heads, student
from mlopt.frameworks.keras.fitting.updates import Updates
from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.stepper import Lesson
from mlopt.model import Signature
from mlopt.outputs import PROBED


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A training that can begin."""

    engine: Engine
    arithmetic: Arithmetic
    student: Student
    step: Step
    validation: Validation
    notes: tuple[str, ...]


def prepare(trainee: Trainee, lesson: Lesson, engine: Engine) -> Prepared:
    """Raises `BadRequest` for what Keras cannot train."""
    task = lesson.task
    augment = Augment(task.augment, trainee.signature, seed=task.seed, batch=task.batch)
    with engine.strategy.scope():
        model, tensors = engine.live(trainee)
        one = student(trainee, model, tensors, freeze=task.freeze, nodes=student_nodes(task.losses))
        objective = _objective(trainee, one, lesson)
        places = _places(one, lesson, augment, objective)
        arithmetic = chosen(trainee, task, objective.kinds)
        learned = (*(one.variables[i] for i in one.trained), *objective.projections.values())
        decay = task.optimizer.weight_decay > 0
        decayed = [decay and i in one.decayed for i in one.trained] + [decay] * len(objective.projections)
        step = Step(
            student=one, objective=objective, augment=augment, chance=Chance(task.seed), samples=lesson.train,
            updates=Updates(task.optimizer, learned, decayed, engine.strategy, scaled=arithmetic is Arithmetic.FLOAT16),
            strategy=engine.strategy, batch=task.batch, first=engine.first, here=engine.here,
            learned=learned, places=places,
        )
        scored = Validation(one, objective, lesson.validation)
    notes = [*engine.notes, *filter(None, [arithmetic.note])]
    if model.losses:
        notes.append(f"{len(model.losses)} regularizers of the model's own stay out: the task has weight_decay")
    return Prepared(
        engine=engine, arithmetic=arithmetic, student=one, step=step, validation=scored, notes=tuple(notes)
    )


def _objective(trainee: Trainee, one: Student, lesson: Lesson) -> Objective:
    task = lesson.task
    sample = lesson.train.rows(0, min(PROBED, lesson.train.count))
    own = heads(one, sample, trainee.output_activations)
    live: tuple[teachers.Teacher, ...] = ()
    if task.teachers is not None:
        taught = tuple(dict.fromkeys(loss.output for loss in task.losses if isinstance(loss, TeacherLoss)))
        nodes = teacher_nodes(task.losses)
        live = tuple(
            teachers.opened(location, one.signature, taught, nodes, sample) for location in task.teachers.live
        )
    return Objective(
        losses=task.losses, heads=own, kinds=kinds_of(task.losses, own), teachers=live,
        stored=teachers.stored_heads(lesson.stored), projections=_projections(one, live, task, sample),
        mirrors=lesson.mirrors,
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


def _places(one: Student, lesson: Lesson, augment: Augment, objective: Objective) -> bool:
    """Whether labels move with their picture; raises where something that should move cannot."""
    task, labels = lesson.task, lesson.train.labels
    moving = [name for name in task.augment if name in ("flip", "shift", "time-shift")]
    if not augment.moves or not moving:
        return False
    named, shapes = ", ".join(moving), {spec.name: spec.shape for spec in one.signature.outputs}
    if any(len(shapes[name]) > 2 for name in objective.stored):
        raise BadRequest(
            f"{named} moves samples, and the stored outputs of the teacher belong to places of them: let the teacher"
            " run beside the student, or leave the augmentation out"
        )
    labelled = [loss.output for loss in task.losses if isinstance(loss, LabelLoss)]
    if lesson.mirrors or not labelled:
        return False
    if labels is not None and labels.ndim > 2 and _over_an_input(one.signature, labels.shape[1:3]):
        return True
    in_places = any(len(shapes[name]) > 2 for name in labelled)             # an answer for each frame, or each pixel
    if labels is not None and labels.ndim > (1 if in_places else 2):
        raise BadRequest(
            f"{named} moves samples, and their labels {list(labels.shape)} do not lie over the input's rows and"
            " columns, so that they cannot be moved with it: leave the augmentation out"
        )
    return False


def _over_an_input(signature: Signature, size: Sequence[int]) -> bool:
    """Whether an input has these rows and columns: what moves it must move its labels."""
    return any(len(spec.shape) == 4 and tuple(spec.shape[1:3]) == tuple(size) for spec in signature.inputs)
