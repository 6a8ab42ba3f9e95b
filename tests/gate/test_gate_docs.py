"""The worked example on the page is one that the gate reads, and the action hands its inputs on as they are."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlopt.gate.budget import Inconclusive, Metric, load_budget
from mlopt.gate.outputs.markdown import MARKER
from mlopt.gate.simulate import normal_rates

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/gate"
PAGE = (ROOT / "docs/how-to/gate.md").read_text()


def test_the_examples_budget_is_read():
    budget = load_budget(EXAMPLE / "mlopt-budget.toml")
    assert budget.inconclusive is Inconclusive.WARN
    assert [m.targets for m in budget.models] == [("host",), (), ("ssh:pi4",)]


def test_the_page_shows_the_example_and_nothing_else():
    shown = re.findall(r'--8<-- "(.*)"', PAGE)
    assert [Path(name).name for name in shown] == ["mlopt-budget.toml", "gate.yml", ".gitlab-ci.yml"]
    assert all((ROOT / name).is_file() for name in shown)


def test_the_page_names_every_metric():
    assert all(f"`{metric}`" in PAGE for metric in Metric)


@pytest.mark.parametrize(("spread", "growth"), [
    *((0.004, growth) for growth in (0, 4, 5, 6)), *((0.035, growth) for growth in (0, 2, 5, 8, 10))])
def test_the_pages_error_rates_are_those_of_the_rule(spread, growth):
    table = PAGE.partition(f"for pairs that scatter by {spread:.1%}".replace("%", " %"))[2]
    row = re.search(rf"^\| \+?{growth} % \| (\d+) % \| (\d+) % \| (\d+) % \| (\d+) \|$", table, re.MULTILINE)
    found = normal_rates(growth / 100, spread=spread, tolerance=0.05, alpha=0.05, gates=6000, seed=1)
    shown = [int(n) for n in row.groups()]
    simulated = [found.failed * 100, found.passed * 100, found.inconclusive * 100, found.pairs]
    assert simulated == pytest.approx(shown, abs=1)


@pytest.mark.parametrize("name", [".github/workflows/gate.yml", ".gitlab-ci.yml"])
def test_the_workflows_are_yaml(name):
    assert yaml.safe_load((EXAMPLE / name).read_text())


def test_the_comment_is_found_by_the_gates_own_marker():
    assert f'startswith("{MARKER}")' in (EXAMPLE / ".github/workflows/gate.yml").read_text()


def test_the_workflow_uses_inputs_and_outputs_that_the_action_has():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    text = (EXAMPLE / ".github/workflows/gate.yml").read_text()
    step = next(s for s in yaml.safe_load(text)["jobs"]["gate"]["steps"] if s.get("id") == "gate")
    assert set(step["with"]) <= set(action["inputs"])
    assert set(re.findall(r"steps\.gate\.outputs\.([a-z-]+)", text)) <= set(action["outputs"])


def test_no_input_of_the_action_is_pasted_into_a_script():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert all("${{" not in step.get("run", "") for step in action["runs"]["steps"])


@pytest.mark.parametrize(("size", "code"), [(9000, 0), (9001, 1)])
def test_the_actions_script_runs_the_gate_and_hands_on_what_it_wrote(tmp_path, tiny, size, code):
    """The script of `action.yml` as it stands, with the `mlopt` of this environment."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    script = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "gate")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/mlopt"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from mlopt.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "a b.tflite").write_bytes(tiny + bytes(size - len(tiny)))
    (tmp_path / "$(touch evil).tflite").write_bytes(tiny)
    (tmp_path / "budget.toml").write_text('schema = 1\n[[budget]]\nmodel = "*.tflite"\nsize = { max = 9000 }\n')
    settings = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "MLOPT_CACHE": str(tmp_path / "c"),
        "RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(tmp_path / "outputs"), "BUDGET": "budget.toml",
        "FILES": "a b.tflite\n$(touch evil).tflite\n", "BASELINE": "", "REPORT": "", "TARGETS": "",
    }
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]      # as the runner starts it
    done = subprocess.run([*shell, script], cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == code, done.stderr
    outputs = dict(line.split("=", 1) for line in (tmp_path / "outputs").read_text().splitlines())
    assert outputs["exit-code"] == str(code) and set(outputs) == {"exit-code", "markdown", "json", "junit", "sarif"}
    assert len(json.loads(Path(outputs["json"]).read_text())["checks"]) == 2
    assert not (tmp_path / "evil").exists()
