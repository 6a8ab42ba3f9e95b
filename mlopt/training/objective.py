"""From a step's settings to one training task: what is minimised, who teaches, where it is kept and resumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mlopt import cache, code, frameworks, outputs
from mlopt.data.fingerprint import digest
from mlopt.data.samples import Samples
from mlopt.errors import BadRequest, DataMismatch
from mlopt.frameworks.fitting import (
    AttentionLoss,
    FitResult,
    FitTask,
    HintLoss,
    Hold,
    Holder,
    LabelLoss,
    Loss,
    OnEvent,
    Optimizer,
    Schedule,
    Strategy,
    TeacherLoss,
    Teachers,
)
from mlopt.frameworks.protocol import TrainableModel
from mlopt.location import ModelLocation
from mlopt.outputs import LabelKind
from mlopt.recipe.steps import NO_TEACHER, THE_SOURCE, Step, Training
from mlopt.training.holding import Keeping
from mlopt.training.loop import fit
from mlopt.training.teachers import TeacherTask, ask, ask_teachers, check_fits, open_teacher


class Surroundings(Protocol):
    """What a training needs to know beside its settings: of a step's context, everything but the step's own."""

    @property
    def source(self) -> ModelLocation: ...
    @property
    def train(self) -> Path: ...
    @property
    def validation(self) -> Path: ...
    @property
    def work(self) -> Path: ...
    @property
    def logs(self) -> Path | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def holds(self) -> Mapping[str, Hold]: ...
    @property
    def strategy(self) -> Strategy: ...
    @property
    def track(self) -> str: ...
    @property
    def on_event(self) -> OnEvent: ...
    @property
    def model(self) -> TrainableModel: ...


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is minimised."""

    losses: tuple[Loss, ...]
    teachers: tuple[ModelLocation, ...] = ()         # asked only where a loss listens to them
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Trains models in place as one step's settings say; called with a model, epochs and a name within the step."""

    settings: Training
    around: Surroundings

    def __call__(
        self, model: TrainableModel, epochs: int, name: str, *, holder: Holder | None = None,
        losses: Sequence[Loss] = (), freeze: Sequence[str] = (), holds: Mapping[str, Hold] | None = None,
    ) -> FitResult:
        """`holder` and `losses` come on top of what the settings ask for, and of the holds of earlier steps.

        `holds` stand in place of those, for a step that has rewritten the weights that they speak of.
        """
        task = self.task(model, epochs, name, holder=holder, losses=losses, freeze=freeze, holds=holds)
        return fit(model, task, self.around.on_event)

    def objective(self, model: TrainableModel) -> Objective:
        """The losses for this model, checked against its outputs, the samples' labels and the teacher's files."""
        return objective(self.settings, self.around, model)

    def task(
        self, model: TrainableModel, epochs: int, name: str, *, holder: Holder | None = None,
        losses: Sequence[Loss] = (), freeze: Sequence[str] = (), holds: Mapping[str, Hold] | None = None,
    ) -> FitTask:
        if epochs < 1:
            raise BadRequest(f"{name} is a training of {epochs} epochs: it needs at least one")
        settings, around = self.settings, self.around
        found = self.objective(model)
        earlier = around.holds if holds is None else holds
        _check_holds(earlier, model)
        features = any(isinstance(loss, HintLoss | AttentionLoss) for loss in losses)
        judges = settings.early_stopping > 0 and not any(isinstance(loss, LabelLoss) for loss in found.losses)
        paths = teacher_files(settings, around) if features else found.teachers
        return FitTask(
            samples=around.train, validation=around.validation, losses=(*found.losses, *losses), epochs=epochs,
            batch=settings.batch, echo=settings.echo, optimizer=_optimizer(settings), augment=settings.augment,
            teachers=self._teachers(model, paths, live=bool(settings.augment) or features or judges),
            early_stopping=settings.early_stopping, freeze=tuple(freeze),
            holder=Keeping(earlier=earlier, schedule=holder) if earlier else holder,
            seed=around.seed, strategy=around.strategy, track=around.track,
            checkpoints=around.work / name / "checkpoints",
            logs=around.logs / name if around.logs is not None else None,
        )

    def _teachers(self, model: TrainableModel, teachers: Sequence[ModelLocation], *, live: bool) -> Teachers | None:
        """Beside the student where it must see what the student sees, features, varied samples, or validation samples
        that nothing else judges; else asked once.
        """
        if not teachers:
            return None
        if live and all(_runs_beside(teacher, model) for teacher in teachers):
            return Teachers(live=tuple(teachers))
        return Teachers(outputs=self._outputs(model, teachers))

    def _outputs(self, model: TrainableModel, teachers: Sequence[ModelLocation]) -> Path:
        """The folder of the teachers' answers; kept beside this step's folder for every other step that asks them."""
        activations, samples = model.output_activations, Samples.open(self.around.train)
        doors = [frameworks.of(teacher) for teacher in teachers]
        opening = [function for door in doors for function in (door.open, door.open_trainable) if function]
        packages = [each.installed_as for door in doors for each in door.packages]
        entry = cache.entry_in(
            self.around.work.parent, "teacher", code=code.digest([ask_teachers, *opening], packages),
            teachers=[teacher.identity for teacher in teachers],
            samples=digest(samples),
            seen_as=[samples.scale, samples.offset, sorted(samples.unscaled), dict(samples.dtypes)],
            outputs=[spec.describe() for spec in model.signature.outputs], activations=activations,
        )
        if not entry.exists():
            task = TeacherTask(
                teachers=tuple(teachers), samples=self.around.train, student=model.signature, activations=activations,
                dest=entry,
            )
            ask(task, model.framework)
        return entry


