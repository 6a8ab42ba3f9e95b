"""The command line: a thin coat over `mlopt.api`. Nothing heavy is imported until a command runs."""

import io
import signal
import sys
from typing import Annotated

import typer

from mlopt.cli import compress, doctor, gate, profile, recipes
from mlopt.cli.exit_codes import explained
from mlopt.exits import in_help

app = typer.Typer(
    name="mlopt",
    help="From a trained model to proven TFLite, ONNX and Core ML files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        import mlopt

        typer.echo(f"mlopt {mlopt.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """From a trained model to proven TFLite, ONNX and Core ML files."""


app.command(name="compress", epilog=in_help("compress"))(compress.compress)
app.command(name="profile", epilog=in_help("profile"))(profile.profile)
app.command(name="doctor", epilog=in_help("doctor"))(doctor.doctor)
app.add_typer(gate.app, name="gate")
app.add_typer(recipes.app, name="recipes")


def main() -> None:
    """The console script: run a command, and turn what it raises into one sentence and an exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)     # an orderly end, as after Ctrl-C: nothing is left
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")     # a terminal without × shows ?, and no command fails for it
    sys.exit(explained(app))
