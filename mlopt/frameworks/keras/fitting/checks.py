"""What cannot be trained is refused before the first step, in a sentence."""

import math
from collections.abc import Sequence

import numpy as np

from mlopt.data.samples import Samples
from mlopt.errors import BadRequest, DataMismatch
from mlopt.frameworks.fitting import AttentionLoss, FitTask, HintLoss, LabelLoss, TeacherLoss
from mlopt.model import Signature, TensorSpec
from mlopt.outputs import LabelKind


def settings(task: FitTask) -> None:
    """Numbers and names that make no sense by themselves."""
    o = task.optimizer
    wrong = [
        (task.epochs < 1, f"epochs is {task.epochs}: a training takes at least one"),
        (task.batch < 1, f"batch is {task.batch}: a step takes at least one sample"),
        (not task.losses, "no loss is given: there is nothing to make small"),
        (o.name not in ("adam", "sgd"), f"there is no optimizer {o.name}; there are adam and sgd"),
        (not (math.isfinite(o.learning_rate) and o.learning_rate > 0),
         f"the learning rate is {o.learning_rate}: it must be above 0"),
        (not 0 <= o.warmup < 1, f"warm-up is the share of steps with a rising rate, 0 to below 1; got {o.warmup}"),
        (not o.weight_decay >= 0, f"weight decay is {o.weight_decay}: it cannot be negative"),
        (not o.clip_norm >= 0, f"the norm to clip at is {o.clip_norm}: it cannot be negative"),
        (task.early_stopping < 0, f"early stopping is {task.early_stopping} epochs: it cannot be negative"),
        (task.early_stopping > 0 and task.validation is None,
         "early stopping looks at validation samples, and there are none"),
        (bool(task.track) and not task.track.startswith("mlflow:"),
         f"a training is tracked at mlflow:URI; got {task.track}"),
        (task.holder is not None and task.holder.every < 1, "what is held is asked for every 1 step or more"),
    ]
    for loss in task.losses:
        wrong.append((not (math.isfinite(loss.weight) and loss.weight > 0),
                      f"the weight of a loss is {loss.weight}: it must be above 0; leave the loss out instead"))
        if isinstance(loss, TeacherLoss):
            wrong.append((not loss.temperature > 0, f"the temperature is {loss.temperature}: it must be above 0"))
        if isinstance(loss, LabelLoss):
            wrong.append((not 0 <= loss.smoothing < 1, f"label smoothing is 0 to below 1; got {loss.smoothing}"))
    for is_wrong, why in wrong:
        if is_wrong:
            raise BadRequest(why)
    _teachers(task)


def _teachers(task: FitTask) -> None:
    features = [loss for loss in task.losses if isinstance(loss, HintLoss | AttentionLoss)]
    taught = [loss for loss in task.losses if isinstance(loss, TeacherLoss)]
    teachers = task.teachers
    if (features or taught) and teachers is None:
        raise BadRequest("a loss asks for a teacher, and none is given")
    if teachers is None:
        return
    if bool(teachers.live) == (teachers.outputs is not None):
        raise BadRequest("give either teachers that run beside the student or their stored outputs, one of the two")
    if features and not teachers.live:
        raise BadRequest("hints and attention need a teacher that runs beside the student, not its stored outputs")
    if features and len(teachers.live) > 1:
        raise BadRequest("hints and attention follow the features of one teacher; several are given")


def samples(signature: Signature, train: Samples, validation: Samples | None) -> None:
    """Inputs that are missing or of another shape, and too few of them."""
    for one in (train, validation):
        if one is None:
            continue
        for spec in signature.inputs:
            array = one.inputs.get(spec.name)
            fits = array is not None and array.ndim == len(spec.shape) and all(
                d is None or d == size for d, size in zip(spec.shape[1:], array.shape[1:], strict=True)
            )
            if not fits:
                have = ", ".join(f"{name} {list(a.shape)}" for name, a in one.inputs.items()) or "no inputs"
                raise DataMismatch(one.folder, spec.describe(), have, "Prepare the samples for this model.")
    if validation is not None and validation.count == 0:
        raise BadRequest(f"{validation.folder} has no samples to validate on")


