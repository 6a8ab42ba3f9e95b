"""`mlopt compress`: parse, call the API, print."""

from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli import settings

_MODEL = "Model and data"
_TRAINING = "Training"
_RESULT = "Result"


def compress(
    model: Annotated[
        Path, typer.Argument(help="Trained model: .h5, .keras, or a SavedModel folder.", show_default=False,
                             parser=settings.path_of("MODEL"))
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Samples to calibrate on: .npz, .parquet, image folder, TFRecord or module:function.",
                     rich_help_panel=_MODEL, show_default="none: inputs are synthesised from the model"),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="Labelled samples to measure on, of the same kinds.", rich_help_panel=_MODEL,
                     show_default="a part of --data is held out"),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Train first: a recipe's name (`mlopt recipes list`) or a YAML file.", metavar="NAME|FILE",
                     rich_help_panel=_TRAINING, show_default="none: nothing is trained")
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(help="Samples to train on, of the same kinds as --data. A tenth is kept to choose on.",
                     rich_help_panel=_TRAINING, show_default=False)
    ] = None,
    strategy: Annotated[
        str, typer.Option(help="How training is spread over devices: auto, one, mirrored, multi-worker, "
                               "parameter-server, tpu.", rich_help_panel=_TRAINING)
    ] = "auto",
    track: Annotated[
        str, typer.Option(help="Also log the training to mlflow:URI.", metavar="mlflow:URI",
                          rich_help_panel=_TRAINING, show_default="TensorBoard files alone")
    ] = "",
    normalise: Annotated[
        str | None,
        typer.Option(help="What the pixel values 0..255 become, e.g. 0..1 or -1..1.", metavar="LOW..HIGH",
                     rich_help_panel=_MODEL, show_default="as they are stored"),
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Resize images to the model's input.", rich_help_panel=_MODEL)
    ] = False,
    slices: Annotated[
        str, typer.Option(help="Columns that split the test samples, e.g. device,region.", metavar="NAMES",
                          rich_help_panel=_MODEL, show_default="text columns with few values")
    ] = "",
    input_shape: Annotated[
        list[str] | None,
        typer.Option(help="Fix an input's free dimensions: NAME=1,224,224,3.", metavar="NAME=SHAPE",
                     rich_help_panel=_MODEL, show_default=False),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run the code that the model file carries, e.g. Lambda layers.",
                           rich_help_panel=_MODEL)
    ] = False,
    custom_objects: Annotated[
        list[str] | None,
        typer.Option(help="A class or function that the model needs: module:NAME.", metavar="MODULE:NAME",
                     rich_help_panel=_MODEL, show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result.", rich_help_panel=_RESULT,
                                  parser=settings.path_of("--out"), show_default="NAME-mlopt beside the model")
    ] = None,
    to: Annotated[
        str, typer.Option(help="Formats: tflite, onnx, coreml.", metavar="NAMES", rich_help_panel=_RESULT,
                          show_default="all")
    ] = "",
    precision: Annotated[
        str, typer.Option(help="Precisions, e.g. int8,float16.", metavar="NAMES", rich_help_panel=_RESULT,
                          show_default="all that a format has by default")
    ] = "",
    max_drop: Annotated[
        float, typer.Option(help="Largest loss of the task's metric in a recommended file; 0.01 is one point. "
                                 "Without labels: 1 - agreement.", rich_help_panel=_RESULT)
    ] = 0.01,
    seed: Annotated[
        int | None, typer.Option(help="Seed of every random choice.", rich_help_panel=_RESULT,
                                 show_default="the recipe's, or 0")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.",
                           rich_help_panel=_RESULT)
    ] = False,
) -> None:
    """Compress MODEL to TFLite, ONNX and Core ML files, prove each in its own runtime, and recommend.

    Exit codes: 0 each format has a recommended file; 1 one has none within --max-drop; 2 bad input or a full
    disk, no result was written; 3 a file could not be made or proven, the others were; 75 a process was killed, or ran
    out of memory or time: the same command goes on.
    """
    from mlopt import api
    from mlopt.cli import exit_codes
    from mlopt.cli.progress import Reporter
    from mlopt.data.preparation import Preparation
    from mlopt.location import ModelLocation
    from mlopt.pipeline.request import CompressRequest

    location = ModelLocation(
        model, trust_code=trust_code, custom_objects=tuple(custom_objects or ()),
        input_shapes=settings.shapes(input_shape or []),
    )
    request = CompressRequest(
        model=location, out=out or api.default_folder(model), data=data, test=test, formats=settings.names(to),
        precisions=settings.names(precision), max_drop=max_drop, asked_seed=seed, recipe=recipe, train=train,
        strategy=strategy, track=track,
        preparation=Preparation(
            normalise=settings.interval(normalise), resize=resize, slice_columns=settings.names(slices)
        ),
    )
    with Reporter() as reporter:
        result = api.run(request, reporter.show)
    if as_json:
        import json

        from mlopt.render.summary import summary

        typer.echo(json.dumps(summary(result.report), allow_nan=False))
    else:
        from rich.console import Console

        from mlopt.render import terminal

        terminal.show(result.report, Console(highlight=False), page=str(result.folder / "report.html"))
    raise typer.Exit(exit_codes.of_report(result.report))
