"""The steps of a recipe as data: a step's class is its schema, its fields the keys, its docstring the explanation.

What stands in `Meta` beside a field is its range and its sentence: the reader, `mlopt recipes explain`, the JSON Schema
and the messages of a bad recipe all have it from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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

    @property
    def timed_in(self) -> str | None:
        """The format that it times narrower networks in, "" for the default; None where it times nothing."""
        return None

    def timing(self, format: str) -> Self:
        """The same step, its format named."""
        return self


@dataclass(frozen=True, kw_only=True)
class Student:
    """What learns: exactly one of file, width and depth; none of them: the network as it stands."""

    file: Annotated[
        str, Meta(description="A model file with the same inputs and outputs. A relative path starts at the recipe's "
                              "folder.")
    ] = ""
    width: Annotated[
        float, Meta(ge=0, le=1, description="Share of channels that stay, the largest by norm; 0: not asked for.")
    ] = 0.0
    depth: Annotated[
        float, Meta(ge=0, le=1, description="Share of repeated blocks that stay; 0: not asked for.")
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class Distill(Training):
    """Train a student towards a teacher's outputs, and features where asked."""

    name: ClassVar[str] = "distill"
    student: Annotated[Student, Meta(description="What learns; left out: the network as it stands.")] = Student()
    hints: Annotated[
        float, Meta(ge=0, description="Weight of feature hints at the ends of the stages (Romero et al. 2014).")
    ] = 0.0
    attention: Annotated[
        float, Meta(ge=0, description="Weight of attention transfer at the same places (Zagoruyko 2017).")
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class Slim(Training):
    """Cut whole channels until a target is met, with training in between."""

    name: ClassVar[str] = "slim"
    macs: Annotated[
        float, Meta(ge=0, lt=1, description="Share of multiply-accumulates to keep; exactly one of the four targets.")
    ] = 0.0
    parameters: Annotated[float, Meta(ge=0, lt=1, description="Share of parameters to keep.")] = 0.0
    bytes: Annotated[int, Meta(ge=0, description="Most bytes of the weights at 8 bits.")] = 0
    latency: Annotated[
        float, Meta(ge=0, lt=1, description="Share of the measured int8 latency on this machine to keep.")
    ] = 0.0
    format: Annotated[
        str, Meta(description="With latency: the format whose int8 files are timed; left out: the first installed "
                              "format that this machine can time and that drafts such files.")
    ] = ""
    criterion: Annotated[
        Literal["taylor", "magnitude", "scale", "random"],
        Meta(description="Which channels matter: by first-order Taylor terms, by weights, by the scale of batch "
                         "normalization; random is a control."),
    ] = "taylor"
    rounds: Annotated[int, Meta(ge=1, le=100, description="Cuts, with epochs / rounds of training after each.")] = 1
    multiple: Annotated[
        int, Meta(ge=0, description="Widths are rounded to it; 0: 8 for groups of 32 channels or more, else 4.")
    ] = 0
    least: Annotated[
        float, Meta(ge=0, le=1, description="Share of each group's channels that stays at least.")
    ] = 0.25

    @property
    def timed_in(self) -> str | None:
        return self.format if self.latency else None

    def timing(self, format: str) -> Self:
        return replace(self, format=format)


@dataclass(frozen=True, kw_only=True)
class Prune(Training):
    """Set single weights to zero on a schedule. Files get smaller when compressed; speed needs sparse kernels."""

    name: ClassVar[str] = "prune"
    sparsity: Annotated[float, Meta(gt=0, lt=1, description="Share of zeros at the end.")] = 0.5
    pattern: Annotated[
        Literal["unstructured", "2:4", "block-1x4"],
        Meta(description="Anywhere; two of every four along the input channels; or four output channels at once."),
    ] = "unstructured"
    scope: Annotated[
        Literal["layer", "global"],
        Meta(description="The same share of every kernel, or the smallest of all kernels (Lee et al. 2021)."),
    ] = "layer"
    begin: Annotated[float, Meta(ge=0, lt=1, description="The schedule's start, as a share of the training.")] = 0.0
    end: Annotated[float, Meta(gt=0, le=1, description="The schedule's end, as a share of the training.")] = 0.75


@dataclass(frozen=True, kw_only=True)
class Cluster(Training):
    """Let weights share few values: smaller when compressed, and palettes for Core ML."""

    name: ClassVar[str] = "cluster"
    values: Annotated[int, Meta(ge=2, le=256, description="Different numbers in each group.")] = 16
    channels: Annotated[int, Meta(ge=0, description="Output channels in a group; 0: the whole tensor.")] = 0


@dataclass(frozen=True, kw_only=True)
class Quantize(Training):
    """Round weights and activations in training as the exported file will."""

    name: ClassVar[str] = "quantize"
    scheme: Annotated[
        Literal["int8", "mixed-4-8"], Meta(description="mixed-4-8: kernels at 4 bits where it hurts least.")
    ] = "int8"
    bytes: Annotated[
        int, Meta(ge=0, description="mixed-4-8: all kernels and biases together take at most so many.")
    ] = 0
    share: Annotated[
        float, Meta(ge=0, lt=1, description="mixed-4-8: the same, as a share of what they take at 8 bits.")
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class Finetune(Training):
    """Train the network as it stands; what earlier steps made sparse or shared stays so."""

    name: ClassVar[str] = "finetune"


Step = Distill | Slim | Prune | Cluster | Quantize | Finetune
STEPS: Mapping[str, type[Step]] = {kind.name: kind for kind in (Distill, Slim, Prune, Cluster, Quantize, Finetune)}


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
