"""Damaged reports, baselines, budgets, answers of devices, manifests and recipes: read, or refused in our words.

Through the functions that the commands call. What is refused ends with the exit code of bad input or of a lost device,
never as a bug; what is read gave figures that can be.
"""

import datetime
import json
import math
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from budget_texts import LATENCY_AND_WAIVER
from mutations import mutations
from reports import sample_report
from values_spoiled import spoiled_json, spoiled_toml

from mlopt import files, manifest, plain
from mlopt.cli.exit_codes import explained
from mlopt.exits import Exit
from mlopt.gate import baseline as stored_figures
from mlopt.gate import evidence, job, noise
from mlopt.gate.baseline import Stored
from mlopt.gate.budget import Metric, load_budget
from mlopt.gate.judge import Case, judge
from mlopt.gate.measuring import MeasurementFailed, checked
from mlopt.gate.noise import Floor
from mlopt.profiling.contract import DeviceFacts, MemoryBytes, OperatorTime, PhaseTimes, RunRequest, RunResult
from mlopt.profiling.energy import energy_of
from mlopt.profiling.statistics import summarise
from mlopt.profiling.targets.bundle import read_result
from mlopt.recipe.load import load as load_recipe
from mlopt.render.json import to_json

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
TODAY = datetime.date(2027, 1, 15)
SCORES = """schema = 1
[[budget]]
model = "m*.tflite"
size = { max = "64 KiB", growth = "2%", floor = "512 B", ratchet = true }
macs = { max = "3 G", growth = "1%" }
ops = { forbid = ["TANH"], ratchet = true }
accuracy = { min = "1%", fall = "50 pt" }
drop = { max = "90%" }
agreement = { min = "1%", fall = "50 pt" }
"""
BUDGET = SCORES + """arena = { max = "24 KiB", target = "host" }

[defaults]
inconclusive = "warn"
alpha = "4%"
confidence = 0.95

[[budget.latency]]
target = "host"
cpus = [0, 1]
runs = 100
most_seconds = 1.5
""" + LATENCY_AND_WAIVER


def refuse_to_measure(target, request):
    def measure(file, **both):
        raise MeasurementFailed(target, file, "nothing is measured here")

    return measure


def check(folder, *, budget, report=None, given=("m.tflite",)):
    """As `mlopt gate check` does, on a device that measures nothing."""
    found = judge(Case(
        budget=load_budget(budget), files=tuple(folder / name for name in given), measures=refuse_to_measure,
        open_model=lambda file: ("ADD",), today=TODAY, baseline=folder / "m.tflite",
        stored=stored_figures.read(folder / stored_figures.NAME), report=job._report(report),
    ))
    for one in found.checks:
        if one.status.value == "pass":
            assert math.isfinite(one.value) and (one.unit.value not in ("share", "points") or -1 <= one.value <= 1), one
    return found


@pytest.fixture
def held(tmp_path, capsys, monkeypatch):
    """Give each damaged text to a reader; some are read all the same, and some are not."""
    monkeypatch.delenv("MLOPT_TRACEBACK", raising=False)

    def hold(path, texts, read, *, allowed=(Exit.DONE, Exit.BAD_INPUT)):
        codes = dict.fromkeys(allowed, 0)
        for number, text in enumerate(texts):
            path.write_bytes(text)
            before = sorted(tmp_path.rglob("*"))
            code = explained(read)
            said = capsys.readouterr().err
            assert code in allowed, (number, code, said, text[:2000])
            assert len(said) < 3000 and (code is Exit.DONE or said.startswith("mlopt: ")), (number, said)
            assert sorted(tmp_path.rglob("*")) == before, "something was left behind"
            codes[code] += 1
        assert 0 < codes[Exit.DONE] < sum(codes.values()), (codes, "everything was read, or nothing")

    (tmp_path / "m.tflite").write_bytes(b"the bytes of a model")
    return hold


