import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pages import Page
from reports import sample_report
from rich.console import Console

from mlopt.render.html import to_html
from mlopt.render.html.plot import loss_ticks, size_ticks
from mlopt.render.json import from_json, to_json
from mlopt.render.markdown import to_markdown
from mlopt.render.terminal import show
from mlopt.report import Evidence, Finding, LayerError, Severity

GOLDEN = Path(__file__).parents[1] / "golden"
HOSTILE = '<script>alert(1)</script>"\'><img src=x onerror=y>'


@pytest.fixture(scope="module")
def report():
    return sample_report()


def hostile(report):
    first = report.candidates[2]
    evidence = first.evidence
    layers = (replace(first.layers[0], name=HOSTILE, op=HOSTILE), *first.layers[1:])
    classes = (replace(evidence.classes[0], name=HOSTILE), *evidence.classes[1:])
    evidence = replace(evidence, classes=classes, worst_class=replace(classes[0], drop=1.0), notes=(HOSTILE,))
    candidate = replace(first, evidence=evidence, layers=layers, layer_errors=(LayerError(name=HOSTILE, sqnr_db=3.0),),
                        choices={HOSTILE: HOSTILE}, recommended=True, reason=HOSTILE, about=HOSTILE)
    return replace(
        report,
        source=replace(report.source, path=Path(HOSTILE.replace("/", "_")), container=HOSTILE),
        candidates=(*report.candidates[:2], candidate, *report.candidates[3:]),
        findings=(*report.findings, Finding(severity=Severity.NOTE, code="x", about=HOSTILE, message=HOSTILE)),
        class_names=(HOSTILE,) * 10,
        data=(replace(report.data[0], source=HOSTILE, note=HOSTILE),),
        host=replace(report.host, processor=HOSTILE, versions={HOSTILE: HOSTILE}),
    )


def printed(report, width, **settings):
    console = Console(file=io.StringIO(), width=width, **settings)
    show(report, console, page="out/report.html")
    return console.file.getvalue()


