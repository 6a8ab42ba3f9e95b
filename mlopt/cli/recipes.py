"""`mlopt recipes`: what can be asked for, and what each key means."""

from typing import Annotated

import typer

from mlopt.exits import in_help

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False,
    help="Recipes: the shipped ones, and what steps and their keys mean.", epilog=in_help("recipes"),
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """The shipped recipes, with their steps."""
    from mlopt import recipes

    found = recipes.list()
    if as_json:
        _print_json({"schema": 1, "recipes": found})
        return
    width = max((len(recipe.name) for recipe in found), default=0)
    for recipe in found:
        typer.echo(f"{recipe.name:<{width}}  {', '.join(recipe.steps)}")
        typer.echo(f"{'':<{width}}  {recipe.about}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A shipped recipe's name, or a .yaml file.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Print a recipe's file: where your own may start. With --json, every key with the value that it has."""
    from mlopt import recipes

    if as_json:
        _print_json(recipes.plain(recipes.load(name)))
    else:
        typer.echo(recipes.show(name), nl=False)


@app.command()
def explain(
    name: Annotated[
        str, typer.Argument(help="A step, e.g. slim; or a recipe's name or .yaml file.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Say what each key of a step takes and does, or what a recipe does step by step."""
    from mlopt import plugins, recipes

    if name not in plugins.step_names():
        recipe = recipes.load(name)
        lines = recipes.explain(recipe)
        if as_json:
            _print_json({"schema": 1, "about": recipe.about, "lines": lines})
            return
        for line in (recipe.about, "", *lines):
            typer.echo(line)
        return
    about, keys = recipes.explain_step(name)
    if as_json:
        _print_json({"schema": 1, "step": name, "about": about, "keys": keys})
        return
    typer.echo(f"{name}: {about}")
    for shared in (False, True):
        typer.echo(f"\n{'Training, as in every step' if shared else 'Its own keys'}")
        for key in keys:
            if key.shared is shared:
                limits = f"; {key.range}" if key.range else ""
                typer.echo(f"  {key.name}: {key.default}    ({key.kind}{limits})")
                typer.echo(f"      {key.about}")


def _print_json(value: object) -> None:
    import json

    from mlopt import plain

    typer.echo(json.dumps(plain.to_plain(value), indent=1))
