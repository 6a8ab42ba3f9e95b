"""`mlopt profile`: what is put together from the measurements, and what other programs read of it."""

import json

import numpy as np
import pytest

from mlopt.profile import exports, session
from mlopt.profile.contract import DeviceFacts, MemoryBytes, OperatorTime, PhaseTimes, RunResult
from mlopt.profile.statistics import summarise
from mlopt.profile.target import TargetUnusable


def operators(*times):
    return tuple(
        OperatorTime(index=i, name=name, op="CONV_2D", layer=layer, unit="XNNPACK", mean_us=us, runs=10)
        for i, (name, layer, us) in enumerate(times)
    )


def profiled(ops, samples=(10.0,) * 20, file="a.tflite"):
    facts = DeviceFacts(name="board", system="s", processor="p")
    result = RunResult(nonce="n", facts=facts, phases=PhaseTimes(), warmup_runs=1, samples_us=samples)
    return session.FileProfile(
        file=file, sha256="0", target="host", facts=facts, phases=PhaseTimes(), distribution=summarise(result),
        samples_us=samples, memory=MemoryBytes(), operators=ops, operators_sum_us=sum(o.mean_us for o in ops),
    )


def test_operations_are_compared_by_name_and_order_the_largest_difference_first():
    before = profiled(operators(("conv", "x", 5.0), ("conv", "y", 2.0), ("add", "z", 1.0)))
    after = profiled(operators(("conv", "", 5.5), ("conv", "", 9.0)))
    changes = session.compare(before, after)
    assert [(c.operation, c.difference_us) for c in changes] == [("conv #2", 7.0), ("add #1", -1.0), ("conv #1", 0.5)]
    assert np.isnan(changes[1].after_us)


def test_a_trace_lays_the_operations_end_to_end():
    trace = json.loads(exports.chrome_trace([profiled(operators(("a", "", 3.0), ("b", "", 4.0)))]))
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert [(e["name"], e["ts"], e["dur"]) for e in spans] == [("a", 0.0, 3.0), ("b", 3.0, 4.0)]


def test_model_explorer_gets_shares_by_layer_in_percent():
    ops = operators(("a", "one", 1.0), ("b", "two", 2.0), ("c", "one", 1.0))
    data = json.loads(exports.model_explorer(profiled(ops)))
    assert data["main"]["results"] == {"one": {"value": 50.0}, "two": {"value": 50.0}}


def test_json_of_a_profile_is_strict_and_keeps_every_raw_time():
    found = session.Profile(settings=session.Settings(), profiles=(profiled((), samples=(1.0, 2.0)),))
    text = json.dumps(session.to_plain(found), allow_nan=False)
    assert json.loads(text)["profiles"][0]["samples_us"] == [1.0, 2.0]
    assert json.loads(text)["profiles"][0]["phases"]["import_ms"] is None


class Recorded:
    """A target that answers from a record."""

    name = "recorded"

    def facts(self):
        return DeviceFacts(name="board", system="s", processor="p")

    def measure(self, file, request):
        ops = operators(("a", "", 4.0)) if request.operators else ()
        return RunResult(nonce=request.nonce, facts=self.facts(), phases=PhaseTimes(load_ms=1.0), warmup_runs=1,
                         samples_us=(5.0,) * request.runs, operators=ops, notes=(f"{request.runs} runs",))


def test_times_and_operators_come_from_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "open_target", lambda text: Recorded())
    (tmp_path / "m.tflite").write_bytes(b"x")
    steps = []
    found = session.profile([tmp_path / "m.tflite"], "recorded", session.Settings(runs=300), steps.append)
    one = found.profiles[0]
    assert one.distribution.p50.us == 5.0 and one.distribution.runs == 300 and one.operators_sum_us == 4.0
    assert one.notes == ("300 runs", "200 runs") and len(steps) == 2


@pytest.mark.parametrize(("name", "places", "words"), [
    ("none.tflite", (), "there is no file"), ("m.txt", (), "no runtime reads m.txt"),
    ("m.tflite", ("z80",), "no instructions are counted there"),
])
def test_what_cannot_be_profiled_is_refused_before_anything_runs(tmp_path, monkeypatch, name, places, words):
    monkeypatch.setattr(session, "open_target", lambda text: Recorded())
    for present in ("m.txt", "m.tflite"):
        (tmp_path / present).write_bytes(b"x")
    with pytest.raises(TargetUnusable, match=words):
        session.profile([tmp_path / name], "recorded", session.Settings(instructions=places), lambda step: None)
