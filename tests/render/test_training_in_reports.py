"""A recipe's steps in every rendering."""

import io
import json
from dataclasses import replace

import pytest
import reports
from rich.console import Console

from mlopt.render import terminal
from mlopt.render.html.page import to_html
from mlopt.render.json import from_json, to_json
from mlopt.render.markdown import to_markdown
from mlopt.render.summary import summary


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


def test_the_page_draws_both_figures_and_escapes_names(trained):
    page = to_html(trained)
    assert "validation by epoch: 0.72 in the first, 0.78 in the last of 4" in page
    assert "training loss by epoch: 1 in the first, 0.25 in the last of 4" in page
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


def page_of(trained, **changes):
    step = replace(trained.trained.steps[0], **changes)
    return to_html(replace(trained, trained=replace(trained.trained, steps=(step,))))


def test_a_validation_that_never_moves_is_a_line_in_the_middle_with_one_level(trained):
    history = tuple({"losses": {"total": 1.0 / n}, "validation": 1.0} for n in range(1, 400))
    page = page_of(trained, history=history)
    drawn = page[page.index("validation by epoch"):]
    drawn = drawn[: drawn.index("</svg>")]
    assert drawn.count('class="grid"') == 1 and drawn.count("<circle") == 0
    assert len({point.split(",")[1] for point in drawn.split('points="')[1].split('"')[0].split()}) == 1


def test_settings_that_nobody_heeds_without_a_teacher_are_not_told(trained):
    settings = {"epochs": 2, "labels": 0.3, "temperature": 4.0, "augment": ["flip", "mixup"]}
    assert "epochs 2 · labels 0.3 · temperature 4 · augment flip, mixup · teacher source" in page_of(
        trained, settings=settings | {"teacher": "source"})
    assert "epochs 2 · augment flip, mixup · teacher none" in page_of(trained, settings=settings | {"teacher": "none"})


def test_facts_stand_as_words_figures_and_tables(trained):
    page = page_of(trained, facts={
        "bytes_at_8_bits": 12345, "before": {"macs": 50816, "bytes": 1160}, "budget": None,
        "activations": {f"relu_{i}": [0.0, i + 0.25] for i in range(5)},
        "kernels": [{"kernel": "conv", "loss_at_4_bits": None, "bytes": 1500}],
    })
    assert "<dt>bytes at 8 bits</dt><dd>12,345</dd>" in page
    assert "<dt>before</dt><dd>macs 50,816 · bytes 1,160</dd>" in page
    assert "<td>relu_3</td><td>0, 3.25</td>" in page
    assert '<td>conv</td><td class="n">–</td><td class="n">1,500</td>' in page and "None" not in page


def test_what_was_done_for_the_input_is_one_note(trained):
    page = page_of(trained, notes=("input: prefetch", "all kept", "input: cached in memory"))
    assert "<li>all kept</li><li>input: prefetch; cached in memory</li>" in page
