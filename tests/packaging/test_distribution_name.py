"""Nobody is told to install `mlopt` by pip: on the package index that name is another project's."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from mlopt import diagnosis, extras
from mlopt.errors import DISTRIBUTION, MissingExtra, install_command
from mlopt.location import ModelLocation
from mlopt.pipeline import finish
from mlopt.pipeline.request import CompressRequest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STRANGER = re.compile(r"\b(?:pip3?|uv) (?:install|add|download)\b[^\n]*[\s'\"]mlopt(?![\w./-])|(?<![\w.-])mlopt\[[a-z]")


def requirement(command: str) -> Requirement:
    """What a command of ours installs."""
    return Requirement(re.fullmatch(r".*pip install '([^']+)'\.?", command)[1])


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("pip install mlopt", True), ("pip install --quiet 'mlopt[tflite]'", True), ("package: mlopt[tflite]", True),
        ("uv pip install mlopt==0.1", True), ("uv add mlopt", True), ("pip install 'mlopt-edge[tflite]'", False),
        ("~/mlopt/bin/pip install ai-edge-litert", False), ("pip install ./mlopt", False), ("import mlopt", False),
    ],
)
def test_the_pattern_tells_the_stranger_from_ours(text, caught):
    assert bool(STRANGER.search(text)) is caught


def test_no_text_of_the_repository_tells_anyone_to_install_the_stranger():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = [ROOT / name for name in listed.split("\0") if name and ROOT / name != Path(__file__)]
    found = [
        f"{file.relative_to(ROOT)}:{number}" for file in texts if file.is_file()
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1) if STRANGER.search(line)
    ]
    assert len(texts) > 300 and found == []


def test_pip_knows_the_project_and_its_extras_by_the_names_that_messages_say():
    assert PROJECT["name"] == DISTRIBUTION == "mlopt-edge"
    assert set(extras.known()) == set(PROJECT["optional-dependencies"]) - {"all"}
    references = [Requirement(text) for texts in PROJECT["optional-dependencies"].values() for text in texts]
    assert {one.name for one in references if one.name.startswith("mlopt")} == {DISTRIBUTION}


@pytest.mark.parametrize("extra", extras.known())
def test_an_extra_that_is_missing_is_told_with_the_command_that_brings_it(extra):
    for command in (str(MissingExtra(extra, ["a", "b"], "doing")), install_command(extra)):
        wanted = requirement(command)
        assert wanted.name == DISTRIBUTION and wanted.extras == {extra}


def test_doctor_and_the_report_tell_the_same_where_everything_is_missing(monkeypatch):
    monkeypatch.setattr(
        extras, "missing", lambda extra: tuple(package.module for package in extras.known()[extra].packages)
    )
    remedies = {one.name: requirement(one.remedy) for one in diagnosis.doctor().extras}
    assert set(remedies) == set(extras.known())
    assert all(one.name == DISTRIBUTION and one.extras == {name} for name, one in remedies.items())
    notes = finish._not_installed(CompressRequest(model=ModelLocation(Path("model.h5")), out=Path("out")))
    assert {note.about: requirement(note.message).name for note in notes} == dict.fromkeys(
        ("tflite", "onnx", "coreml"), DISTRIBUTION
    )


def test_the_action_installs_ours():
    package = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]["package"]["default"]
    assert Requirement(package).name == DISTRIBUTION
