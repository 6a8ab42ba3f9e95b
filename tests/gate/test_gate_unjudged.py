"""A file is judged when it is what its name says. Whatever else it weighs or counts, it never passes."""

import datetime
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from mlopt_tflite import flatfile
from permissions import heeding_permissions
from reports import sample_report

from mlopt import files
from mlopt.errors import ModelUnreadable, OutOfReach, WorkerCrashed
from mlopt.exits import Exit
from mlopt.gate import baseline as stored_figures
from mlopt.gate.budget import BudgetError
from mlopt.gate.inventory import open_model
from mlopt.gate.job import check, update
from mlopt.gate.verdict import Status
from mlopt.render.json import to_json

SIZE = '[[budget]]\nmodel = "*"\nsize = { max = "1 MiB" }\n'
TODAY = datetime.date(2027, 1, 15)
RANDOM = np.random.default_rng(1).bytes(5000)


@pytest.fixture
def gate(tmp_path):
    """The command as a function, on files in a folder; figures of scores stand in a report."""
    def judged(*, budget=SIZE, baseline=None, report=None, names=()):
        (tmp_path / "mlopt-budget.toml").write_text("schema = 1\n" + budget)
        given = tuple(tmp_path / name for name in names)
        return check(files=given, budget=tmp_path / "mlopt-budget.toml", baseline=baseline, report=report, today=TODAY)

    return judged


