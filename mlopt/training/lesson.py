"""From a task to what a framework can begin with: samples and stored outputs opened, all of it found to fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mlopt.data.samples import Samples, file_name
from mlopt.errors import BadRequest, DataUnreadable
from mlopt.frameworks.fitting import FitTask, LabelLoss, TeacherLoss
from mlopt.frameworks.stepper import Figure, Lesson
from mlopt.model import Signature
from mlopt.training import checks


def prepared(signature: Signature, task: FitTask) -> Lesson:
    """Raises `BadRequest`, `DataMismatch` or `DataUnreadable` for what a model like this cannot be trained on."""
    checks.settings(task)
    train = Samples.open(task.samples)
    validation = None if task.validation is None else Samples.open(task.validation)
    checks.samples(signature, train, validation)
    checks.batch(task.batch, 1, train)
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
    stored: Mapping[str, np.ndarray] = {}
    if task.teachers is not None and task.teachers.outputs is not None:
        stored = _stored(task.teachers.outputs, signature, taught, train.count)
    return Lesson(task=task, train=train, validation=validation, mirrors=mirrors, stored=stored)


def reads_labels(lesson: Lesson) -> bool:
    """Whether a step needs the samples' labels."""
    return not lesson.mirrors and any(isinstance(loss, LabelLoss) for loss in lesson.task.losses)


def check_figure(task: FitTask, measures: Figure) -> None:
    """Raise `BadRequest` where early stopping has nothing to look at."""
    if task.early_stopping and measures is Figure.NOTHING:
        raise BadRequest(
            "early stopping needs a figure on the validation samples: labels of theirs, or a teacher that runs beside"
            " the student"
        )


def notes(lesson: Lesson, measures: Figure, left: int) -> list[str]:
    """For the report; `left` is how many samples of an epoch fill no batch."""
    found, task = [], lesson.task
    if lesson.mirrors:
        found.append(f"no label has the output's shape: it is held to the input {lesson.mirrors}")
    if lesson.stored and task.augment:
        found.append("the teacher's outputs were computed before, on samples that were not augmented")
    if left:
        found.append(f"{left} samples of each epoch, others each time, fill no batch and are left out")
    if task.validation is not None and measures is Figure.NOTHING:
        found.append("the validation samples have neither labels nor a teacher: there is no figure")
    elif measures is Figure.MINUS_DISTANCE:
        found.append("the validation figure is minus the distance to the teacher: there are no labels")
    return found


def _stored(folder: Path, signature: Signature, outputs: Sequence[str], count: int) -> dict[str, np.ndarray]:
    """Teachers' outputs computed before, mapped; raises where they are missing or do not fit model and samples."""
    found = {}
    for spec in signature.outputs:
        if spec.name not in outputs:
            continue
        file = folder / file_name(spec.name)
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as err:
            raise DataUnreadable(file, f"no outputs of a teacher: {err}", "Compute them again.") from err
        if array.dtype not in (np.float32, np.float16):
            raise DataUnreadable(file, f"a teacher's outputs as {array.dtype}, not float32 or float16")
        if len(array) != count:
            raise BadRequest(f"{file} holds a teacher's outputs for {len(array):,} samples; there are {count:,}")
        if array.shape[1:] != tuple(d or 1 for d in spec.shape[1:]):
            raise BadRequest(
                f"{file} holds outputs of the shape {list(array.shape[1:])} and the student gives {spec.describe()}:"
                " the teacher knows other classes. Give another teacher."
            )
        found[spec.name] = array
    return found
