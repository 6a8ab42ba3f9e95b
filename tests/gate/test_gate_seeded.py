"""Whole gates on the made-up device, many times: what CI would have said."""

from dataclasses import replace

import pytest
from reports import sample_report

from mlopt import files
from mlopt.exits import Exit
from mlopt.gate.verdict import Status

SIZE = '[[budget]]\nmodel = "*.tflite"\nsize = { growth = "5%" }\n'
GROWTH = SIZE + '[budget.latency]\nruns = 50\np50 = { growth = "5%" }\n'


def test_fifty_gates_of_an_unchanged_model_raise_no_false_alarm(bench):
    file = bench.model(text="us=100", base="us=100")
    exits = [bench.judge(file, budget=GROWTH, base=True, seed=seed).exit for seed in range(50)]
    assert exits.count(Exit.LIMIT_BROKEN) == 0 and exits.count(Exit.DONE) >= 49


def test_ten_percent_more_latency_is_caught_in_twenty_of_twenty(bench):
    file = bench.model(text="us=110", base="us=100")
    found = [bench.judge(file, budget=GROWTH, base=True, seed=seed).checks[-1].status for seed in range(20)]
    assert found == [Status.FAIL] * 20


def test_ten_percent_more_bytes_are_caught_in_twenty_of_twenty(bench):
    for seed in range(20):
        base = "us=100 " + "#" * (100 + 37 * seed)
        file = bench.model(text=base + "#" * (len(base) // 10 + 1), base=base)
        file.write_text(file.read_text().replace(" #", " x=#"))
        assert bench.judge(file, budget=SIZE, base=True).exit is Exit.LIMIT_BROKEN


@pytest.mark.parametrize("seed", range(20))
def test_one_point_less_accuracy_is_caught(bench, seed):
    report = sample_report(n=200, seed=seed)
    first = report.candidates[0]
    file = bench.model()
    limits = f'[[budget]]\nmodel = "*"\naccuracy = {{ min = {first.evidence.value - 0.005:.4f} }}\n'
    for lost, exit in ((0.0, Exit.DONE), (0.01, Exit.LIMIT_BROKEN)):
        evidence = replace(first.evidence, value=first.evidence.value - lost)
        changed = replace(first, sha256=files.digest(file), evidence=evidence)
        verdict = bench.judge(file, budget=limits, report=replace(report, candidates=(changed,)))
        assert verdict.exit is exit