def trainer(settings: Step, around: Surroundings) -> Trainer:
    """What a step trains with. Raises `BadRequest` or `DataMismatch` now, where the training could not begin."""
    made = Trainer(settings=settings, around=around)
    if settings.needs_objective:
        found = made.objective(around.model)
        for teacher in found.teachers:
            own = frameworks.of(teacher).name == around.model.framework        # another one looks when it is asked
            if own and teacher != around.source:
                check_fits(f"the teacher {teacher.path}", open_teacher(teacher).signature, around.model.signature)
    return made


def objective(settings: Training, around: Surroundings, model: TrainableModel) -> Objective:
    """Labels weigh `labels`, the teacher the rest; without a teacher they are all there is."""
    paths = teacher_files(settings, around)
    weight = settings.labels if paths else 1.0
    losses: list[Loss] = []
    notes: tuple[str, ...] = ()
    if weight > 0:
        labels, notes = _label_loss(settings, Samples.open(around.train), model, weight, has_teacher=bool(paths))
        losses += labels
        weight = weight if labels else 0.0
    share = (1 - weight) / len(model.signature.outputs)
    if paths and share > 0:
        losses += [
            TeacherLoss(output=spec.name, weight=share, temperature=settings.temperature)
            for spec in model.signature.outputs
        ]
    listened = any(isinstance(loss, TeacherLoss) for loss in losses)
    others = [teacher for teacher in paths if listened and frameworks.of(teacher).name != model.framework]
    notes = (*notes, *(
        f"the teacher {teacher.path} is a {frameworks.of(teacher).name} model, which cannot run beside the student: its"
        " answers were computed before" for teacher in others
    ))
    held = {loss.output for loss in losses if isinstance(loss, LabelLoss | TeacherLoss)}
    free = [spec.name for spec in model.signature.outputs if spec.name not in held]
    if free:
        notes = (*notes, f"no label and no teacher holds {', '.join(free)}: training changes what it gives")
    return Objective(losses=tuple(losses), teachers=paths if listened else (), notes=notes)


def teacher_files(settings: Training, around: Surroundings) -> tuple[ModelLocation, ...]:
    """The models that the settings name, whether a loss listens to them or not."""
    if settings.teacher == NO_TEACHER:
        return ()
    named = [part.strip() for part in settings.teacher.split(",")]
    source = around.source
    teachers = tuple(source if name == THE_SOURCE else source.beside(Path(name)) for name in named)
    for teacher in teachers:
        if not teacher.path.exists():
            raise BadRequest(f"there is no teacher {teacher.path}: name a model file, `source` or `none`")
    return teachers


