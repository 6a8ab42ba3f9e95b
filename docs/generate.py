"""Rewrite what is generated and committed: schemas, help, exit codes, precisions, the notebook.

    python docs/generate.py [DEST]

`DEST` is another docs folder, for the test that compares.
"""

import os
import subprocess
import sys
from pathlib import Path

import jupytext

from mlopt import plugins
from mlopt.exits import MEANINGS
from mlopt.recipe.schema import write_schema
from mlopt.render.schema import write_schemas

DOCS = Path(__file__).parent
COMMANDS = (
    (), ("compress",), ("profile",), ("gate",), ("gate", "check"), ("gate", "calibrate"), ("gate", "update"),
    ("recipes",), ("recipes", "list"), ("recipes", "show"), ("recipes", "explain"), ("doctor",),
)


def command_line() -> str:
    """`--help` of every command, as a terminal of 100 columns shows it."""
    environment = os.environ | {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    program = Path(sys.executable).with_name("mlopt")
    pages = ["# Command line\n"]
    for command in COMMANDS:
        words = [program, *command, "--help"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        text = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
        pages.append(f"## mlopt {' '.join(command)}".rstrip() + f"\n\n```text\n{text}\n```\n")
    return "\n".join(pages)


def exit_codes() -> str:
    """A table for each command."""
    lines = ["# Exit codes", "", "What a command ends with, for scripts and CI.", ""]
    for command, meanings in MEANINGS.items():
        lines += [f"## mlopt {command}", "", "| code | meaning |", "| ---: | --- |"]
        lines += [f"| {code.value} | {meaning} |" for code, meaning in sorted(meanings.items())]
        lines.append("")
    return "\n".join(lines)


def precisions() -> str:
    """Each converter's own words on when to choose a precision."""
    lines = ["# Precisions", ""]
    lines += ["Each is a choice with a reason; `mlopt compress --precision NAMES` makes some of them.", ""]
    for name in plugins.converter_names():
        door = plugins.load_converter(name)
        lines += [f"## {name}", "", f"Proven in {door.runtime}.", ""]
        lines += ["| precision | calibrated | when |", "| --- | --- | --- |"]
        for precision in door.precisions:
            calibrated = "on samples" if precision.needs_samples else "no"
            asked = "" if precision.by_default else " Made when asked for."
            lines.append(f"| `{precision.name}` | {calibrated} | {precision.about}{asked} |")
        lines.append("")
    return "\n".join(lines)


def notebook(script: Path) -> str:
    made = jupytext.read(script)
    made.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    return jupytext.writes(made, fmt="ipynb") + "\n"


def main(dest: Path = DOCS) -> None:
    for folder in ("reference", "tutorials"):
        (dest / folder).mkdir(parents=True, exist_ok=True)
    (dest / "reference/cli.md").write_text(command_line())
    (dest / "reference/exit-codes.md").write_text(exit_codes())
    (dest / "reference/precisions.md").write_text(precisions())
    (dest / "tutorials/first-model.ipynb").write_text(notebook(DOCS / "tutorials/first_model.py"))
    write_schemas(dest / "reference")
    write_schema(dest / "reference")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
