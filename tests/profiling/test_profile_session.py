"""`mlopt profile`: what is put together from the measurements, and what other programs read of it."""

import json

import numpy as np
import pytest

from mlopt.profiling import exports, session
from mlopt.profiling.contract import DeviceFacts, MemoryBytes, OperatorTime, PhaseTimes, RunResult
from mlopt.profiling.statistics import summarise
from mlopt.profiling.target import TargetUnusable


def operators(*times):
    """Each (name, layer, us), or with the format's operation behind it."""
    return tuple(
        OperatorTime(index=i, name=name, op="".join(op), layer=layer, unit="XNNPACK", mean_us=us, runs=10)
        for i, (name, layer, us, *op) in enumerate(times)
    )


def profiled(ops, samples=(10.0,) * 20, file="a.tflite"):
    facts = DeviceFacts(name="board", system="s", processor="p")
    result = RunResult(nonce="n", facts=facts, phases=PhaseTimes(), warmup_runs=1, samples_us=samples)
    return session.FileProfile(
        file=file, sha256="0", target="host", facts=facts, phases=PhaseTimes(), distribution=summarise(result),
        samples_us=samples, memory=MemoryBytes(), operators=ops, operators_sum_us=sum(o.mean_us for o in ops),
    )


def test_operations_are_compared_by_kind_and_order_the_largest_difference_first():
    convolution = "Convolution (F32)"
    before = profiled(operators((convolution, "x", 5.0), (convolution, "y", 2.0), ("Add (ND)", "z", 1.0)))
    after = profiled(operators(("Convolution (QC8)", "", 5.5), ("Convolution (QC8)", "", 9.0)))
    changes = session.compare(before, after)
    assert [(c.operation, c.difference_us) for c in changes] == [
        ("Convolution #2", 7.0), ("Add #1", -1.0), ("Convolution #1", 0.5),
    ]
    assert np.isnan(changes[1].after_us)


def test_the_formats_operation_is_compared_whichever_runtime_kernel_ran_it():
    before = profiled(operators(("Average Pooling (F32)", "", 3.0, "AVERAGE_POOL_2D")))
    after = profiled(operators(("AVERAGE_POOL_2D", "", 1.0, "AVERAGE_POOL_2D")))
    assert [(c.operation, c.difference_us) for c in session.compare(before, after)] == [("AVERAGE_POOL_2D #1", -2.0)]


def test_what_runs_on_behalf_of_an_operation_is_never_taken_for_the_next_one():
    two = (("Add (ND)", "", 4.0, "ADD"), ("Clamp (NC)", "", 1.0, "ADD"), ("Add (ND)", "", 8.0, "ADD"))
    before, after = profiled(operators(*two)), profiled(operators(two[0], two[2]))
    assert {c.operation: c.difference_us for c in session.compare(before, after)} == {
        "ADD, clamp #1": -1.0, "ADD #1": 0.0, "ADD #2": 0.0,
    }


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
    plain = json.loads(text)["profiles"][0]
    assert plain["phases"]["import_ms"] is None and plain["operators_plain_us"] is None
    assert plain["energy"]["watts"] is None and plain["energy"]["reason"]


class Recorded:
    """A target that answers from a record."""

    name = "recorded"

    def facts(self):
        return DeviceFacts(name="board", system="s", processor="p")

    def measure(self, file, request):
        ops = operators(("a", "", 4.0)) if request.operators else ()
        extra = {"operators_plain_us": "4.5"} if request.operators else {"energy_unavailable": "no rails"}
        return RunResult(nonce=request.nonce, facts=self.facts(), phases=PhaseTimes(load_ms=1.0), warmup_runs=1,
                         samples_us=(5.0,) * request.runs, operators=ops, notes=(f"{request.runs} runs",), extra=extra,
                         operators_invoke_us=9.0 if request.operators else float("nan"))


def test_times_and_operators_come_from_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "open_target", lambda text: Recorded())
    (tmp_path / "m.tflite").write_bytes(b"x")
    steps = []
    found = session.profile([tmp_path / "m.tflite"], "recorded", session.Settings(runs=300), steps.append)
    one = found.profiles[0]
    assert one.distribution.p50.us == 5.0 and one.distribution.runs == 300 and one.operators_sum_us == 4.0
    assert one.notes == ("300 runs", "200 runs")
    assert (one.operators_plain_us, one.operators_invoke_us) == (4.5, 9.0)
    assert [(unit.name, unit.operators, unit.us, unit.share) for unit in one.units] == [("XNNPACK", 1, 4.0, 1.0)]
    assert one.energy.reason == "no rails"
    assert [(s.file, s.doing, s.on, s.number, s.total) for s in steps] == [
        ("m.tflite", "times and memory", "recorded", 1, 2), ("m.tflite", "operators", "recorded", 2, 2),
    ]


def test_processes_are_numbered_over_all_files(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "open_target", lambda text: Recorded())
    paths = [tmp_path / "a.tflite", tmp_path / "b.onnx"]
    for path in paths:
        path.write_bytes(b"x")
    steps = []
    session.profile(paths, "recorded", session.Settings(runs=3), steps.append)
    assert [(s.file, s.number, s.total) for s in steps] == [
        ("a.tflite", 1, 4), ("a.tflite", 2, 4), ("b.onnx", 3, 4), ("b.onnx", 4, 4),
    ]


def test_a_mistake_in_the_last_name_costs_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "open_target", lambda text: Recorded())
    (tmp_path / "a.tflite").write_bytes(b"x")
    steps = []
    with pytest.raises(TargetUnusable, match="there is no file"):
        session.profile([tmp_path / "a.tflite", tmp_path / "b.tflite"], "r", session.Settings(), steps.append)
    assert steps == []


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