def batch(size: int, replicas: int, train: Samples) -> None:
    if size * replicas > train.count:
        whole = f"{size} samples on each of {replicas} replicas" if replicas > 1 else f"{size} samples"
        raise BadRequest(f"a batch of {whole} is larger than the data, {train.count:,} samples; make it smaller")


def output(signature: Signature, name: str) -> TensorSpec:
    for spec in signature.outputs:
        if spec.name == name:
            return spec
    have = ", ".join(spec.name for spec in signature.outputs)
    raise BadRequest(f"a loss names the output {name}; the model has {have}")


def mirrored_input(signature: Signature, losses: Sequence[LabelLoss], labels: np.ndarray | None) -> str:
    """The input that an autoencoder's output is held to: one of the same shape, where no label has it. "" otherwise."""
    if len(losses) != 1 or losses[0].kind is not LabelKind.VALUES:
        return ""
    spec = output(signature, losses[0].output)
    if labels is not None and tuple(labels.shape[1:]) == tuple(spec.shape[1:]):
        return ""
    same = [one.name for one in signature.inputs if one.shape[1:] == spec.shape[1:] and one.dtype.startswith("float")]
    return same[0] if len(same) == 1 and len(spec.shape) > 1 and math.prod(d or 1 for d in spec.shape[1:]) > 1 else ""


def labels(loss: LabelLoss, signature: Signature, given: Samples) -> None:
    """Labels that are missing, of another shape, or classes that the output does not have."""
    spec = output(signature, loss.output)
    array = given.labels
    if array is None:
        raise BadRequest(f"{given.folder} has no labels, and the loss on {loss.output} needs them")
    if loss.kind is LabelKind.CATEGORIES:
        _categories(loss, spec, array)
        return
    if math.prod(array.shape[1:]) != math.prod(d or 1 for d in spec.shape[1:]):
        raise BadRequest(f"labels {list(array.shape)} do not fit the output {spec.describe()}")
    if loss.kind is LabelKind.BINARY:
        if loss.class_weights and len(loss.class_weights) != 2:
            raise BadRequest(f"{len(loss.class_weights)} class weights for the two answers of {loss.output}")
        if array.min() < 0 or array.max() > 1:
            raise BadRequest(f"labels go from {array.min()} to {array.max()}; those of {loss.output} are 0 or 1")
    elif loss.class_weights:
        raise BadRequest(f"the output {loss.output} has no classes that could have weights")


def _categories(loss: LabelLoss, spec: TensorSpec, array: np.ndarray) -> None:
    """Class numbers at each position of the output, or a share for each class."""
    sizes, shape = tuple(d or 1 for d in spec.shape[1:]), tuple(array.shape[1:])
    classes = sizes[-1] if sizes else 1
    if classes < 2:
        raise BadRequest(f"the output {spec.describe()} gives one number and no classes: its labels are 0 or 1")
    if loss.class_weights and len(loss.class_weights) != classes:
        raise BadRequest(f"{len(loss.class_weights)} class weights for {classes} classes of {loss.output}")
    if shape == sizes and (array.dtype.kind == "f" or len(sizes) == 1):
        return
    if math.prod(shape) != math.prod(sizes[:-1]):
        raise BadRequest(f"labels {list(array.shape)} do not fit the output {spec.describe()}")
    if array.dtype.kind not in "iub":
        raise BadRequest(f"labels of {loss.output} are {array.dtype}; classes are counted in whole numbers")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= classes:
        raise BadRequest(
            f"labels go from {low} to {high}, and the output {loss.output} has the classes 0 to {classes - 1}"
        )


def over_places(signature: Signature, given: np.ndarray | None) -> bool:
    """Whether labels lie over the rows and columns of an input: what moves the input must move them."""
    if given is None or given.ndim < 3:
        return False
    return any(len(spec.shape) == 4 and spec.shape[1:3] == given.shape[1:3] for spec in signature.inputs)
