"""Budgets and files to verdicts, on a made-up device."""

import datetime
import math
from dataclasses import replace

import numpy as np
import pytest
from reports import sample_report

from mlopt import files
from mlopt.exits import Exit
from mlopt.gate.baseline import Stored
from mlopt.gate.budget import BudgetError, Metric
from mlopt.gate.measuring import MeasurementFailed
from mlopt.gate.rules import LOOKS
from mlopt.gate.verdict import Status

SIZE = '[[budget]]\nmodel = "*.tflite"\nsize = { max = %d }\n'
GROWTH = '[[budget]]\nmodel = "*.tflite"\n[budget.latency]\np50 = { growth = "5%" }\n'
P90 = '[[budget]]\nmodel = "*.tflite"\n[budget.latency]\np90 = { max = "%s" }\n'


def test_a_file_within_its_budget_passes_and_one_byte_more_does_not(bench):
    file = bench.model(text="us=100")           # 6 bytes
    assert bench.judge(file, budget=SIZE % 6).exit is Exit.DONE
    verdict = bench.judge(file, budget=SIZE % 5)
    assert verdict.exit is Exit.LIMIT_BROKEN
    assert "size is 6 B: 1 B over the limit of 5 B" in verdict.checks[0].sentence and verdict.checks[0].line == 4


def test_without_files_the_globs_find_them_and_each_must_find_one(bench):
    bench.model("build/a.tflite")
    bench.model("build/b.tflite")
    verdict = bench.judge(budget='[[budget]]\nmodel = "build/*.tflite"\nsize = { max = 99 }\n')
    assert [c.model for c in verdict.checks] == ["build/a.tflite", "build/b.tflite"]
    with pytest.raises(BudgetError, match=r"no file matches 'biuld/\*.tflite'"):
        bench.judge(budget='[[budget]]\nmodel = "biuld/*.tflite"\nsize = { max = 99 }\n')


def test_globs_look_neither_into_the_baselines_folder_nor_into_hidden_ones(bench):
    bench.model("build/a.tflite", base="us=100")
    bench.model(".venv/lib/b.tflite")
    (bench.folder / "build/c.tflite").mkdir()
    verdict = bench.judge(budget=SIZE % 99, base=True)
    assert [c.model for c in verdict.checks] == ["build/a.tflite"]


def test_a_file_that_no_budget_matches_is_an_error(bench):
    with pytest.raises(BudgetError, match=r"no budget matches 'other\.onnx'"):
        bench.judge(bench.model("m.tflite"), bench.model("other.onnx"), budget=SIZE % 99)


def test_a_budget_that_none_of_the_files_given_matches_is_said(bench):
    verdict = bench.judge(bench.model(), budget=SIZE % 99 + '[[budget]]\nmodel = "kws.onnx"\nsize = { max = 1 }\n')
    assert any("no file given matches 'kws.onnx'" in note for note in verdict.notes)


def test_leaving_out_every_target_is_an_error_and_no_pass(bench):
    with pytest.raises(BudgetError, match="nothing was left to check"):
        bench.judge(bench.model(), budget=P90 % "1 s", only=("adb:pixel",))


def test_a_target_that_was_left_out_is_said(bench):
    limits = P90 % "1 s" + "[[budget]]\nmodel = '*'\nsize = { max = 99 }\n"
    verdict = bench.judge(bench.model(), budget=limits, only=("adb:x",))
    assert [c.metric for c in verdict.checks] == ["size"]
    assert any("latency on host was not checked" in note for note in verdict.notes)


@pytest.mark.parametrize(("us", "status"), [
    (100, Status.PASS), (90, Status.PASS), (115, Status.FAIL), (130, Status.FAIL)])
def test_growth_is_judged_beside_the_baseline_file(bench, us, status):
    file = bench.model(text=f"us={us}", base="us=100")
    check = bench.only_check(file, budget=GROWTH, base=True)
    assert check.status is status and check.low <= check.value <= check.high
    assert check.value == pytest.approx(us / 100 - 1, abs=0.05)


