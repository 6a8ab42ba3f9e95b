"""What a framework is asked when a network is to be trained: plain values and paths, the same for every framework."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlopt.location import ModelLocation
from mlopt.network import Weights
from mlopt.outputs import LabelKind

OnEvent = Callable[[dict[str, Any]], None]       # what a worker emits: plain values


@dataclass(frozen=True, kw_only=True)
class LabelLoss:
    """Mean over samples; the framework takes it before the final softmax or sigmoid, where it is stable."""

    output: str                         # of the signature
    kind: LabelKind
    weight: float = 1.0
    smoothing: float = 0.0              # label smoothing, 0 to below 1
    class_weights: tuple[float, ...] = ()        # one a class, mean 1 over the samples; empty: all 1


@dataclass(frozen=True, kw_only=True)
class TeacherLoss:
    """Hinton et al. 2015: T**2 * KL(softmax(teacher / T) || softmax(student / T)); squared error without classes."""

    output: str
    weight: float = 1.0
    temperature: float = 4.0


@dataclass(frozen=True, kw_only=True)
class HintLoss:
    """Romero et al. 2014: mean squared distance of two features, by a learned 1x1 projection of the student's."""

    student_node: str
    teacher_node: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class AttentionLoss:
    """Zagoruyko and Komodakis 2017: distance of normalised maps of squared activations, summed over channels."""

    student_node: str
    teacher_node: str
    weight: float = 1.0


Loss = LabelLoss | TeacherLoss | HintLoss | AttentionLoss


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Who is listened to: models of the same framework that run beside the student, or outputs computed before.

    `live` sees each augmented batch as the student does. `outputs` is a folder with NAME.npy [N, ...] by output name,
    one row a training sample, float32 or float16; several teachers are averaged there already. One of the two is given.
    """

    live: tuple[ModelLocation, ...] = ()
    outputs: Path | None = None


class Schedule(StrEnum):
    COSINE = "cosine"                   # from the learning rate to a hundredth of it
    CONSTANT = "constant"
    LINEAR = "linear"                   # to a hundredth


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    name: str = "adam"                  # "adam" or "sgd" (Nesterov momentum 0.9)
    learning_rate: float = 1e-3
    schedule: Schedule = Schedule.COSINE
    warmup: float = 0.05                # share of all steps with a rising rate
    weight_decay: float = 0.0           # decoupled, kernels alone
    clip_norm: float = 0.0              # of the whole gradient; 0: none


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What stays true of one weight after every step."""

    mask: np.ndarray | None = None      # bool, the weight's shape: False stays 0
    ties: np.ndarray | None = None      # int32, the weight's shape: equal numbers share one value (their mean)


class Holder(Protocol):
    """Who decides what is held; asked before the first step and then every `every` steps."""

    @property
    def every(self) -> int: ...

    def holds(self, step: int, steps: int, weights: Weights) -> Mapping[str, Hold] | None:
        """Holds by weight name from here on; None leaves them as they are. The same arguments give the same answer."""
        ...


class Strategy(StrEnum):
    AUTO = "auto"                       # mirrored where there are several GPUs, else one
    ONE = "one"
    MIRRORED = "mirrored"
    MULTI_WORKER = "multi-worker"
    PARAMETER_SERVER = "parameter-server"
    TPU = "tpu"


@dataclass(frozen=True, kw_only=True)
class FitTask:
    """One training. Everything that decides its result stands here; `checkpoints` makes it resumable."""

    samples: Path                       # folder of `Samples`
    validation: Path | None             # another; no sample of it is trained on
    losses: tuple[Loss, ...]
    epochs: int
    batch: int = 128                    # of one replica
    echo: int = 1                       # steps in a row on each batch (Choi et al. 2019)
    optimizer: Optimizer = Optimizer()
    teachers: Teachers | None = None
    augment: tuple[str, ...] = ()       # "flip", "shift", "noise", "mixup", "time-shift", "time-mask", "frequency-mask"
    early_stopping: int = 0             # epochs without a better validation figure, then the best weights; 0: never
    freeze: tuple[str, ...] = ()        # names of weights that stay as they are
    holder: Holder | None = field(default=None, compare=False)
    seed: int = 0
    strategy: Strategy = Strategy.AUTO
    checkpoints: Path                   # folder; what is in it of the same task is continued
    checkpoint_every_s: float = 60.0
    logs: Path | None = None            # TensorBoard event files
    track: str = ""                     # "mlflow:URI"


@dataclass(frozen=True, kw_only=True)
class EpochFacts:
    epoch: int                          # from 1
    losses: Mapping[str, float]         # by part, mean over the epoch: "labels", "teacher", "hints", ..., "total"
    validation: float                   # accuracy, or minus the loss where there are no classes; nan without samples
    learning_rate: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class InputFacts:
    """Whether the training waited for data or for arithmetic."""

    waiting: float                      # share of wall time in which a step waited for its batch, 0..1
    samples_per_second: float
    applied: tuple[str, ...]            # remedies in use: "cached in memory", "prefetch", "parallel decoding", ...
    advice: tuple[str, ...]             # known remedies that would apply and need the user


@dataclass(frozen=True, kw_only=True)
class FitResult:
    epochs: tuple[EpochFacts, ...]
    best_epoch: int                     # whose weights came back
    validation: float
    steps: int
    replicas: int
    resumed_at_step: int                # 0: from the start
    input: InputFacts
    notes: tuple[str, ...] = ()
