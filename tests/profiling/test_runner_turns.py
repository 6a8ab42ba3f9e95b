"""Two files in one process: bursts that take turns, in the Python runner and in the native one."""

import random
from dataclasses import replace

import numpy as np
import pytest
from needs import needs_program

from mlopt.errors import ModelUnreadable
from mlopt.profiling.contract import Arrival, RunRequest
from mlopt.profiling.runner import timing, turns
from mlopt.profiling.target import TargetLost
from mlopt.profiling.targets.host import HostTarget

REQUEST = RunRequest(file="", format="tflite", nonce="", runs=60, most_seconds=2, memory=False, order_seed=3)


def recorded(planned, runs, seed=0, most_seconds=5.0, takes_s=0.0):
    calls = []

    def of(name):
        return lambda: (calls.append(name), timing.time.sleep(takes_s))

    timed = turns.in_turns(of("a"), of("b"), runs=runs, most_seconds=most_seconds, planned=planned,
                           draw=random.Random(seed))
    return "".join(calls), timed


def test_each_pair_of_bursts_holds_both_files_in_an_order_that_is_drawn():
    calls, (one, other) = recorded(turns.Turns(samples=4, batch=1, lead=1), runs=40)
    pairs = [calls[at : at + 10] for at in range(0, len(calls), 10)]
    assert len(pairs) == 10 and set(pairs) == {"aaaaabbbbb", "bbbbbaaaaa"}
    assert len(one.samples_us) == len(other.samples_us) == 40 and one.batch == 1


def test_the_order_comes_from_the_seed():
    planned = turns.Turns(samples=1, batch=1, lead=0)
    assert recorded(planned, 30, seed=4)[0] == recorded(planned, 30, seed=4)[0] != recorded(planned, 30, seed=5)[0]


def test_the_last_burst_is_cut_to_the_runs_asked_for():
    calls, (one, other) = recorded(turns.Turns(samples=4, batch=2, lead=1), runs=6)
    assert len(one.samples_us) == len(other.samples_us) == 6
    assert calls.count("a") == calls.count("b") == (1 + 8) + (1 + 4)


def test_timing_stops_at_its_limit_after_a_whole_pair_of_bursts():
    calls, (one, other) = recorded(turns.Turns(samples=2, batch=1, lead=0), 1000, most_seconds=0.05, takes_s=0.005)
    assert 2 <= len(one.samples_us) == len(other.samples_us) <= 12 and len(calls) % 4 == 0
    calls, (one, _) = recorded(turns.Turns(samples=1, batch=1, lead=0), 1000, most_seconds=0.0, takes_s=0.005)
    assert sorted(calls) == ["a", "b"] and one.samples_us[0] >= 5000


def test_the_call_that_fills_the_caches_again_is_not_timed(monkeypatch):
    """A clock by which the first call after the other file takes 30 us more than the 100 us of any other."""
    now, last = [0], [""]

    def of(name):
        def call():
            now[0] += 100_000 + (30_000 if last[0] != name else 0)
            last[0] = name

        return call

    for lead, worst in ((1, 100.0), (0, 130.0)):
        with monkeypatch.context() as patched:
            patched.setattr(turns.time, "perf_counter_ns", lambda: now[0])
            one, other = turns.in_turns(of("a"), of("b"), runs=20, most_seconds=5, draw=random.Random(0),
                                        planned=turns.Turns(samples=5, batch=1, lead=lead))
        assert max(one.samples_us) == max(other.samples_us) == worst
    assert np.median(one.samples_us) == 100.0


@pytest.mark.parametrize(("one_us", "other_us", "samples", "batch", "lead"), [
    (5.0, 5.0, 20, 20, 1),                  # 20 samples of 20 inferences of 5 us
    (80.0, 80.0, 25, 1, 1), (80.0, 240.0, 12, 1, 1),
    (15.0, 4000.0, 1, 7, 1),                # the batch of the shorter: both hold as many inferences in a sample
    (3000.0, 3000.0, 1, 1, 1), (500_000.0, 500_000.0, 1, 1, 0), (500_000.0, 100.0, 1, 1, 1)])
