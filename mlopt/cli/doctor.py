"""`mlopt doctor`: what is installed, what is missing, what this machine can measure."""

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say what is installed, what each missing extra would give, and what this machine can measure."""
    from mlopt import diagnosis

    found = diagnosis.doctor()
    typer.echo(diagnosis.to_json(found) if as_json else diagnosis.to_text(found))
