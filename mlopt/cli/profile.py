"""`mlopt profile`: measure files where they run, print, export."""

from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli import settings

_CONDITIONS = "Conditions"
_OUTPUT = "Output"


def profile(
    files: Annotated[
        list[Path], typer.Argument(help="Exported .tflite or .onnx files.", show_default=False,
                                   parser=settings.path_of("FILES"))
    ],
    on: Annotated[
        str, typer.Option(help="host, ssh:HOST, adb:SERIAL, emulated:cortex-a72 or emulated:cortex-a76.",
                          rich_help_panel=_CONDITIONS)
    ] = "host",
    threads: Annotated[int, typer.Option(help="Threads of the runtime.", min=1, rich_help_panel=_CONDITIONS)] = 1,
    cpus: Annotated[
        str, typer.Option(help="Pin to these processors, e.g. 4,5.", rich_help_panel=_CONDITIONS,
                          show_default="not pinned")
    ] = "",
    rate: Annotated[
        float, typer.Option(help="Inferences a second, as a camera asks for them; 0: back to back.", min=0.0,
                            rich_help_panel=_CONDITIONS)
    ] = 0.0,
    runs: Annotated[
        int, typer.Option(help="Timed runs; p99 needs 662.", min=1, rich_help_panel=_CONDITIONS)
    ] = 700,
    instructions: Annotated[
        str, typer.Option(help="Count instructions on these: x86-64, cortex-a72, cortex-a76.", metavar="NAMES",
                          rich_help_panel=_CONDITIONS, show_default="none")
    ] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="Show what changed from the first file to the second, operation by "
                                             "operation.", rich_help_panel=_OUTPUT)
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one self-contained page with every figure there.",
                                  parser=settings.path_of("--html"), rich_help_panel=_OUTPUT, show_default=False)
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write a trace for Perfetto or Chrome there.", rich_help_panel=_OUTPUT,
                                  parser=settings.path_of("--trace"), show_default=False)
    ] = None,
    model_explorer: Annotated[
        Path | None, typer.Option(help="Write node data of the first file for Model Explorer there.",
                                  parser=settings.path_of("--model-explorer"),
                                  rich_help_panel=_OUTPUT, show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with every raw time, and nothing else there.",
                           rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Measure latency, memory and operators of exported FILES on a target, each in fresh processes."""
    from mlopt import api
    from mlopt.cli import settings
    from mlopt.cli.progress import Steps
    from mlopt.files import write_atomically

    if compare and len(files) != 2:
        raise typer.BadParameter("it takes two files: before and after", param_hint="--compare")
    for option, dest in (("--html", html), ("--trace", trace), ("--model-explorer", model_explorer)):
        if dest is not None and (dest.is_dir() or not dest.parent.is_dir()):
            raise settings.BadSetting(option, str(dest), "a file in a folder that is there")
    try:
        with Steps() as steps:
            result = api.profile(
                files, on=on, threads=threads, cpus=settings.numbers("--cpus", cpus), rate_hz=rate, runs=runs,
                instructions=settings.names(instructions), compare=compare, on_step=steps.show,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped. Nothing was written: a measurement is whole or none.") from None
    for dest, made in ((html, result.page), (trace, result.trace), (model_explorer, result.model_explorer)):
        if dest is not None:
            write_atomically(dest, made().encode())
    if as_json:
        import json

        typer.echo(json.dumps(result.plain(), allow_nan=False))
    else:
        from rich.console import Console

        result.show(Console(highlight=False))
        if html is not None:
            typer.echo(f"Page  {html}")
