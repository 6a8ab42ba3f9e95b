"""`mlopt gate`: parse, call the gate, print. `check` is the command when none is named."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mlopt.cli import settings
from mlopt.exits import Exit, in_help

if TYPE_CHECKING:
    from mlopt.gate.verdict import Verdict

_OUTPUT = "Output"


class _CheckUnlessNamed(TyperGroup):
    """`mlopt gate model.tflite` is `mlopt gate check model.tflite`: a file is no command."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h")):
            args = ["check", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_CheckUnlessNamed, no_args_is_help=False, pretty_exceptions_enable=False,
    help="Hold model files to a budget: `mlopt gate FILES` checks, the other commands prepare it.",
)

Budget = Annotated[Path, typer.Option("--budget", help="Budget file.", show_default="mlopt-budget.toml",
                                      parser=settings.path_of("--budget"))]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="report.json of `mlopt compress`: accuracy, agreement, MACs.",
                              parser=settings.path_of("--report"), show_default=False)
]
On = Annotated[
    list[str] | None,
    typer.Option("--on", help="Measure on this target alone; may be given again.", metavar="TARGET",
                 show_default="all that the budget names"),
]
Seed = Annotated[int, typer.Option(help="Seed of the order inside pairs.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.",
                       rich_help_panel=_OUTPUT)
]
Files = Annotated[
    list[Path] | None,
    typer.Argument(help="Model files.", show_default="all that the budget's globs find below its folder",
                   parser=settings.path_of("FILES")),
]
_DEFAULT = Path("mlopt-budget.toml")


@app.command(epilog=in_help("gate check"))
def check(
    files: Files = None,
    budget: Budget = _DEFAULT,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Accepted model file, or a folder of files with the same names: measured again, in turns.",
                     parser=settings.path_of("--baseline"),
                     show_default="mlopt-baseline.json beside the budget, for exact figures alone"),
    ] = None,
    report: ReportOption = None,
    on: On = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a comment for a pull request there.", rich_help_panel=_OUTPUT,
                                  parser=settings.path_of("--markdown"), show_default=False)] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML there.", rich_help_panel=_OUTPUT,
                                  parser=settings.path_of("--junit"), show_default=False)] = None,
    sarif: Annotated[
        Path | None, typer.Option(help="Write SARIF 2.1.0 there.", rich_help_panel=_OUTPUT,
                                  parser=settings.path_of("--sarif"), show_default=False)] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", help="Write the JSON there as well.", rich_help_panel=_OUTPUT,
                                  parser=settings.path_of("--json-file"), show_default=False)] = None,
) -> None:
    """Check files against their budgets.

    On GitHub it also annotates the budget's lines and writes the step's summary.
    """
    from mlopt import gate
    from mlopt.gate.budget import BudgetError

    try:
        with _progress() as on_step:
            verdict = gate.check(files=tuple(files or ()), budget=budget, baseline=baseline, report=report,
                                  only=tuple(on or ()), seed=seed, on_step=on_step)
    except BudgetError as err:
        if _on_github():
            from mlopt.gate.outputs import github

            typer.echo(github.refusal(err), err=True)
        raise
    _write(verdict, {"markdown": markdown, "junit": junit, "sarif": sarif, "json": json_file})
    try:
        _print(verdict, as_json)
    except (BrokenPipeError, SystemExit):      # the reader left (rich makes an exit of it): the verdict stands
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(int(verdict.exit))


@app.command(epilog=in_help("gate calibrate"))
def calibrate(
    files: Files = None,
    budget: Budget = _DEFAULT,
    on: On = None,
    pairs: Annotated[int, typer.Option(min=6, help="Pairs of fresh processes of the same file.")] = 24,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Time each file against itself, and keep what this machine cannot tell from no change.

    Afterwards a check refuses a latency tolerance below 1.5 times that.
    """
    import json

    from mlopt import gate, plain
    from mlopt.gate.judge import UNMEASURED

    try:
        with _progress() as on_step:
            done = gate.calibrate(files=tuple(files or ()), budget=budget, only=tuple(on or ()), pairs=pairs,
                                   seed=seed, on_step=on_step)
    except UNMEASURED as err:
        typer.echo(f"mlopt: {err}", err=True)
        raise typer.Exit(int(Exit.INCOMPLETE)) from err
    if as_json:
        found = {"schema": 1, "floors": done.floors, "too_small": done.too_small}
        typer.echo(json.dumps(plain.to_plain(found), indent=1))
    else:
        for line in done.sentences:
            typer.echo(line)
    raise typer.Exit(int(Exit.LIMIT_BROKEN if done.too_small else Exit.DONE))


@app.command(epilog=in_help("gate update"))
def update(
    files: Files = None,
    budget: Budget = _DEFAULT,
    report: ReportOption = None,
    on: On = None,
    out: Annotated[
        Path | None, typer.Option(help="The baseline file.", parser=settings.path_of("--out"),
                                  show_default="mlopt-baseline.json beside the budget")
    ] = None,
) -> None:
    """Write the exact figures of accepted files to mlopt-baseline.json, for growth limits and ratchets. Commit it."""
    from mlopt import gate

    with _progress() as on_step:
        done = gate.update(files=tuple(files or ()), budget=budget, report=report, only=tuple(on or ()), out=out,
                               on_step=on_step)
    for line in done.sentences:
        typer.echo(line)
    raise typer.Exit(int(Exit.INCOMPLETE if done.failures else Exit.DONE))


def _write(verdict: "Verdict", wanted: dict[str, Path | None]) -> None:
    from mlopt.gate.job import write_output

    for kind, path in wanted.items():
        if path is not None:
            write_output(verdict, kind, path)


def _print(verdict: "Verdict", as_json: bool) -> None:
    """The verdict on standard output; GitHub's annotations on standard error, where its runner reads them as well."""
    if as_json:
        from mlopt.gate.outputs.json import to_json

        typer.echo(to_json(verdict).decode(), nl=False)
    else:
        from rich.console import Console

        from mlopt.gate.outputs.terminal import show_verdict

        show_verdict(verdict, Console(highlight=False))
    if _on_github():
        from mlopt.gate.outputs import github

        for line in github.annotations(verdict):
            typer.echo(line, err=True)
        github.add_summary(verdict)


def _on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


class _progress:
    """One line on standard error that says what is being measured; plain lines where that is no terminal."""

    def __enter__(self) -> Any:
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        self._status = console.status("") if console.is_terminal else None
        said: set[str] = set()

        def step(doing: str, done: int, total: int) -> None:
            if self._status is not None:
                self._status.update(f"{doing}{f', pair {done} of at most {total}' if total else ''}")
            elif doing not in said:
                said.add(doing)
                console.print(doing, markup=False)

        if self._status is not None:
            self._status.start()
        return step

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