def test_a_pair_is_one_process_of_both_files_in_random_order_and_pairs_stop_at_a_look(bench):
    file = bench.model(text="us=100", base="us=100")
    verdict = bench.judge(file, budget=GROWTH, base=True)
    assert set(bench.device.measured) == {"m.tflite base/m.tflite", "base/m.tflite m.tflite"}
    pairs = verdict.checks[0].looks[-1].pairs
    assert pairs == verdict.checks[0].processes == len(bench.device.measured) == LOOKS[0]
    assert any("took turns" in note for note in verdict.checks[0].notes)
    (raw,) = verdict.samples.values()
    assert len(raw) == 2 * pairs and all(len(p.samples_us) == 1000 and p.burst == 10 for p in raw)
    assert sorted((p.pair, p.order, p.side) for p in raw) == [
        (n, n, side) for n in range(pairs) for side in ("baseline", "new")]


@pytest.mark.parametrize(("settings", "why"), [
    ("rate_hz = 30", "fixed rate"), ("threads = 2", "threads go on turning"), ("", "times one file in a process")])
def test_files_that_cannot_take_turns_are_timed_in_two_processes_and_it_is_said(bench, settings, why):
    bench.device.takes_turns = bool(settings)
    file = bench.model(text="us=100", base="us=100")
    verdict = bench.judge(file, budget=GROWTH.replace("p50", settings + "\np50"), base=True)
    (check,) = verdict.checks
    assert check.status is Status.PASS and check.processes == 2 * check.looks[-1].pairs
    assert any("two processes, one after the other" in note and why in note for note in check.notes)
    assert {p.burst for p in verdict.samples[check.samples]} == {0}
    assert len(bench.device.measured) == check.processes + (not settings)       # one to find out


def test_a_target_that_stops_taking_turns_half_way_was_not_measured(bench):
    def measures(target, request):
        def measure(file, **both):
            bench.device.takes_turns = len(bench.device.measured) < 3
            return bench.device(target, request)(file, **both)

        return measure

    verdict = bench.judge(bench.model(base="us=100"), budget=GROWTH, base=True, measures=measures)
    assert verdict.exit is Exit.INCOMPLETE and "was not timed beside the new file" in verdict.checks[0].sentence


def test_a_jump_of_the_machine_inside_a_process_does_not_move_a_median_in_turns(bench):
    """Half the bursts at 80, half at 94 us, and the new file's last run is on the other side of the middle."""
    from mlopt.gate.paired import differences
    from mlopt.gate.verdict import Process

    old = [80.0] * 500 + [94.0] * 500
    sides = {"new": [*old[:499], *[94.0] * 501], "baseline": [80.0, *old[:999]]}
    both = [Process(side=s, pair=0, order=0, samples_us=tuple(us), burst=10) for s, us in sides.items()]
    assert differences(both, Metric.P50) == [0.0]
    apart = [replace(p, burst=0) for p in both]
    assert differences(apart, Metric.P50) == pytest.approx([np.log(94 / 80)])


def test_pairs_of_two_processes_are_interleaved_in_random_order_and_stop_at_a_look(bench):
    bench.device.takes_turns = False
    file = bench.model(text="us=100", base="us=100")
    verdict = bench.judge(file, budget=GROWTH, base=True)
    bench.device.measured.pop(0)            # showed that it does not take turns
    pairs = [tuple(bench.device.measured[i:i + 2]) for i in range(0, len(bench.device.measured), 2)]
    assert all(set(pair) == {"m.tflite", "base/m.tflite"} for pair in pairs) and len(set(pairs)) == 2
    assert len(pairs) in LOOKS and verdict.checks[0].looks[-1].pairs == len(pairs)
    (raw,) = verdict.samples.values()
    assert len(raw) == 2 * len(pairs) and all(len(p.samples_us) == 1000 for p in raw)


def test_a_file_that_is_its_own_baseline_passes_without_a_measurement(bench):
    file = bench.model(text="us=100")
    (bench.folder / "base/m.tflite").write_text("us=100")
    check = bench.only_check(file, budget=GROWTH, base=True)
    assert check.status is Status.PASS and "byte for byte" in check.sentence and bench.device.measured == []


def test_a_baseline_that_cannot_be_measured_disturbs_relative_limits_alone(bench):
    file = bench.model(text="arena=500", base="arena=?")
    bench.device.refuses = "arena=?"
    limits = DEVICE % "max = 600" + '[[budget]]\nmodel = "*"\nheap = { growth = "1%" }\n'
    absolute, relative = bench.judge(file, budget=limits, base=True).checks
    assert (absolute.status, relative.status) == (Status.PASS, Status.ERROR)


