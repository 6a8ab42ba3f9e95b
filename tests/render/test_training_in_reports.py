"""A recipe's steps in every rendering."""

import io
import json

import pytest
from rich.console import Console

from mlopt.render import terminal
from mlopt.render.html.page import to_html
from mlopt.render.json import from_json, to_json
from mlopt.render.markdown import to_markdown
from mlopt.render.summary import summary
from mlopt.testing import reports


@pytest.fixture(scope="module")
def report():
    return reports.sample_report(n=300)


@pytest.fixture(scope="module")
def trained(report):
    return reports.trained(report)


def test_a_report_without_a_recipe_says_nothing_of_training(report):
    assert "Training" not in to_html(report) and "Training" not in to_markdown(report)
    assert summary(report)["trained"] is None


def test_markdown_has_one_row_a_step(trained):
    lines = to_markdown(trained).splitlines()
    row = next(line for line in lines if line.startswith("| slim"))
    assert row == ("| slim | 4 | 0.8400 to 0.8200 | 12,501,632 to 6,100,000 | 78,666 to 41,000 | 0.0 % | 3.1 % "
                   "| 1 min 15 s |")
    assert "half\\|ish: Halve it. Trained on 4,500 samples, chosen on 500 others, in 1 min 45 s." in lines


def test_an_unknown_share_of_waiting_is_told_as_unknown(trained):
    row = next(line for line in to_markdown(trained).splitlines() if line.startswith("| quantize"))
    assert row == "| quantize | none | 0.8200 | 6,100,000 | 41,000 | 2.4 % | – | 30.0 s |"


def test_the_page_draws_validation_and_escapes_names(trained):
    page = to_html(trained)
    assert "validation over 4 epochs, from 0.7200 to 0.7800" in page
    assert "&lt;b&gt;conv" in page and "<b>conv" not in page and "rounded <script>" not in page
    assert "continued at training step 120 after it was stopped" in page


def test_the_terminal_shows_the_steps_before_the_files(trained):
    console = Console(width=120, file=io.StringIO(), color_system=None)
    terminal.show(trained, console)
    text = console.file.getvalue()
    assert text.index("slim") < text.index("tflite") and "41.0 k" in text


def test_a_trained_report_survives_the_trip_through_json(trained):
    assert to_json(from_json(to_json(trained))) == to_json(trained)
    steps = json.loads(json.dumps(summary(trained)))["trained"]["steps"]
    assert [(s["name"], s["waiting"]) for s in steps] == [("slim", 0.031), ("quantize", None)]