def test_a_burst_lasts_two_milliseconds_or_one_inference(one_us, other_us, samples, batch, lead):
    assert turns.turns_for(one_us, other_us) == turns.Turns(samples, batch, lead)


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_a_file_beside_itself_takes_as_long(request, format):
    file = request.getfixturevalue(f"tiny_{format}")
    result = HostTarget().measure(file, replace(REQUEST, format=format, runs=300), file)
    assert result.error == "" and len(result.samples_us) == len(result.beside_samples_us) == 300
    assert result.burst >= 1 and result.warmup_runs >= 5 and np.isnan(result.phases.load_ms)
    assert 0.5 < np.median(result.samples_us) / np.median(result.beside_samples_us) < 2


def test_the_second_files_times_are_its_own(tiny_onnx, tmp_path):
    """A chain of products against a network that takes far less."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.eye(384, dtype=np.float32), "w")
    nodes = [helper.make_node("MatMul", [f"x{i}", "w"], [f"x{i + 1}"]) for i in range(8)]
    graph = helper.make_graph(
        nodes, "long", [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [384, 384])],
        [helper.make_tensor_value_info("x8", TensorProto.FLOAT, [384, 384])], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "l.onnx")
    request = replace(REQUEST, format="onnx", runs=20)
    for seed in (0, 1):                     # loads one first, then the other
        result = HostTarget().measure(tiny_onnx, replace(request, order_seed=seed), tmp_path / "l.onnx")
        assert 5 * np.median(result.samples_us) < np.median(result.beside_samples_us)
        swapped = HostTarget().measure(tmp_path / "l.onnx", replace(request, order_seed=seed), tiny_onnx)
        assert np.median(swapped.samples_us) > 5 * np.median(swapped.beside_samples_us)


def test_what_two_files_cannot_do_in_turns_is_refused_in_words(tiny_onnx, tmp_path):
    request = replace(REQUEST, format="onnx", arrival=Arrival.FIXED_RATE, rate_hz=30)
    assert "at a fixed rate one would wait for the other" in HostTarget().measure(tiny_onnx, request, tiny_onnx).error
    with pytest.raises(ModelUnreadable, match=r"absent\.onnx"):
        HostTarget().measure(tiny_onnx, request, tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"this is no model")
    broken = HostTarget().measure(tiny_onnx, replace(request, arrival=Arrival.BACK_TO_BACK), tmp_path / "broken.onnx")
    assert broken.error and broken.samples_us == broken.beside_samples_us == ()


def test_a_second_file_that_hangs_is_named(tiny_onnx, tmp_path, monkeypatch):
    import onnx
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["x"], ["y"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["count"], value_int=2**60),
         helper.make_node("Constant", [], ["yes_"], value_int=1),
         helper.make_node("Cast", ["yes_"], ["yes"], to=TensorProto.BOOL),
         helper.make_node("Loop", ["count", "yes", "in"], ["out"], body=body)], "endless",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "e.onnx")
    with pytest.raises(TargetLost, match=r"measuring tiny\.onnx and e\.onnx in turns: the process was stopped after"):
        HostTarget(start_seconds=3).measure(tiny_onnx, replace(REQUEST, format="onnx", most_seconds=0.1),
                                            tmp_path / "e.onnx")


def test_the_native_runner_takes_turns_too(tiny_tflite, tmp_path):
    needs_program("cc")
    import json
    import subprocess

    from mlopt import plain
    from mlopt.profiling.native import build

    def run(**changed):
        asked = replace(REQUEST, **{"file": str(tiny_tflite), "beside": str(tiny_tflite), "nonce": "n", **changed})
        (tmp_path / "request.json").write_text(json.dumps(plain.to_plain(asked)))
        command = [build.host_runner(), build.host_library(), tmp_path / "request.json", tmp_path / "result.json"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        return done.returncode, json.loads((tmp_path / "result.json").read_text())

    for seed in range(4):
        status, result = run(order_seed=seed)
        assert status == 0 and result["error"] == "" and set(result["phases"]) == {"import_ms"}
        assert len(result["samples_us"]) == len(result["beside_samples_us"]) == 60 and result["burst"] >= 1
        assert min(*result["samples_us"], *result["beside_samples_us"]) > 0
        assert 0.2 < np.median(result["samples_us"]) / np.median(result["beside_samples_us"]) < 5
    status, result = run(beside=str(tmp_path / "absent.tflite"))
    assert status == 1 and "LiteRtCreateModelFromFile" in result["error"] and result["beside_samples_us"] == []
    status, result = run(arrival=Arrival.FIXED_RATE, rate_hz=30.0)
    assert status == 1 and "fixed rate" in result["error"]