def test_the_same_seed_takes_the_same_order(bench):
    file = bench.model(text="us=100", base="us=100")
    orders = []
    for seed in (1, 1, 2):
        bench.device.measured = []
        bench.judge(file, budget=GROWTH, base=True, seed=seed)
        orders.append(bench.device.measured[:12])
    assert orders[0] == orders[1] != orders[2]


def test_noise_that_leaves_it_open_is_inconclusive_and_the_policy_decides(bench):
    file = bench.model(text="us=105", base="us=100")
    verdict = bench.judge(file, budget=GROWTH, base=True)
    assert verdict.checks[0].status is Status.INCONCLUSIVE and verdict.exit is Exit.INCONCLUSIVE
    assert len(bench.device.measured) == LOOKS[-1]
    warned = bench.judge(file, budget='[defaults]\ninconclusive = "warn"\n' + GROWTH, base=True)
    assert warned.exit is Exit.DONE and warned.count(Status.INCONCLUSIVE) == 1


def test_growth_without_a_baseline_given_is_a_bad_command(bench):
    with pytest.raises(BudgetError, match="give --baseline"):
        bench.judge(bench.model(), budget=GROWTH)


def test_a_file_that_the_baseline_folder_does_not_have_fails(bench):
    assert bench.only_check(bench.model(), budget=GROWTH, base=True).status is Status.FAIL
    assert bench.device.measured == []


@pytest.mark.parametrize("after", [0, 1, 4, 9])
def test_a_device_that_dies_is_never_a_pass(bench, after):
    bench.device.dies_after = after
    verdict = bench.judge(bench.model(base="us=100"), budget=GROWTH + "p90 = { max = '1 s' }\n", base=True)
    assert verdict.exit is Exit.INCOMPLETE and {c.status for c in verdict.checks} == {Status.ERROR}
    assert "does not answer any more" in verdict.checks[0].sentence


def test_a_broken_limit_outranks_what_could_not_be_measured(bench):
    bench.device.dies_after = 0
    verdict = bench.judge(bench.model(), budget=P90 % "1 s" + "[[budget]]\nmodel = '*'\nsize = {max=1}\n")
    assert verdict.exit is Exit.LIMIT_BROKEN and verdict.count(Status.ERROR) == 1


@pytest.mark.parametrize(("limit", "status"), [
    ("200 us", Status.PASS), ("80 us", Status.FAIL), ("108.6 us", Status.INCONCLUSIVE)])
def test_an_absolute_percentile_is_judged_by_its_bounds(bench, limit, status):
    """Runs take 100 us x e^|N(0, 0.05)|, whose 90th percentile is 100 e^0.0822 = 108.6 us; processes have no moods."""
    bench.device.moods = 0.0
    check = bench.only_check(bench.model(), budget=P90 % limit)
    assert check.status is status and check.processes == 5
    assert check.low <= 0.1086 <= check.high and check.low <= check.value <= check.high


def test_too_few_runs_for_a_percentile_are_a_failed_measurement(bench):
    bench.device.changed = {"samples_us": (100.0,) * 12}       # 60 in all; p90 at 99 % needs 64
    check = bench.only_check(bench.model(), budget=P90 % "1 s")
    assert check.status is Status.ERROR and "needs 64 runs" in check.sentence


def test_absolute_limits_are_judged_on_processes_of_the_file_alone(bench):
    file = bench.model(base="us=100")
    verdict = bench.judge(file, budget=GROWTH + "p90 = { max = '1 s' }\n", base=True)
    relative, absolute = sorted(verdict.checks, key=lambda c: c.rule)
    assert relative.rule == "growth" and absolute.processes == 5
    assert bench.device.measured[relative.looks[-1].pairs :] == ["m.tflite"] * 5
    orders = [p.order for p in verdict.samples[relative.samples]]
    assert sorted(set(orders)) == list(range(relative.looks[-1].pairs + 5))


def test_pairs_of_two_processes_serve_absolute_limits_too_but_only_the_first_processes(bench):
    bench.device.takes_turns = False
    file = bench.model(base="us=100")
    verdict = bench.judge(file, budget=GROWTH + "p90 = { max = '1 s' }\n", base=True)
    absolute = next(c for c in verdict.checks if c.rule == "max")
    assert absolute.processes == 5 and len(bench.device.measured) == 1 + 2 * verdict.checks[0].looks[-1].pairs


