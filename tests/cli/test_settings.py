"""Text of the command line to values."""

from typing import get_type_hints

import pytest

from mlopt.cli import settings


@pytest.mark.parametrize("text", ["0", "1..0", "a..b", "0..", "0..0", "0-1"])
def test_a_bad_interval_says_what_it_should_look_like(text):
    with pytest.raises(settings.BadSetting, match=r"--normalise takes two numbers.*e\.g\. 0\.\.1 or -1\.\.1; got"):
        settings.interval(text)


PATHS = [
    ["compress", "EMPTY"], ["compress", "m.h5", "--out", "EMPTY"], ["profile", "EMPTY"],
    *(["profile", "m.onnx", option, "EMPTY"] for option in ("--html", "--trace", "--model-explorer")),
    ["gate", "check", "EMPTY"], ["gate", "update", "--out", "EMPTY"],
    *(["gate", "check", option, "EMPTY"]
      for option in ("--budget", "--report", "--baseline", "--markdown", "--junit", "--sarif", "--json-file")),
]


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("words", PATHS, ids=" ".join)
def test_an_empty_path_is_no_folder_whichever_option_takes_it(words, empty, capsys, monkeypatch, tmp_path):
    from mlopt.cli import app
    from mlopt.cli.exit_codes import explained
    from mlopt.exits import Exit

    monkeypatch.chdir(tmp_path)
    given = [empty if word == "EMPTY" else word for word in words]
    assert explained(lambda: app(given)) is Exit.BAD_INPUT
    option = words[-2] if words[-2].startswith("--") else "MODEL" if words[0] == "compress" else "FILES"
    assert " ".join(capsys.readouterr().err.split()) == (
        f"mlopt: {option} takes the name of a file or folder; got {' '.join(repr(empty).split())}")


def test_no_command_takes_a_path_that_may_be_empty():
    import typer.main

    from mlopt.cli import app

    taken = {
        f"{place} {name}": hint.__metadata__[0].parser
        for place, command in commands(typer.main.get_command(app))
        for name, hint in get_type_hints(command.callback, include_extras=True).items()
        if "pathlib.Path" in str(getattr(hint, "__origin__", ""))
    }
    assert {"compress model", "profile trace", "gate check budget", "gate update out"} <= taken.keys()
    assert [name for name, parser in taken.items() if parser is None] == []


def commands(group, place=""):
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{place} {name}")
    if not hasattr(group, "commands"):
        yield place.strip(), group


def test_no_interval_stays_none():
    assert settings.interval(None) is None


@pytest.mark.parametrize("text", ["image", "image=", "=1,2", "image=1,x", "image=1,0,3", "image=1,-2"])
def test_a_bad_shape_says_what_it_should_look_like(text):
    with pytest.raises(settings.BadSetting, match="--input-shape takes a name and"):
        settings.shapes([text])


def test_two_shapes_are_two_inputs():
    assert settings.shapes(["a=1,2", "b=1,3,4"]) == {"a": (1, 2), "b": (1, 3, 4)}


def test_names_ignore_spaces_and_empty_parts():
    assert settings.names(" int8 ,,float16,") == ("int8", "float16")
