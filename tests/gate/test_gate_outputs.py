"""One verdict for many readers: whole, escaped, bounded."""

import io
import json
import os
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mlopt.gate.outputs import github, markdown
from mlopt.gate.outputs.json import to_json
from mlopt.gate.outputs.junit import to_junit
from mlopt.gate.outputs.markdown import LARGEST_BYTES, MARKER, to_markdown
from mlopt.gate.outputs.sarif import to_sarif
from mlopt.gate.outputs.terminal import show_verdict
from mlopt.gate.units import Unit
from mlopt.gate.verdict import Check, Look, Process, Status, Verdict

HOSTILE = "</script>\x1b[31m%0A::error::x|*b*\n::warning file=a,line=1::@all <b>"


def check(status=Status.FAIL, metric="size", **changed):
    settings = {"model": "a/m.tflite", "digest": "00ff", "rule": "max", "sentence": "size is 70 B: 6 B over the limit",
                "unit": Unit.BYTES, "value": 70.0, "limit": 64.0, "baseline": 60.0, "line": 7}
    return Check(metric=metric, status=status, **(settings | changed))


def verdict(*checks, fails=True, **changed):
    return Verdict(budget="mlopt-budget.toml", checks=checks, inconclusive_fails=fails, seconds=1.5, mlopt="0.1.0",
                   **({"samples": {}, "devices": {}} | changed))


EVERY = tuple(check(status) for status in Status)


def printed(found, width=120):
    console = Console(file=io.StringIO(), width=width)
    show_verdict(found, console)
    return console.file.getvalue()


def test_json_is_strict_versioned_and_holds_the_raw_times():
    raw = Process(side="new", pair=0, order=1, samples_us=(100.25, float("nan")), throttled=True)
    look = Look(pairs=6, low=0.99, ratio=1.0, high=1.01)
    found = verdict(check(value=float("nan"), looks=(look,)), samples={"m on host": (raw,)})
    plain = json.loads(to_json(found), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert plain["schema"] == 1 and plain["exit"] == 1
    assert plain["samples"]["m on host"][0]["samples_us"] == [100.25, None]
    assert plain["checks"][0]["value"] is None and plain["checks"][0]["looks"][0]["pairs"] == 6


def test_the_table_names_every_status_and_the_sentences_of_those_that_did_not_pass():
    text = printed(verdict(*EVERY))
    assert all(status.value in text for status in Status) and text.count("6 B over the limit") == 4
    assert "over budget: 1 failed, 1 not measured, 1 inconclusive, 1 waived, 1 passed in 1.5 s" in text


def test_text_from_outside_steers_no_terminal():
    text = printed(verdict(check(model=HOSTILE, sentence=HOSTILE)))
    assert "\x1b" not in text


def test_markdown_carries_its_marker_first_and_escapes_what_comes_from_outside():
    text = to_markdown(verdict(check(model=HOSTILE, sentence=HOSTILE, notes=(HOSTILE,))))
    assert text.startswith(MARKER + "\n")
    assert "<b>" not in text and "</script" not in text and "@all" not in text and "\n::warning" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert len(rows) == 1 and len(re.findall(r"(?<!\\)\|", rows[0])) == 8


@pytest.mark.parametrize("count", [1, 300, 3000])
def test_markdown_never_outgrows_a_comment_and_counts_what_it_left_out(count):
    wordy = {"sentence": "ü" * 200, "notes": ("ß" * 300,)}
    long = tuple(check(Status.PASS if n % 3 else Status.FAIL, model=f"m{n}" + "é" * 100, **wordy) for n in range(count))
    text = to_markdown(verdict(*long))
    assert len(text.encode()) <= LARGEST_BYTES
    rows = text.count("| ❌ |") + text.count("| ✅ |")
    left = re.search(r"(\d+) more rows", text)
    assert rows + (int(left[1]) if left else 0) == count
    assert "| ❌ |" in text


def test_annotations_stand_on_the_budgets_line_and_cannot_be_forged():
    lines = github.annotations(verdict(check(model="a:b,c", sentence=HOSTILE)))
    assert len(lines) == 1 and "\n" not in lines[0]
    assert lines[0].startswith("::error file=mlopt-budget.toml,line=7,title=a%3Ab%2Cc%3A size fail::</script>")
    assert "%250A" in lines[0]


@given(st.text())
def test_an_annotation_is_one_line_that_reads_back(text):
    line = github.data(text)
    assert "\n" not in line and "\r" not in line
    assert line.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%") == text or "%" in text


def test_only_ten_annotations_of_a_kind_are_sent_and_the_last_counts_the_rest():
    many = [check(line=n) for n in range(1, 26)] + [check(Status.INCONCLUSIVE)] * 3 + [check(Status.PASS)]
    lines = github.annotations(verdict(*many))
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == 10 and "16 more limits did not pass" in errors[-1]
    assert sum(line.startswith("::warning") for line in lines) == 3 and len(lines) == 13


def test_the_step_summary_is_appended_where_github_asks_for_it(tmp_path):
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    assert github.add_summary(verdict(check()), {"GITHUB_STEP_SUMMARY": str(path)})
    assert path.read_text().startswith("before\n" + markdown.MARKER)
    assert not github.add_summary(verdict(check()), {})


def test_junit_has_one_case_a_limit_and_counts_that_agree():
    root = ElementTree.fromstring(to_junit(verdict(*EVERY, fails=False)))
    (suite,) = root
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "2"}
    kinds = sorted(child.tag for case in suite for child in case)
    assert kinds == ["error", "failure", "skipped", "skipped", "system-out"]