@pytest.mark.parametrize("content", [
    b"", RANDOM, b"\x1c\0\0\0TFL3" + RANDOM, "the first half",
], ids=["empty", "random bytes", "random bytes behind the mark", "half a file"])
def test_a_tflite_file_that_litert_does_not_load_breaks_a_size_limit_that_it_keeps(gate, tmp_path, tiny, content):
    (tmp_path / "m.tflite").write_bytes(tiny[: len(tiny) // 2] if content == "the first half" else content)
    verdict = gate(names=["m.tflite"])
    (check,) = verdict.checks
    assert (verdict.exit, check.status, check.rule) == (Exit.LIMIT_BROKEN, Status.FAIL, "opens")
    assert "size was not judged" in check.sentence and "m.tflite: " in check.sentence


def test_a_tflite_file_that_loads_and_does_nothing_is_not_measured(gate, tmp_path, tiny):
    model = flatfile.parse(tiny, "tiny")
    for graph in model.subgraphs:
        graph.operators, graph.outputs = [], graph.inputs
    model.signatureDefs = []                    # they name tensors that are no outputs any more
    flatfile.write(model, tmp_path / "m.tflite")
    verdict = gate(names=["m.tflite"])
    (check,) = verdict.checks
    assert (verdict.exit, check.status, check.rule) == (Exit.INCOMPLETE, Status.ERROR, "opens")
    assert "it holds no operation" in check.sentence


@pytest.mark.parametrize("content", [b"", RANDOM, b"\x08\x07"], ids=["empty", "random bytes", "no graph"])
def test_an_onnx_file_that_onnx_runtime_does_not_open_breaks_a_size_limit_that_it_keeps(gate, tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    verdict = gate(names=["m.onnx"])
    assert verdict.exit is Exit.LIMIT_BROKEN and verdict.checks[0].rule == "opens"


def test_a_core_ml_package_without_a_model_breaks_a_size_limit_that_it_keeps(gate, tmp_path):
    (tmp_path / "m.mlpackage").mkdir()
    verdict = gate(names=["m.mlpackage"])
    assert verdict.exit is Exit.LIMIT_BROKEN and "Manifest.json" in verdict.checks[0].sentence


def test_a_model_of_one_format_under_the_name_of_another_is_no_model(gate, tmp_path, tiny):
    (tmp_path / "m.onnx").write_bytes(tiny)
    assert gate(names=["m.onnx"]).exit is Exit.LIMIT_BROKEN


def test_a_file_whose_ending_no_runtime_reads_is_not_measured(gate, tmp_path):
    (tmp_path / "m.bin").write_bytes(RANDOM)
    verdict = gate(names=["m.bin"])
    assert verdict.exit is Exit.INCOMPLETE and "no runtime reads *.bin" in verdict.checks[0].sentence


def test_a_real_file_passes_and_its_operations_are_known(gate, tmp_path, tiny):
    (tmp_path / "m.tflite").write_bytes(tiny)
    assert gate(names=["m.tflite"]).exit is Exit.DONE
    assert open_model(tmp_path / "m.tflite") == ("ADD", "AVERAGE_POOL_2D", "CONV_2D", "FULLY_CONNECTED", "RESHAPE",
                                                 "SOFTMAX")


def refuse(file):
    raise ModelUnreadable(file, "it is no model")


ALL = """[[budget]]
model = "*"
size = { max = 99 }
arena = { max = 99 }
accuracy = { min = "80%" }
ops = { forbid = ["TANH"] }
latency = { p50 = { max = "1 s", growth = "5%" }, p90 = { max = "1 s" } }
"""


def test_every_limit_of_a_file_that_does_not_open_is_broken_and_nothing_is_measured(bench):
    verdict = bench.judge(bench.model(base="us=100"), budget=ALL, base=True, open_model=refuse_the_new)
    assert [(c.metric, c.status, c.rule) for c in verdict.checks] == [
        (metric, Status.FAIL, "opens") for metric in ("size", "arena", "accuracy", "ops", "p50", "p90")]
    assert bench.device.measured == []


def refuse_the_new(file):
    return refuse(file) if file.parent.name != "base" else ("ADD",)


def test_no_waiver_covers_a_file_that_does_not_open(bench):
    waiver = "[[budget.waiver]]\nmetric = 'size'\nuntil = 2027-01-15\nreason = 'the new head'\n"
    verdict = bench.judge(bench.model(), budget=SIZE + waiver, open_model=refuse)
    assert verdict.exit is Exit.LIMIT_BROKEN


def test_a_process_that_was_killed_as_it_opened_a_file_leaves_it_not_measured(bench):
    def killed(file):
        raise WorkerCrashed("opening", "was ended by SIGKILL", "last\nwords", killed=True)

    verdict = bench.judge(bench.model(), budget=SIZE, open_model=killed)
    assert verdict.exit is Exit.INCOMPLETE
    assert "ended by SIGKILL" in verdict.checks[0].sentence and "words" not in verdict.checks[0].sentence


def test_a_baseline_file_that_does_not_open_is_bad_input_where_something_is_compared_with_it(bench):
    def refuse_the_baseline(file):
        return refuse(file) if file.parent.name == "base" else ("ADD",)

    file = bench.model(base="x" * 10_000)
    growth = SIZE.replace('max = "1 MiB"', 'growth = "5%"')
    with pytest.raises(BudgetError, match="nothing can be compared with it"):
        bench.judge(file, budget=growth, base=True, open_model=refuse_the_baseline)
    assert bench.judge(file, budget=SIZE, base=True, open_model=refuse_the_baseline).exit is Exit.DONE


def test_a_baseline_file_that_its_process_may_not_read_leaves_the_growth_not_measured(bench):
    def keep_from_the_baseline(file):
        if file.parent.name == "base":
            raise OutOfReach("opening", str(file))
        return ("ADD",)

    growth = SIZE.replace('max = "1 MiB"', 'growth = "5%"')
    verdict = bench.judge(bench.model(base="us=100"), budget=growth, base=True, open_model=keep_from_the_baseline)
    assert verdict.exit is Exit.INCOMPLETE and "was kept from" in verdict.checks[0].sentence


@pytest.mark.parametrize("role", ["model", "baseline", "report", "figures", "budget"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(gate, tmp_path, tiny, role):
    names = {"model": "p.tflite", "figures": stored_figures.NAME}
    pipe = tmp_path / names.get(role, "pipe")
    os.mkfifo(pipe)
    (tmp_path / "m.tflite").write_bytes(tiny)
    with pytest.raises(BudgetError, match=r"a named pipe, where|a pipe or a device, and no model|no budget matches"):
        if role == "budget":
            check(files=(), budget=pipe)
        else:
            gate(names=[pipe.name if role == "model" else "m.tflite"], baseline=pipe if role == "baseline" else None,
                 report=pipe if role == "report" else None)


@pytest.mark.parametrize("role", ["model", "baseline"])
def test_a_pipe_inside_a_package_is_refused_by_name_and_not_waited_for(gate, tmp_path, role):
    for name in ("m.mlpackage", "base.mlpackage"):
        (tmp_path / name).mkdir()
    pipe = tmp_path / ("m.mlpackage" if role == "model" else "base.mlpackage") / "weights"
    os.mkfifo(pipe)
    with pytest.raises(BudgetError, match="weights: it is a named pipe, where a regular file is needed"):
        gate(names=["m.mlpackage"], baseline=tmp_path / "base.mlpackage")


@pytest.mark.parametrize("spoiled", ["m.tflite", "base/m.tflite"])
def test_a_file_that_this_user_may_not_read_is_bad_input(tmp_path, tiny, spoiled):
    (tmp_path / "mlopt-budget.toml").write_text("schema = 1\n" + SIZE)
    (tmp_path / "base").mkdir()
    for name in ("m.tflite", "base/m.tflite"):
        (tmp_path / name).write_bytes(tiny)
    (tmp_path / spoiled).chmod(0)
    command = [sys.executable, "-c", "from mlopt.cli import main; main()", "gate", "check", "--baseline", "base"]
    done = subprocess.run(
        heeding_permissions(command), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert f"{spoiled}: it cannot be read: Permission denied" in done.stderr and "Traceback" not in done.stderr


def test_update_accepts_no_figure_of_a_file_that_does_not_open(tmp_path, tiny):
    (tmp_path / "mlopt-budget.toml").write_text("schema = 1\n" + SIZE)
    (tmp_path / "good.tflite").write_bytes(tiny)
    (tmp_path / "bad.tflite").write_bytes(RANDOM)
    given = (tmp_path / "good.tflite", tmp_path / "bad.tflite")
    done = update(files=given, budget=tmp_path / "mlopt-budget.toml")
    (why,) = done.failures
    assert "bad.tflite" in why
    assert {model for model, _, _ in stored_figures.read(done.path).values} == {"good.tflite"}


SCORES = '[[budget]]\nmodel = "*"\naccuracy = { min = "1%" }\ndrop = { max = "90%" }\nagreement = { min = "1%" }\n'
FIGURES = ("value", "drop", "agreement", "n")


@pytest.fixture
def reported(tmp_path, tiny):
    """A real file and a report of it, as plain values to spoil."""
    (tmp_path / "m.tflite").write_bytes(tiny)
    report = sample_report(n=200)
    first = replace(report.candidates[0], sha256=files.digest(tmp_path / "m.tflite"))
    return json.loads(to_json(replace(report, candidates=(first, *report.candidates[1:]))))


def text_of(reported):
    return json.dumps(reported)


def test_a_report_as_it_was_written_is_evidence(gate, tmp_path, reported):
    (tmp_path / "report.json").write_text(text_of(reported))
    assert gate(budget=SCORES, report=tmp_path / "report.json", names=["m.tflite"]).exit is Exit.DONE


@pytest.mark.parametrize(("field", "value"), [
    ("agreement", 1.0001), ("agreement", -0.1), ("agreement", "0.99"), ("agreement", True), ("agreement", [0.99]),
    ("value", 1.5), ("value", -0.2), ("value", "0.9"), ("value", True), ("drop", -1.5), ("drop", 2.0), ("drop", "0"),
    ("n", 0), ("n", -5), ("n", True), ("n", "200"), ("n", 2.5), ("nonfinite", -1), ("nonfinite", 201),
    ("metric", "top2"), ("metric", 5), ("drop", -0.5), ("value", 0.999),
])
def test_a_figure_that_cannot_be_makes_the_report_bad_input_with_its_place(gate, tmp_path, reported, field, value):
    reported["candidates"][0]["evidence"][field] = value
    (tmp_path / "report.json").write_text(text_of(reported))
    with pytest.raises(BudgetError, match=r"report\.json: this report.*\$\.candidates\[0\]"):
        gate(budget=SCORES, report=tmp_path / "report.json", names=["m.tflite"])


@pytest.mark.parametrize(("place", "value"), [
    (("candidates", 0, "bytes"), -5), (("candidates", 0, "bytes"), "5"), (("candidates", 0, "verified"), 1),
    (("candidates", 0, "latency", "p50_ms"), -1.0), (("candidates", 0, "latency", "ratio"), 0),
    (("source", "macs"), -1), (("source", "macs"), 1.5), (("baseline", "value"), 1.5), (("schema",), 0),
])
def test_no_other_figure_of_a_report_may_be_what_it_cannot_be(gate, tmp_path, reported, *, place, value):
    *path, last = place
    holder = reported
    for key in path:
        holder = holder[key]
    holder[last] = value
    (tmp_path / "report.json").write_text(text_of(reported))
    with pytest.raises(BudgetError, match=r"report\.json: th(is|e) report"):
        gate(budget=SCORES, report=tmp_path / "report.json", names=["m.tflite"])


@pytest.mark.parametrize(("old", "new", "says"), [
    ('"agreement": ', '"agreement": NaN, "was": ', "nan is no number"),
    ('"agreement": ', '"agreement": Infinity, "was": ', "inf is no number"),
    ('"agreement": ', '"agreement": 1e999, "was": ', "inf is no number"),
    ('"agreement": ', '"agreement": 1, "agreement": ', "'agreement' stands twice"),
    ('"agreement": ', '"was": ' + "[" * 100_000 + "]" * 100_000 + ', "agreement": ', "deeper than 64 levels"),
    ('"agreement": ', '"was": "\\ud800", "agreement": ', "surrogate"),
])
def test_what_is_no_strict_json_is_no_report(gate, tmp_path, reported, *, old, new, says):
    (tmp_path / "report.json").write_text(text_of(reported).replace(old, new, 1))
    with pytest.raises(BudgetError, match=says):
        gate(budget=SCORES, report=tmp_path / "report.json", names=["m.tflite"])


def test_one_file_with_two_different_scores_is_no_evidence(gate, tmp_path, reported):
    first, second = reported["candidates"][:2]
    second["sha256"] = first["sha256"]
    second["evidence"]["agreement"] = first["evidence"]["agreement"] - 0.01
    (tmp_path / "report.json").write_text(text_of(reported))
    with pytest.raises(BudgetError, match="two different scores"):
        gate(budget=SCORES, report=tmp_path / "report.json", names=["m.tflite"])


def test_variance_explained_may_lie_below_0_and_a_share_may_not(gate, tmp_path, reported):
    evidence = reported["candidates"][0]["evidence"]
    evidence |= {"metric": "r2", "value": -0.5, "drop": 1.4}
    reported["baseline"] |= {"metric": "r2", "value": 0.9}
    (tmp_path / "report.json").write_text(text_of(reported))
    verdict = gate(budget=SCORES, report=tmp_path / "report.json", names=["m.tflite"])
    assert {c.metric: c.status.value for c in verdict.checks} == {
        "accuracy": "fail", "drop": "fail", "agreement": "pass"}


@pytest.mark.parametrize("text", [
    '"m size": -Infinity', '"m size": NaN', '"m size": 1e999', '"m size": -1', '"m size": 1e5', '"m size": null',
    '"m size": 99999999999999999999', '"m accuracy": 1.5', '"m accuracy": -Infinity', '"m accuracy": -3',
    '"m accuracy": "0.9"', '"m accuracy": true', '"m agreement": 2', '"m drop": -1.5', '"m ops": [1]', '"m p50": 5',
    '"m size": 5, "m size": 6', '"m size": ' + "[" * 100_000,
])
def test_a_figure_that_update_cannot_have_written_makes_the_baseline_bad_input(tmp_path, text):
    path = tmp_path / stored_figures.NAME
    path.write_text(f'{{"schema": 1, "metrics": {{{text}}}}}')
    with pytest.raises(BudgetError, match=r"mlopt-baseline\.json: this is no baseline"):
        stored_figures.read(path)


def test_an_accepted_variance_explained_may_lie_below_0(tmp_path):
    path = tmp_path / stored_figures.NAME
    path.write_text('{"schema": 1, "conditions": {"m accuracy": "r2 on 200 test samples"},'
                    ' "metrics": {"m accuracy": -0.25}}')
    assert list(stored_figures.read(path).values.values()) == [-0.25]


@pytest.mark.parametrize("content", ['{"schema": true}', '{"schema": 1.0}', '{"schema": 1, "metrcs": {}}',
                                     '{"schema": 1, "conditions": {"m size": 5}}'])
def test_a_baseline_of_another_form_is_bad_input(tmp_path, content):
    path = tmp_path / stored_figures.NAME
    path.write_text(content)
    with pytest.raises(BudgetError, match="this is no baseline"):
        stored_figures.read(path)


@pytest.mark.parametrize("line", [
    "size = { max = inf }", "size = { max = nan }", "size = { max = -5 }", 'size = { max = "1e999999999" }',
    "accuracy = { min = 86 }", "accuracy = { min = -0.5 }", "agreement = { min = 1.01 }", "drop = { max = 2.0 }",
    "latency = { rate_hz = inf, p50 = { max = '1 ms' } }", "latency = { rate_hz = nan, p50 = { max = '1 ms' } }",
    "latency = { most_seconds = 1e300, p50 = { max = '1 ms' } }", "latency = { runs = 10000000000, p50 = { max = 1 } }",
    "latency = { threads = 100000, p50 = { max = '1 ms' } }", "latency = { cpus = [5000], p50 = { max = '1 ms' } }",
])
def test_a_limit_that_no_figure_can_be_held_to_is_bad_input_with_its_line(gate, line):
    with pytest.raises(BudgetError) as caught:
        gate(budget=f'[[budget]]\nmodel = "m"\n{line}\n')
    assert caught.value.line == 4


def test_a_budget_of_deep_brackets_or_endless_digits_is_no_toml(gate):
    for line in ("a = " + "[" * 100_000, "a = " + "9" * 5000, "a = 2027-02-31"):
        with pytest.raises(BudgetError, match="this is no TOML"):
            gate(budget=line)


def test_a_package_whose_weight_file_was_cut_is_no_model(tmp_path):
    pytest.importorskip("coremltools")
    from mlopt_coreml.exporter import export
    from mlopt_coreml.inventory import operations

    from mlopt.testing.tiny import TinyModel, build

    model = TinyModel(build("small_convnet"))
    whole = tmp_path / "m.mlpackage"
    export(model, model.signature, whole)
    assert {"conv", "softmax"} <= set(operations(whole))
    cut = tmp_path / "cut.mlpackage"
    shutil.copytree(whole, cut)
    weights = cut / "Data/com.apple.CoreML/weights/weight.bin"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ModelUnreadable, match=r"cut\.mlpackage: .*tensor at byte"):
        operations(cut)