def unchanged(name, text):
    """Compare with tests/golden; MLOPT_UPDATE_GOLDEN=1 writes it anew, to be read before it is committed."""
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    path = GOLDEN / name
    if os.environ.get("MLOPT_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_table_is_the_golden_one(report, width):
    unchanged(f"terminal_{width}.txt", printed(report, width))


def test_the_markdown_is_the_golden_one(report):
    unchanged("report.md", to_markdown(report))


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(report, width):
    text = printed(report, width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for c in report.candidates:
        assert not c.path or f"{c.bytes:,}" in text


@pytest.mark.parametrize("labelled", [True, False])
def test_sixty_columns_hold_each_precision_in_one_piece_without_the_intervals(labelled):
    narrow = sample_report(n=400, labelled=labelled)
    lines = printed(narrow, 60).splitlines()
    assert max(map(len, lines)) <= 60
    for c in narrow.candidates:
        size = f"{c.bytes:,}" if c.path else "not made"
        assert any(f" {c.precision} " in line and size in line for line in lines), c.precision


def test_colour_is_for_terminals_alone(report):
    assert "\x1b[" not in printed(report, 80)
    assert "\x1b[" in printed(report, 80, force_terminal=True, color_system="standard")


def test_a_name_cannot_steer_the_terminal_or_rich(report):
    bad = replace(report.candidates[2], precision="\x1b[2J[bold]x[/bold]\n")
    text = printed(replace(report, candidates=(bad,)), 120)
    assert "\x1b" not in text and "[bold]x[/bold]" in text


def test_a_workers_last_words_stay_in_the_json(report):
    crash = Finding(severity=Severity.FAILURE, code="worker-failed", about="onnx/int8",
                    message="making onnx files: the worker process ended\nTraceback (most recent call last):\n  File x")
    broken = replace(report, findings=(crash,))
    for text in (to_markdown(broken), to_html(broken)):
        assert "the worker process ended …" in text and "Traceback" not in text
    assert b"Traceback" in to_json(broken)


def test_one_finding_about_several_files_stands_once(report):
    twice = tuple(Finding(severity=Severity.NOTE, code="c", about=a, message="same words") for a in ("a/b", "c/d"))
    text = printed(replace(report, findings=twice), 120)
    assert text.count("same words") == 1 and "a/b, c/d: same words" in text


def test_without_labels_the_table_shows_agreement_and_its_interval():
    text = printed(sample_report(n=400, labelled=False), 80)
    assert "Drop" not in text and "the source's answer on at least 99.00 %" in text


def test_when_nothing_is_within_the_limit_every_rendering_says_so_first(report):
    none = sample_report(n=400, max_drop=0.0)
    none = replace(none, limit=replace(none.limit, met=False, nearest="onnx/int8"),
                   candidates=tuple(replace(c, recommended=False, meets_limit=False) for c in none.candidates))
    for text in (printed(none, 100), to_markdown(none), to_html(none)):
        assert "No file is within" in text and "The nearest is onnx/int8" in text


def test_the_page_is_well_formed_and_asks_nobody_for_anything(report):
    text = to_html(report)
    page = Page(text)
    assert page.open == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("<!doctype html>", ""))
    assert [(t, v) for t, k, v in page.attributes if k in ("src", "href", "action", "data")] == [("link", "data:,")]
    ids = [v for _, k, v in page.attributes if k == "id"]
    assert len(ids) == len(set(ids))


def test_the_pages_own_script_is_the_only_one_its_policy_allows(report):
    from base64 import b64encode
    from hashlib import sha256

    text = to_html(report)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in text


def test_names_from_models_and_data_are_text_and_never_markup(report):
    text = to_html(hostile(report))
    page = Page(text)
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert any(HOSTILE in t for t in page.text)
    markdown = to_markdown(hostile(report))
    assert "<script" not in markdown and "<img" not in markdown


def test_the_page_can_be_read_without_seeing_it(report):
    page = Page(to_html(report))
    figures = [a for a in page.attributes if a[0] == "svg" and a[1] == "role"]
    labels = [v for t, k, v in page.attributes if (t, k) == ("svg", "aria-label")]
    assert figures and any("File size against drop" in v for v in labels)
    assert page.tags.count("th") == len([a for a in page.attributes if a[0] == "th" and a[1] == "scope"])
    assert ("html", "lang", "en") in page.attributes


@pytest.mark.parametrize("labelled", [True, False])
def test_every_candidate_stands_in_page_and_plot(labelled):
    report = sample_report(n=300, labelled=labelled)
    text = to_html(report)
    for c in report.candidates:
        assert c.precision in text
        if c.path:
            assert f"<title>{c.format} {c.precision}: {c.bytes:,} bytes" in text


def test_a_card_has_the_figures_of_the_file_that_is_recommended(report):
    card = re.search(r'<div class="what">int8-dynamic</div>\n<dl>(.*?)</dl>', to_html(report))
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", card[1]) == [
        ("bytes", "87,700"), ("to float weights", "27.9 %"), ("top-1", "90.85 %"),
        ("drop, points", "0.15 [−0.17, 0.47]"), ("agrees", "99.50 %"), ("time to float", "1.27×"),
    ]


def test_a_report_read_back_from_json_renders_the_same(report):
    back = from_json(to_json(report))
    assert to_html(back) == to_html(report)
    assert to_markdown(back) == to_markdown(report)
    assert printed(back, 80) == printed(report, 80)


def test_a_report_with_nothing_in_it_still_renders(report):
    bare = replace(report.candidates[0], verified=False, evidence=None, path="", layers=(), layer_errors=())
    empty = replace(report, candidates=(bare,), findings=(), data=(), class_names=())
    for text in (to_html(empty), to_markdown(empty), printed(empty, 80)):
        assert "resnet8.h5" in text
    assert Page(to_html(replace(empty, candidates=()))).open == []


def test_a_single_proven_file_has_a_plot(report):
    only = replace(report, candidates=report.candidates[:1])
    assert "<figure" in to_html(only)


def test_many_classes_are_told_by_their_most_frequent_mistakes(report):
    counts = tuple(tuple(5 if i == j else int(j == (i + 1) % 40) for j in range(40)) for i in range(40))
    first = report.candidates[2]
    evidence = replace(first.evidence, confusion=counts)
    wide = replace(report, candidates=(replace(first, evidence=evidence),), class_names=(),
                   baseline=replace(report.baseline, confusion=counts))
    assert "Taken for" in to_html(wide) and 'class="cm"' not in to_html(wide)


def test_an_unknown_evidence_shows_dashes_and_not_zeros(report):
    unknown = Evidence(runtime="r", samples="test", n=0, metric="top1")
    only = replace(report, candidates=(replace(report.candidates[2], evidence=unknown),))
    row = next(line for line in to_markdown(only).splitlines() if line.startswith("| tflite"))
    assert row.count("–") == 4


def test_ticks_lie_within_the_axes():
    assert size_ticks(900, 5_000_000_000) == [10**d for d in range(3, 10)]
    assert loss_ticks(0.0, 0.1) == [0.0]