DEVICE = '[[budget]]\nmodel = "*"\narena = { %s }\n'


def test_figures_of_a_device_are_taken_from_two_fresh_processes(bench):
    check = bench.only_check(bench.model(text="arena=500"), budget=DEVICE % "max = 500")
    assert check.status is Status.PASS and len(bench.device.measured) == 2


def test_a_device_that_does_not_tell_a_figure_fails_its_limit(bench):
    check = bench.only_check(bench.model(text="us=1"), budget=DEVICE % "max = 500")
    assert check.status is Status.FAIL and "missing" in check.sentence and math.isnan(check.value)


def test_an_exact_figure_that_does_not_repeat_is_none(bench):
    from mlopt.profiling.contract import MemoryBytes

    def measures(target, request):
        def measure(file):
            grown = 500 + 10 * len(bench.device.measured)
            return replace(bench.device(target, request)(file), memory=MemoryBytes(arena=grown))

        return measure

    verdict = bench.judge(bench.model(), budget=DEVICE % "max = 900", measures=measures)
    assert verdict.exit is Exit.LIMIT_BROKEN and any("does not repeat: 500, 510" in note for note in verdict.notes)


def test_growth_of_an_exact_figure_is_measured_on_both_files(bench):
    file = bench.model(text="arena=1021", base="arena=1000")
    check = bench.only_check(file, budget=DEVICE % "growth = '2%'", base=True)
    assert (check.status, check.limit, check.baseline) == (Status.FAIL, 1020, 1000)


def stored(value, conditions="LiteRT 2.3.0"):
    name = ("m.tflite", "host", Metric.ARENA)
    return Stored(values={name: value}, conditions={name: conditions})


def test_growth_is_judged_by_the_committed_baseline_where_there_is_no_file(bench):
    file = bench.model(text="arena=1021")
    assert bench.only_check(file, budget=DEVICE % "growth = '2%'", stored=stored(1000)).status is Status.FAIL
    assert bench.only_check(file, budget=DEVICE % "growth = '2%'", stored=stored(1001)).status is Status.PASS


def test_a_baseline_of_another_runtime_is_not_compared(bench):
    file = bench.model(text="arena=1000")
    check = bench.only_check(file, budget=DEVICE % "growth = '2%'", stored=stored(1000, "LiteRT 2.2.0"))
    assert check.status is Status.ERROR and "LiteRT 2.2.0" in check.sentence


def test_a_model_without_an_accepted_figure_says_how_to_accept_it(bench):
    check = bench.only_check(bench.model(text="arena=1000"), budget=DEVICE % "growth = '2%'")
    assert check.status is Status.FAIL and "mlopt gate update" in check.sentence


def test_a_ratchet_lets_an_oversize_model_shrink_and_not_grow(bench):
    limits = DEVICE % "max = 900, ratchet = true"
    for arena, status in ((1000, Status.PASS), (999, Status.PASS), (1001, Status.FAIL)):
        check = bench.only_check(bench.model(text=f"arena={arena}"), budget=limits, stored=stored(1000))
        assert check.status is status


WAIVER = "[[budget.waiver]]\nmetric = 'size'\nuntil = 2027-01-15\nreason = 'the new head'\n"


@pytest.mark.parametrize(("limit", "day", "status", "exit"), [
    (5, 15, Status.WAIVED, Exit.DONE), (5, 16, Status.FAIL, Exit.LIMIT_BROKEN), (9, 15, Status.PASS, Exit.DONE),
    (9, 16, Status.FAIL, Exit.LIMIT_BROKEN)])
def test_a_waiver_lets_through_until_its_day_and_then_fails(bench, limit, day, status, exit):
    verdict = bench.judge(bench.model(text="us=100"), budget=SIZE % limit + WAIVER, today=datetime.date(2027, 1, day))
    assert (verdict.checks[0].status, verdict.exit) == (status, exit)


def test_a_waiver_that_is_not_needed_is_said(bench):
    check = bench.only_check(bench.model(), budget=SIZE % 99 + WAIVER)
    assert any("not needed" in note for note in check.notes)


def test_a_waiver_does_not_cover_what_was_not_measured(bench):
    bench.device.dies_after = 0
    waiver = WAIVER.replace("size", "p90")
    assert bench.only_check(bench.model(), budget=P90 % "1 s" + waiver).status is Status.ERROR


