"""The packages of docs/examples, installed for child processes alone."""

import os
import shutil
import tomllib
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
