"""`mlopt profile`: measure files where they run, print, export."""

from pathlib import Path
from typing import Annotated

import typer

_CONDITIONS = "Conditions"
_OUTPUT = "Output"


def profile(
    files: Annotated[list[Path], typer.Argument(help="Exported .tflite or .onnx files.", show_default=False)],
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
    trace: Annotated[
        Path | None, typer.Option(help="Write a trace for Perfetto or Chrome there.", rich_help_panel=_OUTPUT,
                                  show_default=False)
    ] = None,
    model_explorer: Annotated[
        Path | None, typer.Option(help="Write node data of the first file for Model Explorer there.",
                                  rich_help_panel=_OUTPUT, show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with every raw time, and nothing else there.",
                           rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Measure latency, memory and operators of exported FILES on a target, each in fresh processes."""
    import json

    from rich.console import Console

    from mlopt.cli import settings as text
    from mlopt.files import write_atomically
    from mlopt.profile import exports, session
    from mlopt.render import profiles

    if compare and len(files) != 2:
        raise typer.BadParameter("it takes two files: before and after", param_hint="--compare")
    settings = session.Settings(
        threads=threads, cpus=text.numbers("--cpus", cpus), rate_hz=rate, runs=runs,
        instructions=text.names(instructions),
    )
    console = Console(stderr=True, highlight=False)
    with console.status("") as status:
        def step(doing: str) -> None:
            if console.is_terminal:
                status.update(doing)
            else:
                console.print(doing, markup=False)

        found = session.profile(files, on, settings, step)
    if trace is not None:
        write_atomically(trace, exports.chrome_trace(found.profiles).encode())
    if model_explorer is not None:
        write_atomically(model_explorer, exports.model_explorer(found.profiles[0]).encode())
    if as_json:
        typer.echo(json.dumps(session.to_plain(found), allow_nan=False))
        return
    shown = Console(highlight=False)
    for one in found.profiles:
        profiles.show(one, shown)
    if compare:
        profiles.show_changes(*found.profiles, console=shown)