def test_junit_counts_an_inconclusive_limit_as_the_policy_does():
    assert ElementTree.fromstring(to_junit(verdict(check(Status.INCONCLUSIVE), fails=True)))[0].get("failures") == "1"
    assert ElementTree.fromstring(to_junit(verdict(check(Status.INCONCLUSIVE), fails=False)))[0].get("failures") == "0"


@given(st.text())
def test_junit_can_be_read_whatever_a_message_holds(text):
    ElementTree.fromstring(to_junit(verdict(check(sentence=text, model=text))))


# What SARIF 2.1.0 (OASIS, 2020-03-27) requires of the parts that are used here; sections 3.13 to 3.35.
TEXT = {"type": "object", "required": ["text"]}
RULE = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "shortDescription": TEXT}}
DRIVER = {
    "type": "object", "required": ["name"],
    "properties": {"name": {"type": "string"}, "version": {"type": "string"},
                   "rules": {"type": "array", "uniqueItems": True, "items": RULE}},
}
INVOCATION = {
    "type": "object", "required": ["executionSuccessful"],
    "properties": {"executionSuccessful": {"type": "boolean"}, "exitCode": {"type": "integer"}},
}
PHYSICAL = {
    "type": "object", "required": ["artifactLocation"],
    "properties": {
        "artifactLocation": {"type": "object", "properties": {"uri": {"type": "string", "format": "uri-reference"}}},
        "region": {"type": "object", "properties": {"startLine": {"type": "integer", "minimum": 1}}},
    },
}
RESULT = {
    "type": "object", "required": ["message"], "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": -1}, "message": TEXT,
        "kind": {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "locations": {"type": "array", "items": {"type": "object", "properties": {"physicalLocation": PHYSICAL}}},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
        "suppressions": {"type": "array", "items": {
            "type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["inSource", "external"]}}}},
        "properties": {"type": "object"},
    },
}
RUN = {
    "type": "object", "required": ["tool", "results"], "additionalProperties": False,
    "properties": {
        "tool": {"type": "object", "required": ["driver"], "properties": {"driver": DRIVER}},
        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        "invocations": {"type": "array", "items": INVOCATION}, "results": {"type": "array", "items": RESULT},
    },
}
SARIF = {
    "type": "object", "required": ["version", "runs", "$schema"], "additionalProperties": False,
    "properties": {"version": {"const": "2.1.0"}, "$schema": {"type": "string"},
                   "runs": {"type": "array", "minItems": 1, "items": RUN}},
}


def test_sarif_has_the_standards_structure():
    import jsonschema

    plain = json.loads(to_sarif(verdict(*EVERY, check(value=float("nan")))))
    jsonschema.validate(plain, SARIF)
    run = plain["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["kind"] == "fail" or result["level"] == "none"      # section 3.27.10
    assert len(run["results"]) == 5 and run["invocations"][0]["exitCode"] == 1


def test_sarif_tells_waived_from_broken_and_leaves_out_what_passed():
    results = json.loads(to_sarif(verdict(*EVERY)))["runs"][0]["results"]
    assert sum("suppressions" in r for r in results) == 1
    assert sum(r["level"] == "error" for r in results) == 1 and all(r["kind"] != "pass" for r in results)


def test_sarifs_fingerprint_is_the_limit_and_not_its_line():
    def of(found):
        return json.loads(to_sarif(verdict(found)))["runs"][0]["results"][0]["partialFingerprints"]

    assert of(check()) == of(replace(check(), line=99, sentence="x")) != of(check(metric="zipped"))


def test_outputs_are_the_same_bytes_every_time():
    found = verdict(*EVERY)
    for render in (to_json, to_junit, to_sarif, to_markdown):
        assert render(found) == render(found)
    assert os.linesep == "\n"
