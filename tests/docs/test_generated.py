"""Pages that are made from the code are the code's, and what the pages say can be run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ["reference/cli.md", "reference/exit-codes.md", "reference/precisions.md", "reference/report.schema.json",
             "reference/compress.schema.json", "reference/recipe.schema.json",
             "tutorials/first-model.ipynb"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    dest = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, str(ROOT / "docs/generate.py"), str(dest)], check=True, capture_output=True)
    return dest


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_what_the_code_makes(name, fresh):
    assert (ROOT / "docs" / name).read_text() == (fresh / name).read_text(), "run `make generated` and commit"


def test_the_pages_name_only_options_that_there_are():
    known = set(re.findall(r"--[a-z][a-z-]+", (ROOT / "docs/reference/cli.md").read_text()))
    for page in [*ROOT.glob("docs/how-to/*.md"), ROOT / "README.md"]:
        for line in page.read_text().splitlines():
            if "mlopt " in line or line.startswith("- **") or "`--" in line:
                used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line))
                assert used <= known, f"{page.name}: {used - known}"


def test_the_readme_names_only_targets_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"^    make ([a-z]+)$", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= used <= targets


def test_the_tutorial_runs_as_a_notebook_that_has_imported_keras(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    sys.path.insert(0, str(ROOT / "docs/tutorials"))
    import train_digits

    train_digits.main(tmp_path)
    notebook = nbformat.read(ROOT / "docs/tutorials/first-model.ipynb", as_version=4)
    os.environ["MLOPT_CACHE"] = str(tmp_path / "cache")
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    try:
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    finally:
        del os.environ["MLOPT_CACHE"]
    shown = json.dumps(notebook)
    assert "recommended" in shown and "srcdoc" in shown
    assert (tmp_path / "model-mlopt/report.html").exists()
