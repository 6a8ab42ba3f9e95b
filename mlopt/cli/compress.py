"""`mlopt compress`: options made from the settings of the call; parse, call the API, print."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli import settings
from mlopt.settings import RESULT, CompressSettings, Setting, kinds


def compress(model: Path, as_json: bool, **texts: object) -> None:
    """Compress MODEL to TFLite, ONNX and Core ML files, prove each in its own runtime, and recommend."""
    from mlopt import api
    from mlopt.cli import exit_codes
    from mlopt.cli.progress import Reporter

    asked = {name: _TOLD[kind][1](texts[name]) for name, (kind, _) in kinds().items()}
    with Reporter() as reporter:
        result = api.compress(model, on_progress=reporter.show, **typing.cast("CompressSettings", asked))
    if as_json:
        import json

        from mlopt.render.summary import summary

        typer.echo(json.dumps(summary(result.report), allow_nan=False))
    else:
        from rich.console import Console

        from mlopt.render import terminal

        terminal.show(result.report, Console(highlight=False), page=str(result.folder / "report.html"))
    raise typer.Exit(exit_codes.of_report(result.report))


def _interval(text: str | None) -> tuple[float, float] | None:
    return settings.interval(text)


def _names(given: str | list[str] | None) -> tuple[str, ...]:
    return settings.names(given) if isinstance(given, str) else tuple(given or ())


def _shapes(texts: list[str] | None) -> dict[str, tuple[int, ...]]:
    return settings.shapes(texts or [])


# How a setting of each type is told: as what, and what reads it.
_TOLD: Mapping[object, tuple[object, Callable[[typing.Any], object]]] = {
    str | Path | None: (str | None, lambda text: text),
    str: (str, lambda text: text),
    bool: (bool, lambda flag: flag),
    float: (float, lambda number: number),
    int | None: (int | None, lambda number: number),
    tuple[float, float] | None: (str | None, _interval),
    Sequence[str]: (str, _names),
    Mapping[str, tuple[int, ...]]: (str, _shapes),
}


def _option(name: str, kind: object, setting: Setting) -> inspect.Parameter:
    """The option of one setting."""
    told, default = _TOLD[kind][0], setting.default
    if setting.repeated:
        told, default = list[str] | None, None
    elif told is str and not isinstance(default, str):
        default = ""
    option = f"--{setting.option or name.replace('_', '-')}"
    described = typer.Option(
        option, help=setting.help, metavar=setting.metavar, rich_help_panel=setting.panel, show_default=setting.shown,
    )
    if setting.path:
        told = Path | None
        described.parser = settings.path_of(option)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[told, described]
    )


def _parameters() -> list[inspect.Parameter]:
    model = typer.Argument(
        help="Trained model: .h5, .keras, or a SavedModel folder.", show_default=False, parser=settings.path_of("MODEL")
    )
    as_json = typer.Option(
        "--json", help="Print one JSON object on standard output, and nothing else there.", rich_help_panel=RESULT
    )
    return [
        inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[Path, model]),
        *(_option(name, kind, setting) for name, (kind, setting) in kinds().items()),
        inspect.Parameter(
            "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, as_json]
        ),
    ]


compress.__signature__ = inspect.Signature(_parameters())       # type: ignore[attr-defined]  # typer reads it
compress.__annotations__ = {parameter.name: parameter.annotation for parameter in _parameters()}