def both_kinds(document, count):
    """Half of the damage to the bytes, half to single values."""
    text = json.dumps(document, indent=1).encode()
    return chain(mutations(text, count - count // 2), spoiled_json(document, count // 2))


@pytest.fixture
def report(tmp_path, held):
    first = replace(sample_report(n=200).candidates[0], sha256=files.digest(tmp_path / "m.tflite"))
    full = sample_report(n=200)
    return json.loads(to_json(replace(full, candidates=(first, *full.candidates[1:3]))))


def accepted():
    """A baseline of every kind of figure."""
    names = {metric: ("m.tflite", "", metric) for metric in (
        Metric.SIZE, Metric.ZIPPED, Metric.MACS, Metric.OPS, Metric.ACCURACY, Metric.DROP, Metric.AGREEMENT)}
    arena = ("m.tflite", "host", Metric.ARENA)
    values = {
        names[Metric.SIZE]: 5000, names[Metric.ZIPPED]: 4000, names[Metric.MACS]: 10**10, names[Metric.OPS]: ("ADD",),
        names[Metric.ACCURACY]: 0.5, names[Metric.DROP]: 0.01, names[Metric.AGREEMENT]: 0.9, arena: 16512,
    }
    return Stored(values=values, conditions={arena: "LiteRT 2.3.0"})


def test_a_damaged_report_is_read_or_refused(tmp_path, held, report, fuzz_mutations):
    budget, path = tmp_path / "mlopt-budget.toml", tmp_path / "report.json"
    budget.write_text(SCORES)
    stored_figures.write(tmp_path / stored_figures.NAME, accepted())
    held(path, both_kinds(report, fuzz_mutations), lambda: check(tmp_path, budget=budget, report=path))


def test_a_damaged_baseline_is_read_or_refused(tmp_path, held, fuzz_mutations):
    budget, path = tmp_path / "mlopt-budget.toml", tmp_path / stored_figures.NAME
    budget.write_text(SCORES)
    document = json.loads(stored_figures.to_json(accepted()))
    held(path, both_kinds(document, fuzz_mutations), lambda: check(tmp_path, budget=budget))


def test_a_damaged_budget_is_read_or_refused(tmp_path, held, fuzz_mutations):
    path = tmp_path / "mlopt-budget.toml"
    texts = chain(mutations(BUDGET.encode(), fuzz_mutations - fuzz_mutations // 2),
                  spoiled_toml(BUDGET, fuzz_mutations // 2))
    held(path, texts, lambda: check(tmp_path, budget=path, given=()))


def answer():
    return plain.to_plain(RunResult(
        nonce="a", facts=DeviceFacts(name="a board", system="none", processor="none", features=("asimddp",), cores=4),
        phases=PhaseTimes(load_ms=1.0, compile_ms=2.0, first_ms=3.0), warmup_runs=5, samples_us=(100.0, 99.5) * 6,
        memory=MemoryBytes(file=5000, weights=4000, arena=16512, heap_delta=20000), context_switches=3,
        operators=(OperatorTime(index=0, name="Conv", op="CONV_2D", layer="c", unit="XNNPACK", mean_us=50.0, runs=5),),
        extra={"energy_uj": '{"package": 5.0}', "energy_inferences": "12", "energy_seconds": "0.5",
               "instructions": "999"},
    ))


def without_nan(value):
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def test_a_devices_damaged_answer_is_a_lost_measurement_or_one_that_can_be(tmp_path, held, fuzz_mutations):
    path = tmp_path / "result.json"
    request = RunRequest(file="m", format="tflite", nonce="a")

    def read():
        result = read_result(path, request, "a board")
        evidence.of_runs([result, result], "digest", "a board")
        energy_of(result)
        if not result.error:
            summarise(checked(result, request, "a board", path))

    held(path, both_kinds(without_nan(answer()), fuzz_mutations), read,
         allowed=(Exit.DONE, Exit.BAD_INPUT, Exit.LOST))


def test_a_damaged_calibration_is_read_or_refused(tmp_path, held, fuzz_mutations):
    facts = DeviceFacts(name="a board", system="none", processor="none")
    floor = Floor(model="m.tflite", metric=Metric.P50, growth=0.01, spread=0.02, mean=0.001, pairs=24, device="a board",
                  conditions="1 thread, back to back")
    path = noise.remember([floor], facts, "host", root=tmp_path)
    held(path, both_kinds(json.loads(path.read_text()), fuzz_mutations),
         lambda: noise.recall(facts, "host", root=tmp_path))


@pytest.mark.parametrize("schema", [1, 2])
def test_a_damaged_manifest_is_read_or_refused(schema, tmp_path, held, fuzz_mutations):
    document = json.loads((GOLDEN / f"manifest-{schema}.json").read_text())
    path = tmp_path / manifest.NAME
    path.write_text(json.dumps(document))
    assert manifest.read(path).files[0].path
    held(path, both_kinds(document, fuzz_mutations), lambda: manifest.read(path))


def test_a_damaged_recipe_is_read_or_refused(tmp_path, held, fuzz_mutations):
    path = tmp_path / "mine.yaml"
    shipped = (ROOT / "recipes/mlopt_recipes").rglob("*.yaml")
    text = max((file.read_bytes() for file in shipped), key=len)
    held(path, mutations(text, fuzz_mutations), lambda: load_recipe(str(path)))
