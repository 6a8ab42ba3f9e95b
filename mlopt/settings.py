"""What `compress` may be told, written once: the command's options and the keywords of the call are made from it."""

import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

MODEL, TRAINING, RESULT = "Model and data", "Training", "Result"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one setting is told on the command line; its name there is the keyword's, unless it says another."""

    help: str
    panel: str
    default: object = None
    shown: str | bool = True        # the default in words, or whether it is shown at all
    metavar: str | None = None
    option: str = ""
    repeated: bool = False          # given once for each value; else values stand between commas
    path: bool = False              # of something that is written


class CompressSettings(TypedDict, total=False):
    """Keywords of `mlopt.compress`; each has a default."""

    weights: Annotated[str | Path | None, Setting(
        help="Weights of a model that a function builds: MODEL is package.module:function then.", panel=MODEL,
        shown=False,
    )]
    data: Annotated[str | Path | None, Setting(
        help="Samples to calibrate on: .npz, .parquet, image folder, TFRecord or module:function.", panel=MODEL,
        shown="none: inputs are synthesised from the model",
    )]
    test: Annotated[str | Path | None, Setting(
        help="Labelled samples to measure on, of the same kinds.", panel=MODEL, shown="a part of --data is held out",
    )]
    recipe: Annotated[str | Path | None, Setting(
        help="Train first: a recipe's name (`mlopt recipes list`) or a YAML file.", panel=TRAINING,
        metavar="NAME|FILE", shown="none: nothing is trained",
    )]
    train: Annotated[str | Path | None, Setting(
        help="Samples to train on, of the same kinds as --data. A tenth is kept to choose on.", panel=TRAINING,
        shown=False,
    )]
    strategy: Annotated[str, Setting(
        help="How training is spread over devices: auto, one, mirrored, multi-worker, parameter-server, tpu.",
        panel=TRAINING, default="auto",
    )]
    track: Annotated[str, Setting(
        help="Also log the training to mlflow:URI.", panel=TRAINING, default="", metavar="mlflow:URI",
        shown="TensorBoard files alone",
    )]
    normalise: Annotated[tuple[float, float] | None, Setting(
        help="What the pixel values 0..255 become, e.g. 0..1 or -1..1.", panel=MODEL, metavar="LOW..HIGH",
        shown="as they are stored",
    )]
    resize: Annotated[bool, Setting(help="Resize images to the model's input.", panel=MODEL, default=False)]
    slice_columns: Annotated[Sequence[str], Setting(
        help="Columns that split the test samples, e.g. device,region.", panel=MODEL, default=(), metavar="NAMES",
        shown="text columns with few values", option="slices",
    )]
    input_shapes: Annotated[Mapping[str, tuple[int, ...]], Setting(
        help="Fix an input's free dimensions: NAME=1,224,224,3.", panel=MODEL, default={}, metavar="NAME=SHAPE",
        shown=False, option="input-shape", repeated=True,
    )]
    trust_code: Annotated[bool, Setting(
        help="Run the code that the model file carries, e.g. Lambda layers.", panel=MODEL, default=False,
    )]
    custom_objects: Annotated[Sequence[str], Setting(
        help="A class or function that the model needs: module:NAME.", panel=MODEL, default=(), metavar="MODULE:NAME",
        shown=False, repeated=True,
    )]
    out: Annotated[str | Path | None, Setting(
        help="Folder of the result.", panel=RESULT, shown="NAME-mlopt beside the model", path=True,
    )]
    formats: Annotated[Sequence[str], Setting(
        help="Formats: tflite, onnx, coreml.", panel=RESULT, default=(), metavar="NAMES", shown="all", option="to",
    )]
    precisions: Annotated[Sequence[str], Setting(
        help="Precisions, e.g. int8,float16.", panel=RESULT, default=(), metavar="NAMES", option="precision",
        shown="all that a format has by default",
    )]
    max_drop: Annotated[float, Setting(
        help="Largest loss of the task's metric in a recommended file; 0.01 is one point. Without labels: 1 - "
             "agreement.", panel=RESULT, default=0.01,
    )]
    seed: Annotated[int | None, Setting(
        help="Seed of every random choice.", panel=RESULT, shown="the recipe's, or 0",
    )]


def kinds() -> dict[str, tuple[object, Setting]]:
    """The type and the description of each setting, by its name, in order."""
    hints = typing.get_type_hints(CompressSettings, include_extras=True)
    return {name: typing.get_args(hint) for name, hint in hints.items()}


def complete(given: CompressSettings) -> CompressSettings:
    """With the defaults where nothing was given. Raises `TypeError` for a name that is none of a setting."""
    known = kinds()
    for name in given:
        if name not in known:
            raise TypeError(f"compress() got an unexpected keyword argument {name!r}")
    defaults = {name: setting.default for name, (_, setting) in known.items()}
    return typing.cast("CompressSettings", defaults | dict(given))


def parameters() -> list[inspect.Parameter]:
    """The settings as keywords, for a signature that help and notebooks show."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=kind)
        for name, (kind, setting) in kinds().items()
    ]