def reported(file, **evidence):
    report = sample_report(n=200)
    first = report.candidates[0]
    candidate = replace(first, sha256=files.digest(file), evidence=replace(first.evidence, **evidence))
    return replace(report, candidates=(candidate, *report.candidates[1:]))


SCORES = '[[budget]]\nmodel = "*"\naccuracy = { min = "87%" }\ndrop = { max = "1 pt" }\nagreement = { min = "98%" }\n'


@pytest.mark.parametrize(("accuracy", "status"), [(0.875, Status.PASS), (0.865, Status.FAIL)])
def test_scores_come_from_the_report_under_the_files_digest(bench, accuracy, status):
    file = bench.model()
    report = reported(file, value=accuracy, drop=0.875 - accuracy, agreement=0.99)
    by_metric = {c.metric: c for c in bench.judge(file, budget=SCORES, report=report).checks}
    assert by_metric["accuracy"].status is status and by_metric["agreement"].status is Status.PASS
    assert by_metric["accuracy"].value == accuracy


@pytest.mark.parametrize(("conditions", "status"), [
    ("top1 on 200 test samples", Status.PASS), ("", Status.PASS), ("top1 on 2,000 test samples", Status.ERROR)])
def test_scores_of_other_samples_are_not_compared(bench, conditions, status):
    """A baseline written before samples were kept with it has no word of them."""
    file = bench.model()
    report = reported(file, value=0.87, metric="top1", samples="test", n=200)
    name = ("m.tflite", "", Metric.ACCURACY)
    accepted = Stored(values={name: 0.871}, conditions={name: conditions} if conditions else {})
    budget = '[[budget]]\nmodel = "*"\naccuracy = { fall = "0.5 pt" }\n'
    check = bench.only_check(file, budget=budget, report=report, stored=accepted)
    assert check.status is status and ("same samples" in check.sentence) == (status is Status.ERROR)


def test_a_report_of_other_files_is_no_evidence(bench):
    file = bench.model()
    report = reported(file, value=1.0, drop=0.0, agreement=1.0)
    file.write_text("us=100 and another byte")
    assert {c.status for c in bench.judge(file, budget=SCORES, report=report).checks} == {Status.FAIL}


def test_a_score_that_is_nan_fails(bench):
    file = bench.model()
    report = reported(file, value=float("nan"), drop=float("nan"), agreement=float("nan"))
    assert {c.status for c in bench.judge(file, budget=SCORES, report=report).checks} == {Status.FAIL}


def test_a_candidate_that_was_not_proven_is_no_evidence(bench):
    file = bench.model()
    report = reported(file, value=1.0, drop=0.0, agreement=1.0)
    unproven = replace(report.candidates[0], verified=False)
    report = replace(report, candidates=(unproven, *report.candidates[1:]))
    assert {c.status for c in bench.judge(file, budget=SCORES, report=report).checks} == {Status.FAIL}


OPS = '[[budget]]\nmodel = "*"\nops = { forbid = ["TANH"] }\n'


def test_operations_that_cannot_be_read_are_not_measured(bench):
    def open_model(file):
        raise MeasurementFailed("this host", file, "nobody reads such files")

    assert bench.only_check(bench.model(), budget=OPS, open_model=open_model).status is Status.ERROR
    assert bench.only_check(bench.model(), budget=OPS, open_model=lambda f: ("ADD", "TANH")).status is Status.FAIL
    assert bench.only_check(bench.model(), budget=OPS, open_model=lambda f: ("ADD",)).status is Status.PASS


def test_instructions_of_the_host_are_counted_by_themselves(bench):
    limits = '[[budget]]\nmodel = "*"\ninstructions = { max = 100 }\n'
    assert bench.only_check(bench.model(), budget=limits, count_on_host=lambda f: (100, "x")).status is Status.PASS
    assert bench.device.measured == []
    assert bench.only_check(bench.model(), budget=limits, count_on_host=lambda f: (101, "x")).status is Status.FAIL


def test_instructions_of_a_target_come_with_its_answer(bench):
    limits = '[[budget]]\nmodel = "*"\ntarget = "emulated:cortex-a76"\ninstructions = { max = 100 }\n'
    check = bench.only_check(bench.model(text="instructions=101"), budget=limits, count_on_host=lambda f: (1, "x"))
    assert (check.status, check.value, check.target) == (Status.FAIL, 101, "emulated:cortex-a76")
