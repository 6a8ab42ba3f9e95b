"""What a budget file may say, and how it says what is wrong."""

import datetime

import pytest
from budget_texts import LATENCY_AND_WAIVER
from hypothesis import given
from hypothesis import strategies as st

from mlopt.gate import units
from mlopt.gate.budget import BudgetError, Inconclusive, Metric, load_budget
from mlopt.gate.units import Unit

FULL = """schema = 1

[defaults]
inconclusive = "warn"
alpha = "4%"
confidence = 0.95
target = "ssh:pi4"

[[budget]]
model = "build/kws*.tflite"
size = { max = "64 KiB", growth = "2%", floor = "512 B", ratchet = true }
arena = { max = "24 KiB" }
macs = { max = "3 M" }
drop = { max = "1 pt" }
accuracy = { min = "86%", fall = "0.5 pt" }
ops = { forbid = ["TANH"] }

[[budget.instructions]]
target = "emulated:cortex-a76"
growth = "1%"

[[budget.latency]]
target = "adb:pixel-8"
""" + LATENCY_AND_WAIVER


def written(tmp_path, text):
    path = tmp_path / "mlopt-budget.toml"
    path.write_text(text)
    return path


def refused(tmp_path, text):
    with pytest.raises(BudgetError) as caught:
        load_budget(written(tmp_path, text))
    return caught.value


def test_every_limit_is_read_with_its_unit_target_and_line(tmp_path):
    budget = load_budget(written(tmp_path, FULL))
    (model,) = budget.models
    size, macs, arena, instructions = model.ceilings
    assert budget.inconclusive is Inconclusive.WARN and budget.alpha == 0.04 and budget.confidence == 0.95
    assert (size.max, size.growth, size.floor, size.ratchet, size.target, size.line) == (65536, 0.02, 512, True, "", 11)
    assert (macs.max, arena.max, arena.target) == (3_000_000, 24576, "ssh:pi4")
    assert (instructions.target, instructions.growth, instructions.line) == ("emulated:cortex-a76", 0.01, 18)
    (latency,) = model.latency
    assert (latency.target, latency.threads, latency.rate_hz, latency.line) == ("adb:pixel-8", 2, 30.0, 22)
    assert [(p.metric, p.max_ms, p.growth) for p in latency.percentiles] == [
        (Metric.P50, None, 0.05), (Metric.P90, 25.0, None)]
    accuracy, drop = model.scores
    assert (accuracy.min, accuracy.fall, drop.max) == (0.86, 0.005, 0.01)
    assert model.waivers[0].until == datetime.date(2027, 3, 1)
    assert model.targets == ("ssh:pi4", "emulated:cortex-a76", "adb:pixel-8")


@pytest.mark.parametrize(("line", "bad", "says"), [
    ('size = { max = "64 KiB", growht = "2%" }', 4, "no key `growht` in `budget.size`. Did you mean `growth`?"),
    ('sise = { max = "64 KiB" }', 4, "no key `sise` in `budget`. Did you mean `size`?"),
    ('size = { max = "64 kilo" }', 4, '`max` takes 65536, "64 KiB" or "1.5 MB"; got \'64 kilo\''),
    ('size = { max = "0.3 B" }', 4, "`max` is no whole number of bytes"),
    ("size = { max = -1 }", 4, "`max` takes"),
    ("size = { max = true }", 4, "`max` takes"),
    ("size = { floor = 5 }", 4, "`size` limits nothing"),
    ("size = { max = 5, floor = 5 }", 4, "`floor` of `size` goes with `growth`"),
    ("size = 5", 4, "`size` takes tables"),
    ("arena = { max = 5, ratchet = 1 }", 4, "`ratchet` takes true or false; got 1"),
    ("size = { max = 5, target = 'host' }", 4, "no key `target`"),
    ("latency = { p50 = { max = 25 } }", 4, "`max` takes \"25 ms\""),
    ("latency = { p51 = { max = '1 ms' } }", 4, "no key `p51`"),
    ("latency = { threads = 2 }", 4, "`latency` limits nothing"),
    ("latency = { threads = 0, p50 = { growth = 0.1 } }", 4, "`threads` takes a whole number from 1"),
    ("latency = { p99 = { growth = '5%' } }", 4, "`growth` of `p99` is not offered"),
    ("latency = { runs = 5, p90 = { growth = '5%' } }", 4, "needs 17 `runs`"),
    ("", 2, "the budget of 'a' limits nothing"),
    ("ops = { }", 4, "`ops` limits nothing"),
    ("accuracy = { max = 1 }", 4, "no key `max`"),
    ("size = {max=1}\nwaiver = { metric = 'sise', until = 2027-01-01, reason = 'x' }", 5, "Did you mean 'size'?"),
    ("size = {max=1}\nwaiver = { metric = 'size', until = '2027-01-01', reason = 'x' }", 5, "a day without quotes"),
    ("size = {max=1}\nwaiver = { metric = 'size', until = 2027-01-01 }", 5, "`reason` is missing"),
    ("size = {max=1}\nwaiver = { metric = 'heap', until = 2027-01-01, reason = 'x' }", 5, "`heap`, which this budget"),
])
def test_what_does_not_fit_is_named_with_its_line(tmp_path, line, bad, says):
    error = refused(tmp_path, f'schema = 1\n[[budget]]\nmodel = "a"\n{line}\n')
    assert says in str(error)
    assert error.line == bad


@pytest.mark.parametrize(("text", "says"), [
    ("", "`schema` is missing; this mlopt reads schema 1"), ("schema = 2", "`schema` is 2"),
    ("schema = 1", "it has no [[budget]]"), ("schema = ", "this is no TOML"), ("schema = 1\nbudgets = []", "`budget`"),
    ("schema = 1\n[defaults]\nalpha = 0", "`alpha` lies between 0 and 0.5"),
    ("schema = 1\n[defaults]\ninconclusive = 'warm'", "Did you mean 'warn'?"),
])
def test_a_file_that_is_no_budget_says_so(tmp_path, text, says):
    assert says in str(refused(tmp_path, text))


def test_a_missing_file_says_how_to_name_another(tmp_path):
    with pytest.raises(BudgetError, match=r"there is no such file.*--budget"):
        load_budget(tmp_path / "none.toml")


def test_p99_is_refused_under_662_runs_at_99_percent(tmp_path):
    limits = "schema = 1\n[[budget]]\nmodel = 'a'\n[budget.latency]\np99 = {{ max = '5 ms' }}\nruns = {runs}\n"
    assert "`p99` at confidence 0.99 needs 662 runs; 5 processes of 132 runs are 660" in str(
        refused(tmp_path, limits.format(runs=132)))
    assert load_budget(written(tmp_path, limits.format(runs=133))).models[0].latency[0].runs == 133


@given(st.integers(0, 2**32), st.sampled_from(["B", "KiB", "MiB", "kB", "MB"]))
def test_a_size_is_exact(number, unit):
    factor = {"B": 1, "KiB": 1024, "MiB": 1024**2, "kB": 1000, "MB": 1000**2}[unit]
    assert units.parse(f"{number} {unit}", Unit.BYTES) == number * factor


@given(st.integers(0, 100_000))
def test_a_percentage_is_the_fraction_that_its_digits_say(thousandths):
    assert units.parse(f"{thousandths / 1000}%", Unit.SHARE) == pytest.approx(thousandths / 100_000, rel=1e-15)
