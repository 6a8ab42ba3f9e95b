"""The packages of docs/examples, installed for child processes alone."""

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


def installed(example: str, site: Path) -> dict[str, str]:
    """Put the package of docs/examples/`example` into `site` as pip would; the environment of who finds it there."""
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())["project"]
    for package in (EXAMPLES / example).glob("mlopt_*"):
        shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    metadata = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@dataclass(frozen=True)
class Installed:
    """A folder to work in, whose child processes find the example."""

    folder: Path
    environment: dict[str, str]

    def python(self, *words: object) -> "subprocess.CompletedProcess[str]":
        program = [sys.executable, *map(str, words)]
        return subprocess.run(
            program, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )

    def mlopt(self, *words: object) -> "subprocess.CompletedProcess[str]":
        return self.python("-c", "from mlopt.cli import main; main()", *words)

    def keeps_its_contract(self, tests: str) -> None:
        """Run the example's own tests, which are the shipped contract on its door."""
        file = EXAMPLES / tests
        options = ["-q", "-p", "no:cacheprovider", "--rootdir", file.parent, "-c", "/dev/null"]
        done = self.python("-m", "pytest", *options, file)
        assert done.returncode == 0, done.stdout[-4000:]


def site(folder: Path, example: str) -> Installed:
    return Installed(folder, installed(example, folder / "site") | {"MLOPT_CACHE": str(folder / "cache")})
