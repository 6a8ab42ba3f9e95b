"""The steps of a recipe as data: a step's class is its schema, its fields the keys, its docstring the explanation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every step that trains can say; the defaults suit the retraining of a small network."""

    epochs: int = 0                         # over the training samples; 0: this step does not train
    batch: int = 128                        # samples a step and replica
    learning_rate: float = 1e-3
    schedule: str = "cosine"                # cosine, linear, constant
    optimizer: str = "adam"                 # adam, sgd
    weight_decay: float = 0.0
    augment: tuple[str, ...] = ()           # flip, shift, noise, mixup; time-shift, time-mask, frequency-mask for audio
    early_stopping: int = 0                 # epochs without improvement on the validation split; 0: never
    class_weights: str = "none"             # none, balanced
    label_smoothing: float = 0.0
    teacher: str = "source"                 # source: the model given; none; or a model file, or several with commas
    temperature: float = 4.0                # of the teacher's and the student's softmax
    labels: float = 0.3                     # weight of the labels beside the teacher, 0 to 1; 0 needs no labels


@dataclass(frozen=True, kw_only=True)
class Student:
    """What learns: exactly one of file, width and depth; none of them: the network as it stands."""

    file: str = ""
    width: float = 0.0                      # share of channels that stay, the largest by norm, above 0 to 1
    depth: float = 0.0                      # share of repeated blocks that stay, above 0 to 1


@dataclass(frozen=True, kw_only=True)
class Distill(Training):
    """Train a student towards a teacher's outputs, and features where asked."""

    name: ClassVar[str] = "distill"
    student: Student = Student()
    hints: float = 0.0                      # weight of feature hints at the ends of the stages
    attention: float = 0.0                  # weight of attention transfer at the same places


@dataclass(frozen=True, kw_only=True)
class Slim(Training):
    """Cut whole channels until a target is met, with training in between."""

    name: ClassVar[str] = "slim"
    macs: float = 0.0                       # share of multiply-accumulates to keep; exactly one of the four targets
    parameters: float = 0.0                 # share of parameters to keep
    bytes: int = 0                          # of weights at 8 bits
    latency: float = 0.0                    # share of the measured int8 latency on this machine to keep
    criterion: str = "taylor"               # taylor, magnitude, scale (of batch norm), random
    rounds: int = 1                         # cuts, with epochs / rounds of training after each
    multiple: int = 0                       # widths are rounded to it; 0: 8 for groups of 32 channels or more, else 4
    least: float = 0.25                     # share of each group's channels that stays at least


@dataclass(frozen=True, kw_only=True)
class Prune(Training):
    """Set single weights to zero on a schedule. Files get smaller when compressed; speed needs sparse kernels."""

    name: ClassVar[str] = "prune"
    sparsity: float = 0.5                   # share of zeros at the end, above 0 and below 1
    pattern: str = "unstructured"           # unstructured, 2:4, block-1x4
    begin: float = 0.0                      # the schedule's start and end, as shares of the training
    end: float = 0.75


@dataclass(frozen=True, kw_only=True)
class Cluster(Training):
    """Let weights share few values: smaller when compressed, and palettes for Core ML."""

    name: ClassVar[str] = "cluster"
    values: int = 16                        # different numbers in each group, 2 to 256
    channels: int = 0                       # output channels in a group; 0: the whole tensor


@dataclass(frozen=True, kw_only=True)
class Quantize(Training):
    """Round weights and activations in training as the exported file will."""

    name: ClassVar[str] = "quantize"
    scheme: str = "int8"                    # int8; mixed-4-8: 4 bits where they hurt least
    bytes: int = 0                          # mixed-4-8: all kernels and biases together take at most so many


@dataclass(frozen=True, kw_only=True)
class Finetune(Training):
    """Train the network as it stands; what earlier steps made sparse or shared stays so."""

    name: ClassVar[str] = "finetune"


Step = Distill | Slim | Prune | Cluster | Quantize | Finetune
STEPS: Mapping[str, type[Step]] = {kind.name: kind for kind in (Distill, Slim, Prune, Cluster, Quantize, Finetune)}


@dataclass(frozen=True, kw_only=True)
class Export:
    """One file that the run writes."""

    to: str                                 # a format: tflite, onnx, coreml
    precision: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to do, in order, and which files to write."""

    schema: int
    about: str
    steps: tuple[Step, ...]
    export: tuple[Export, ...]              # empty: what `mlopt compress` writes by default
    seed: int = 0
