"""Calibration: what a machine cannot tell apart, kept for it, and refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mlopt.gate import noise
from mlopt.gate.budget import BudgetError, LatencyBudget, Metric
from mlopt.gate.measuring import latency_request
from mlopt.gate.rules import LOOKS

ENTRY = LatencyBudget(target="host", percentiles=())


def calibrated(bench, layout, **settings):
    bench.device.layout = layout
    file = bench.model()
    facts = bench.device("host", latency_request(ENTRY))(file).facts
    floors, processes = noise.calibrate(
        file, "m.tflite", measure=bench.device("host", latency_request(ENTRY)), facts=facts, entry=ENTRY,
        metrics=[Metric.P50, Metric.P90], alpha=0.05, seed=0, **settings)
    return floors, processes, facts


def test_the_spread_of_a_file_beside_itself_is_found(bench):
    floors, processes, _ = calibrated(bench, 0.03, pairs=200)
    assert [f.metric for f in floors] == [Metric.P50, Metric.P90] and len(processes) == 400
    assert floors[0].spread == pytest.approx(0.03 * 2**0.5, rel=0.15)      # the difference of two layouts
    assert floors[0].mean == pytest.approx(0.0, abs=0.01)


def test_a_calibration_measures_as_a_gate_does(bench):
    """In turns in one process; and where a gate would take two processes for a pair, in two."""
    calibrated(bench, 0.03, pairs=20)
    assert set(bench.device.measured[1:]) == {"m.tflite m.tflite"}
    bench.device.measured = []
    entry = replace(ENTRY, rate_hz=30.0)
    noise.calibrate(bench.folder / "m.tflite", "m.tflite", measure=bench.device("host", latency_request(entry)),
                    facts=bench.device("host", latency_request(entry))(bench.folder / "m.tflite").facts, entry=entry,
                    metrics=[Metric.P50], alpha=0.05, seed=0, pairs=6)
    assert bench.device.measured == ["m.tflite"] * 13


def test_the_floor_is_half_the_last_looks_interval():
    seen = np.random.default_rng(5).normal(0.001, 0.04, 24)
    half = stats.t.ppf(1 - 0.05 / len(LOOKS), 23) * seen.std(ddof=1) / 24**0.5
    assert noise.floor_growth(list(seen), alpha=0.05) == pytest.approx(np.expm1(half))


def test_a_machine_that_drifts_inside_pairs_has_its_drift_as_the_floor():
    assert noise.floor_growth([0.1] * 23 + [0.1001], alpha=0.05) == pytest.approx(np.expm1(0.1), rel=1e-3)


def test_floors_are_kept_for_the_device_and_no_other(bench, tmp_path):
    floors, _, facts = calibrated(bench, 0.03)
    noise.remember(floors, facts, "host", tmp_path / "noise")
    assert noise.recall(facts, "host", tmp_path / "noise") == floors
    assert noise.recall(replace(facts, processor="another"), "host", tmp_path / "noise") == ()
    assert noise.recall(facts, "ssh:pi4", tmp_path / "noise") == ()
    assert noise.recall(replace(facts, temperature_c=70.0, frequency_khz=(1,)), "host", tmp_path / "noise") == floors


def test_calibrating_again_replaces_the_same_file_and_keeps_others(bench, tmp_path):
    floors, _, facts = calibrated(bench, 0.03)
    other = tuple(replace(f, model="other.tflite") for f in floors)
    newer = tuple(replace(f, spread=0.5) for f in floors)
    for each in (floors, other, newer):
        noise.remember(each, facts, "host", tmp_path)
    assert set(noise.recall(facts, "host", tmp_path)) == {*other, *newer}


def test_a_file_without_a_floor_of_its_own_takes_the_worst_of_the_same_conditions(bench):
    (floor, _), _, _ = calibrated(bench, 0.03)
    worse = replace(floor, model="b", growth=0.5)
    elsewhere = replace(floor, model="c", growth=0.9, conditions="4 threads")
    assert noise.floor_for([floor, worse, elsewhere], "new", ENTRY, Metric.P50) == worse
    assert noise.floor_for([floor, worse, elsewhere], "m.tflite", ENTRY, Metric.P50) == floor
    assert noise.floor_for([floor], "m.tflite", ENTRY, Metric.P99) is None


def test_a_tolerance_below_one_and_a_half_floors_is_refused_with_the_figures(bench, tmp_path):
    (floor, _), _, _ = calibrated(bench, 0.03)
    floor = replace(floor, growth=0.04, spread=0.08)
    noise.refuse_below(floor, 0.06, model="m.tflite", budget=tmp_path, line=3)
    with pytest.raises(BudgetError, match=r"5\.9% of p50.*spread of 8%.*floor is 4%.*least tolerance 6%"):
        noise.refuse_below(floor, 0.059, model="m.tflite", budget=tmp_path, line=3)


def test_a_gate_refuses_before_it_measures(bench):
    (floor, _), _, _ = calibrated(bench, 0.03)
    file = bench.model(base="us=100")
    bench.device.measured = []
    limits = '[[budget]]\nmodel = "*.tflite"\n[budget.latency]\np50 = { growth = "0.1%" }\n'
    with pytest.raises(BudgetError, match="the least tolerance"):
        bench.judge(file, budget=limits, base=True, floor_of=lambda *_: floor)
    assert bench.device.measured == []


def test_a_damaged_calibration_says_so(bench, tmp_path):
    floors, _, facts = calibrated(bench, 0.03)
    noise.remember(floors, facts, "host", tmp_path).write_text("[{]")
    with pytest.raises(BudgetError, match="Delete it"):
        noise.recall(facts, "host", tmp_path)