def _label_loss(
    settings: Training, samples: Samples, model: TrainableModel, weight: float, *, has_teacher: bool
) -> tuple[list[LabelLoss], tuple[str, ...]]:
    """The loss on labels; none where labels mark anomalies and a teacher can be followed alone."""
    if samples.labels is None:
        alone = "say `labels: 0` to learn from the teacher alone"
        remedy = alone if has_teacher else "and `teacher: none` leaves nothing to learn from"
        raise BadRequest(f"the training samples have no labels, and `labels` has weight {weight:g}: {remedy}")
    output, kind = _kind_of_labels(samples, model)
    if kind is LabelKind.ANOMALIES:
        if not has_teacher:
            raise BadRequest(f"the labels mark normal and anomalous samples, which {output} cannot be trained on: "
                             "say `teacher: source`")
        return [], ("the labels mark normal and anomalous samples: training follows the teacher alone",)
    if kind is LabelKind.VALUES and settings.label_smoothing:
        raise BadRequest(f"`label_smoothing` spreads labels over classes, and those of {output} are numbers")
    shape = next(spec.shape for spec in model.signature.outputs if spec.name == output)
    classes = shape[-1] if kind is LabelKind.CATEGORIES else 2
    assert classes is not None
    weights = _class_weights(samples, output, kind, classes) if settings.class_weights == "balanced" else ()
    loss = LabelLoss(
        output=output, kind=kind, weight=weight, smoothing=settings.label_smoothing, class_weights=weights
    )
    return [loss], ()


def _kind_of_labels(samples: Samples, model: TrainableModel) -> tuple[str, LabelKind]:
    """The output that the labels belong to, and what they say of it."""
    assert samples.labels is not None
    probed = samples.spread(outputs.PROBED)
    assert probed.labels is not None
    reference = model.predict(probed.rows(0, probed.count))
    found = outputs.decide(model.signature, model.output_activations, reference, np.asarray(probed.labels))
    assert found.labels is not None
    shape = reference[found.main.name].shape[1:]
    classes, low, high = shape[-1] if shape else 1, samples.labels.min(), samples.labels.max()
    one_hot = samples.labels.shape[1:] == shape
    if found.labels is LabelKind.CATEGORIES and not one_hot and not (low >= 0 and high < classes):
        raise DataMismatch(
            samples.folder, f"labels from 0 to {classes - 1} for {found.main.name}", f"labels from {low} to {high}",
            "Fix the labels, or train without them: `labels: 0`.",
        )
    return found.main.name, found.labels


def _class_weights(samples: Samples, output: str, kind: LabelKind, classes: int) -> tuple[float, ...]:
    labels = np.asarray(samples.labels)
    if kind is LabelKind.CATEGORIES and labels.ndim > 1 and labels.shape[-1] == classes:
        labels = labels.argmax(axis=-1)
    if kind is LabelKind.VALUES or labels.size != samples.count:
        raise BadRequest(f"`class_weights: balanced` needs one class a sample; the labels of {output} are "
                         f"{labels.dtype} {list(labels.shape)}")
    return balanced(labels.ravel().astype(np.int64), classes)


def balanced(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Weights n / (k * count) by class, for n labels [n] of k classes that occur: their mean over the samples is 1.

    A class that does not occur has 1, which no sample meets.

    >>> balanced(np.array([0, 0, 0, 2]), 3)
    (0.6666666666666666, 1.0, 2.0)
    """
    counts = np.bincount(labels, minlength=classes)
    present = int((counts > 0).sum())
    return tuple(len(labels) / (present * int(count)) if count else 1.0 for count in counts)


def _optimizer(settings: Training) -> Optimizer:
    return Optimizer(
        name=settings.optimizer, learning_rate=settings.learning_rate, schedule=Schedule(settings.schedule),
        weight_decay=settings.weight_decay,
    )




def _runs_beside(teacher: ModelLocation, model: TrainableModel) -> bool:
    door = frameworks.of(teacher)
    return door.name == model.framework and not door.answers_only(teacher)


def _check_holds(holds: Mapping[str, Hold], model: TrainableModel) -> None:
    shapes = {name: weight.shape for name, weight in model.network.weights().items()}
    for name, hold in holds.items():
        arrays = [array for array in (hold.mask, hold.ties) if array is not None]
        if name not in shapes or any(array.shape != tuple(shapes[name]) for array in arrays):
            found = f"has {list(shapes[name])}" if name in shapes else "has none of that name"
            raise BadRequest(f"an earlier step holds {name} {[list(a.shape) for a in arrays]}, and the network {found}")
