"""A recipe as data. A step's class is its schema, its fields the keys, its docstring the explanation.

What stands in `Meta` beside a field is its range and its sentence: the reader, `mlopt recipes explain`, the JSON Schema
and the messages of a bad recipe all have it from here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from msgspec import Meta

Augmentation = Literal["flip", "shift", "noise", "mixup", "time-shift", "time-mask", "frequency-mask"]

NO_TEACHER = "none"
THE_SOURCE = "source"


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every step that trains can say; the defaults suit the retraining of a small network."""

    epochs: Annotated[int, Meta(ge=0, description="Over the training samples; 0: this step does not train.")] = 0
    batch: Annotated[int, Meta(ge=1, description="Samples a step and replica.")] = 128
    learning_rate: Annotated[float, Meta(gt=0, le=10, description="At its peak, after the warm-up.")] = 1e-3
    schedule: Annotated[
        Literal["cosine", "linear", "constant"],
        Meta(description="How the learning rate falls: to a hundredth of it, or not at all."),
    ] = "cosine"
    optimizer: Annotated[
        Literal["adam", "sgd"], Meta(description="Adam, or gradient descent with Nesterov momentum 0.9.")
    ] = "adam"
    weight_decay: Annotated[float, Meta(ge=0, lt=1, description="Decoupled, of kernels alone.")] = 0.0
    echo: Annotated[
        int, Meta(ge=1, le=64, description="Times that each batch is trained on once it was read, varied anew: for "
                                           "storage slower than arithmetic, with fewer epochs (Choi et al. 2019).")
    ] = 1
    augment: Annotated[
        tuple[Augmentation, ...],
        Meta(description="What varies the samples: flip, shift, noise and mixup for pictures, the rest for audio."),
    ] = ()
    early_stopping: Annotated[
        int, Meta(ge=0, description="Epochs without improvement on the validation split, then the best weights; "
                                    "0: never.")
    ] = 0
    class_weights: Annotated[
        Literal["none", "balanced"], Meta(description="Balanced: a rare class weighs as much as a frequent one.")
    ] = "none"
    label_smoothing: Annotated[float, Meta(ge=0, lt=1, description="Share of a label spread over all classes.")] = 0.0
    teacher: Annotated[
        str, Meta(min_length=1, description="source: the model given; none; or a model file, or several with commas, "
                                            "averaged. A relative path starts at the recipe's folder.")
    ] = THE_SOURCE
    temperature: Annotated[
        float, Meta(gt=0, le=100, description="Of the teacher's and the student's softmax.")
    ] = 4.0
    labels: Annotated[
        float, Meta(ge=0, le=1, description="Weight of the labels beside the teacher, which has the rest; "
                                            "0 needs no labels.")
    ] = 0.3


Found = Iterator[tuple[str, str]]        # a key of the step, or "" for the step itself; what is wrong with it


@dataclass(frozen=True, kw_only=True)
class Step(Training):
    """The door of one step: its settings, and what others have to know of it before it does anything.

    A package registers its subclass under the entry point `mlopt.steps`, with `name` as the entry's name. The module
    that holds it imports nothing heavy: the work stands behind it, named by text. The subclass's docstring is what
    `mlopt recipes explain` prints.
    """

    name: ClassVar[str]
    apply: ClassVar[str]                 # "module:function", a `mlopt.steps.protocol.Apply`
    check: ClassVar[str] = ""            # "module:function", a `mlopt.steps.protocol.Check`; "": nothing to refuse
    leaves_grid: ClassVar[bool] = False  # weights and activations stand on a grid, which a later step would leave
    after_grid: ClassVar[str] = ""       # what to say where this step follows such a one
    shares_values: ClassVar[bool] = False        # weights share values from here on

    @property
    def resizes(self) -> bool:
        """Whether the network has other shapes afterwards."""
        return False

    @property
    def holds_pattern(self) -> str:
        """The pattern of zeros that a cut through channels would break; "" where there is none."""
        return ""

    @property
    def trainings(self) -> int:
        """How many trainings share the epochs."""
        return 1

    @property
    def needs_objective(self) -> bool:
        """Whether it asks what training would minimise."""
        return self.epochs > 0

    @property
    def checks_narrowest(self) -> bool:
        """Whether what `check` refuses on the narrowest network is out of reach for every network: a budget in bytes.

        Such a step is checked before earlier ones have cut channels, too.
        """
        return False

    @property
    def timed_in(self) -> str | None:
        """The format that it times narrower networks in, "" for the default; None where it times nothing."""
        return None

    def timing(self, format: str) -> Self:
        """The same step, its format named."""
        return self

    def model_files(self) -> tuple[str, ...]:
        """The model files that the settings name: its worker may read no others, and they decide its result."""
        teachers = (part.strip() for part in self.teacher.split(","))
        return tuple(path for path in teachers if path not in ("", THE_SOURCE, NO_TEACHER))

    def problems(self) -> Found:
        """What is wrong with its settings. Ranges, and what is about training, are checked for every step."""
        yield from ()

    def misplaced(self, before: Sequence["Step"], after: Sequence["Step"]) -> Found:
        """What is wrong with its place in the recipe."""
        yield from ()


@dataclass(frozen=True, kw_only=True)
class Export:
    """One file that the run writes."""

    to: Annotated[str, Meta(min_length=1, description="A format: tflite, onnx, coreml.")]
    precision: Annotated[str, Meta(min_length=1, description="One of the format's precisions.")]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to do, in order, and which files to write."""

    schema: Annotated[int, Meta(ge=1, le=1, description="Of the recipe file: 1.")]
    about: Annotated[str, Meta(min_length=1, description="What it gives, and when to choose it.")]
    steps: tuple[Step, ...]
    export: Annotated[
        tuple[Export, ...], Meta(description="Files to write; left out: what `mlopt compress` writes by default.")
    ] = ()
    seed: Annotated[int, Meta(
        ge=0, lt=2**31, description="Of everything that is drawn, the samples' roles included; --seed stands in its "
                                    "place."
    )] = 0
