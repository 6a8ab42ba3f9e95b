"""Energy counters of a made-up /sys: what is read, what wraps, what is refused."""

import json
import time

import pytest

from mlopt.profiling.contract import DeviceFacts, PhaseTimes, RunResult
from mlopt.profiling.energy import energy_of
from mlopt.profiling.runner.energy import Meter, counters


@pytest.fixture
def powercap(tmp_path):
    for zone, name, value in (("intel-rapl:0", "package-0", 1000), ("intel-rapl:0:0", "core", 600),
                              ("intel-rapl:0:1", "dram", 50), ("intel-rapl:1", "psys", 5000),
                              ("intel-rapl-mmio:0", "package-0", 1000)):
        folder = tmp_path / "powercap" / zone
        folder.mkdir(parents=True)
        for file, text in (("name", name), ("energy_uj", value), ("max_energy_range_uj", 1_000_000)):
            (folder / file).write_text(f"{text}\n")
    return tmp_path / "powercap"


def said(extra):
    facts = DeviceFacts(name="b", system="s", processor="p")
    return energy_of(RunResult(nonce="n", facts=facts, phases=PhaseTimes(), warmup_runs=1, samples_us=(1.0,),
                               extra=extra))


def test_packages_and_memory_are_read_and_nothing_is_counted_twice(powercap, tmp_path):
    assert counters(powercap, tmp_path / "none") == ({"package-0": (1000, 1_000_000), "dram 0": (50, 1_000_000)}, "")


def test_energy_of_an_inference_is_the_difference_over_their_number(powercap, tmp_path):
    meter = Meter(powercap, tmp_path / "none")
    (powercap / "intel-rapl:0/energy_uj").write_text("7000")
    (powercap / "intel-rapl:0:1/energy_uj").write_text("20")            # the counter started again
    time.sleep(0.03)
    found = said(meter.stop(100))
    assert {part.name: part.per_inference_uj for part in found.parts} == {"package-0": 60.0, "dram 0": 9999.7}
    assert found.per_inference_uj == pytest.approx(10059.7) and found.reason == ""
    assert 0 < found.watts < (6000 + 999_970) / 1e6 / 0.03 + 1e-9


def test_a_phones_rails_are_read_by_name(tmp_path):
    folder = tmp_path / "iio/iio:device0"
    folder.mkdir(parents=True)
    (folder / "energy_value").write_text("t=81234\nCH0(T=81234)[S1M_VDD_CPU_BIG], 5182\nCH1(T=81234)[VSYS], 7\n")
    found, why = counters(tmp_path / "none", tmp_path / "iio")
    assert {name: value for name, (value, _) in found.items()} == {"S1M_VDD_CPU_BIG": 5182, "VSYS": 7} and not why


def test_too_short_a_time_is_refused(powercap, tmp_path):
    found = said(Meter(powercap, tmp_path / "none").stop(100))
    assert found.parts == () and "the counters need 20" in found.reason


def test_a_device_without_counters_and_a_runner_that_reads_none_say_so(tmp_path):
    found = said(Meter(tmp_path / "none", tmp_path / "none").stop(5))
    assert found.reason == "this device offers no RAPL domains and no power rails"
    assert said({}).reason == "this device's runner reads no energy counters"


def test_counters_that_cannot_be_read_are_named(powercap, tmp_path):
    (powercap / "intel-rapl:0/energy_uj").write_text("not a number")
    (powercap / "intel-rapl:0:1/name").write_text("core")
    _, why = counters(powercap, tmp_path / "none")
    assert "intel-rapl:0/energy_uj cannot be read" in why


@pytest.mark.parametrize("text", ["", "[]", "{\"a\": \"x\"}", json.dumps({"a": None})])
def test_a_result_with_nonsense_for_energy_is_no_energy(text):
    found = said({"energy_uj": text, "energy_inferences": "5", "energy_seconds": "1"})
    assert found.parts == () and "cannot be read" in found.reason
    assert said({"energy_uj": "{\"a\": 1}", "energy_inferences": "0", "energy_seconds": "1"}).parts == ()
