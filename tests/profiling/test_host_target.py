"""The whole way: a zip, a fresh process, a real file, a result."""

import ast
import ctypes
import json
import subprocess
import sys
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from mlopt.errors import ModelUnreadable
from mlopt.profiling import runner as runner_package
from mlopt.profiling.contract import Arrival, DeviceFacts, MemoryBytes, OperatorTime, PhaseTimes, RunRequest, RunResult
from mlopt.profiling.runner import litert_library, litert_operators, measure, memory
from mlopt.profiling.target import TargetLost, TargetUnusable
from mlopt.profiling.targets import host, open_target
from mlopt.profiling.targets.bundle import read_result, runner_command, write_request, write_runner
from mlopt.profiling.targets.host import HostTarget


def ask(format, **more):
    return RunRequest(**{"file": "", "format": format, "nonce": "n-1", "runs": 30, "most_seconds": 3.0, **more})


@pytest.fixture(scope="module")
def tflite_result(tiny_tflite):
    return open_target("host").measure(tiny_tflite, ask("tflite", operators=True))


@pytest.fixture(scope="module")
def onnx_result(tiny_onnx):
    return open_target("host").measure(tiny_onnx, ask("onnx", operators=True))


def test_a_tflite_file_is_measured_in_all_its_phases(tflite_result):
    phases = tflite_result.phases
    assert tflite_result.error == "" and tflite_result.nonce == "n-1"
    assert min(phases.import_ms, phases.load_ms, phases.compile_ms, phases.first_ms) > 0
    assert len(tflite_result.samples_us) == 30 and min(tflite_result.samples_us) > 0
    assert tflite_result.warmup_runs >= 5 and tflite_result.context_switches >= 0
    assert tflite_result.facts.runtime.startswith("LiteRT 2") and tflite_result.facts.cores > 0


def test_an_onnx_session_does_not_tell_loading_from_compiling(onnx_result):
    assert np.isnan(onnx_result.phases.load_ms) and onnx_result.phases.compile_ms > 0
    assert onnx_result.facts.runtime.startswith("ONNX Runtime 1") and len(onnx_result.samples_us) == 30
    assert any("free dimensions" in note and "x" in note for note in onnx_result.notes)


def test_models_of_under_20_us_share_samples_and_the_result_says_so(tflite_result):
    typical = float(np.median(tflite_result.samples_us))
    assert (tflite_result.batch_per_sample > 1) == any("is the mean of" in note for note in tflite_result.notes)
    assert tflite_result.batch_per_sample == 1 or typical < 60


def test_memory_holds_the_file_its_weights_and_its_arena(tflite_result, tiny_tflite):
    taken = tflite_result.memory
    assert taken.file == tiny_tflite.stat().st_size and 0 < taken.weights < taken.file
    assert 8 * 8 * 8 * 4 <= taken.arena < 100_000          # no smaller than its largest activation
    assert taken.heap_delta > 0 and taken.peak_delta > 0


def test_what_onnx_runtime_does_not_tell_is_said(onnx_result):
    assert onnx_result.memory.arena == -1 and any(note.startswith("arena:") for note in onnx_result.notes)
    assert onnx_result.memory.weights == 8 * 3 * 9 * 4 + 8 * 8 * 9 * 4


def test_every_convolution_of_the_tflite_file_has_its_time_inside_the_delegate(tflite_result):
    operators = tflite_result.operators
    assert [o.index for o in operators] == list(range(len(operators)))
    convolutions = [o for o in operators if o.op == "CONV_2D"]
    assert len(convolutions) == 2 and all(o.unit == "XNNPACK" and o.layer for o in convolutions)
    assert len({o.layer for o in convolutions}) == 2
    assert [o.op for o in operators if o.op == "FULLY_CONNECTED"] == ["FULLY_CONNECTED"]
    assert all(o.runs >= 10 and o.mean_us >= 0 for o in operators)
    assert tflite_result.operators_invoke_us > 0


def test_onnx_kernels_find_the_files_nodes_also_where_they_were_fused(onnx_result):
    by_layer = {o.layer: o for o in onnx_result.operators if o.layer}
    assert by_layer["first"].op == by_layer["second"].op == "Conv"
    assert by_layer["mean"].op == "GlobalAveragePool" and "first_relu" not in by_layer
    assert all(o.unit == "CPUExecutionProvider" and o.mean_us >= 0 for o in onnx_result.operators)
    assert any("tracing adds" in note for note in onnx_result.notes)


def test_memory_repeats_and_a_parent_that_grew_does_not_leak_into_it(tiny_tflite, tflite_result):
    """A fat parent shows in a child's ru_maxrss and must not show here."""
    ballast = np.ones(400_000_000 // 8)
    resident = memory.resident()
    again = open_target("host").measure(tiny_tflite, ask("tflite")).memory
    assert resident > 400_000_000 == ballast.nbytes
    first = tflite_result.memory
    assert again.arena == first.arena and again.weights == first.weights
    assert again.heap_delta == pytest.approx(first.heap_delta, rel=0.01)
    assert again.peak_delta == pytest.approx(first.peak_delta, rel=0.01, abs=2 * 4096)       # it moves in pages


def test_a_fixed_rate_is_held_and_says_what_waking_up_costs(tiny_tflite):
    request = ask("tflite", arrival=Arrival.FIXED_RATE, rate_hz=200.0, runs=20, memory=False)
    result = open_target("host").measure(tiny_tflite, request)
    assert len(result.samples_us) == 20 and result.batch_per_sample == 1
    assert any("wake-up" in note for note in result.notes) and result.missed_deadlines < 20
    assert result.memory == MemoryBytes()


def test_threads_and_processors_that_are_not_there_are_said(tiny_tflite):
    result = open_target("host").measure(tiny_tflite, ask("tflite", threads=512, cpus=(4000,), memory=False))
    assert any("affinity was not set" in note for note in result.notes)
    assert any("512 threads share" in note for note in result.notes)


def test_pinning_holds_while_measuring(tiny_tflite):
    result = open_target("host").measure(tiny_tflite, ask("tflite", cpus=(0,), memory=False))
    assert result.extra["processors"] == "0"


def test_a_broken_file_comes_back_with_the_runtimes_words(tmp_path):
    broken = tmp_path / "b.tflite"
    broken.write_bytes(b"\x20\0\0\0TFL3" + bytes(40))
    result = open_target("host").measure(broken, ask("tflite"))
    assert result.error and result.samples_us == ()


def test_a_process_that_does_not_come_back_is_ended_and_lost(tiny_tflite):
    target = HostTarget(start_seconds=0.0)
    with pytest.raises(TargetLost, match="stopped after its deadline"):
        target.measure(tiny_tflite, ask("tflite", most_seconds=0.05))


def test_a_process_that_a_signal_ended_is_told_by_its_name_and_last_words(tmp_path):
    status, words = host._run(["sh", "-c", "echo INFO: fine; echo too bad >&2; kill -SEGV $$"], tmp_path, deadline_s=20)
    assert host._how(status) == "was ended by SIGSEGV" and host._last(words) == "; its last words: too bad"


def test_a_format_that_the_runner_does_not_know_is_an_error_in_the_result(tmp_path):
    (tmp_path / "m.pte").write_bytes(b"x")
    assert "tflite and onnx" in open_target("host").measure(tmp_path / "m.pte", ask("executorch")).error


def test_a_file_that_is_not_there_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ModelUnreadable, match="no such file"):
        open_target("host").measure(tmp_path / "none.tflite", ask("tflite"))


@pytest.mark.parametrize(
    ("text", "words"),
    [("phone", "no target"), ("ssh:", "which ssh"), ("host:x", "always this machine"), ("", "no target")],
)
def test_a_target_that_is_none_is_refused_with_the_names_there_are(text, words):
    with pytest.raises(TargetUnusable, match=words) as caught:
        open_target(text)
    assert "host" in str(caught.value) and (text == "host:x" or "adb:SERIAL" in str(caught.value))


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "cannot be read"), ('{"nonce": "n-1"', "cannot be read"), ('{"nonce": "n-1"}', "cannot be read"),
     (None, "no result")],
)
def test_a_torn_or_missing_result_is_a_lost_measurement(tmp_path, text, words):
    file = tmp_path / "result.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(TargetLost, match=words):
        read_result(file, ask("tflite"), "board")


@pytest.mark.parametrize(("field", "value"), [
    ("samples_us", ["100.0"]), ("samples_us", [True]), ("warmup_runs", "5"), ("warmup_runs", -1), ("burst", -5),
    ("batch_per_sample", 0), ("operators_invoke_us", -1.0), ("memory", {"arena": -2}), ("memory", {"arena": "16512"}),
    ("phases", {"load_ms": -0.5}), ("extra", {"instructions": 5}),
])
def test_an_answer_with_figures_that_cannot_be_is_a_lost_measurement_with_their_place(tmp_path, field, value):
    file = tmp_path / "result.json"
    file.write_text(json.dumps(measure.failed({"nonce": "n-1"}, "") | {field: value}))
    with pytest.raises(TargetLost, match=rf"cannot be read: .*`\$\.{field}"):
        read_result(file, ask("tflite"), "board")


def test_an_answer_to_another_request_is_a_lost_measurement(tmp_path):
    file = tmp_path / "result.json"
    file.write_text(json.dumps(measure.failed({"nonce": "old"}, "")))
    with pytest.raises(TargetLost, match="another request"):
        read_result(file, ask("tflite"), "board")


def test_the_runner_speaks_the_contracts_fields_and_no_others(tmp_path, tiny_tflite):
    write_request(tmp_path / "q.json", ask("tflite", file=str(tiny_tflite), operators=True))
    command = runner_command(sys.executable, str(write_runner(tmp_path / "r.zip")), str(tmp_path / "q.json"),
                             str(tmp_path / "a.json"))
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    answer = json.loads((tmp_path / "a.json").read_text())
    parts = [(answer, RunResult), (answer["facts"], DeviceFacts), (answer["phases"], PhaseTimes),
             (answer["memory"], MemoryBytes), (answer["operators"][0], OperatorTime)]
    for value, kind in parts:
        assert set(value) <= {f.name for f in fields(kind)}, kind
    assert "NaN" not in (tmp_path / "a.json").read_text() and not list(tmp_path.glob("*.part"))


def test_the_runner_imports_nothing_of_mlopt_so_that_it_runs_on_a_board():
    folder = Path(runner_package.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            allowed = {*sys.stdlib_module_names, "numpy", "ai_edge_litert", "onnxruntime"}
            assert {n.partition(".")[0] for n in names} <= allowed, file.name
            assert not (isinstance(node, ast.ImportFrom) and node.level > 1), file.name


def test_the_same_runner_gives_the_same_zip(tmp_path):
    one, two = write_runner(tmp_path / "1.zip"), write_runner(tmp_path / "2.zip")
    assert one.read_bytes() == two.read_bytes()
    assert "runner/measure.py" in zipfile.ZipFile(one).namelist()


def test_memory_is_counted_until_two_processes_agree_and_else_in_three(tmp_path):
    def counted(figures):
        """Each forked child leaves a mark, by which the next one knows its turn."""
        turn = len(list(tmp_path.iterdir()))
        (tmp_path / str(turn)).touch()
        heap, peak = figures[turn]
        return {"bytes": {"heap_delta": heap, "peak_delta": peak}, "notes": ["said"]}

    settled = measure._memory(lambda: counted([(5, 90), (5, 90), (1, 1)]))
    assert settled == ({"heap_delta": 5, "peak_delta": 90}, ["said"]) and len(list(tmp_path.iterdir())) == 2
    for mark in tmp_path.iterdir():
        mark.unlink()
    unsettled = measure._memory(lambda: counted([(7, 90), (5, 80), (6, 95)]))
    assert unsettled[0] == {"heap_delta": 6, "peak_delta": 80} and len(list(tmp_path.iterdir())) == 3


def test_a_library_without_the_profiler_is_refused_by_the_names_it_lacks():
    with pytest.raises(RuntimeError, match=r"does not export .*LiteRtCompiledModelGetProfiler"):
        litert_library.Library(ctypes.CDLL("libm.so.6"))


@pytest.mark.parametrize("written", [96 * 20, 112 * 20, 208 * 20])
def test_event_records_of_another_size_are_refused(written):
    raw = b"\1" * written + b"\xa5" * (104 * 80 - written)
    with pytest.raises(RuntimeError, match="another size"):
        litert_library._check_records(raw, 20)
    litert_library._check_records(b"\1" * (104 * 20 - 4) + b"\xa5" * 104, 20)


def test_unknown_event_types_are_refused_and_a_delegates_own_node_is_not_counted_twice():
    inside = [(16, "invoke", 0, 9), (2, "TfLiteXNNPackDelegate", 3, 9), (8, "Add (ND)", 0, 4), (2, "SOFTMAX", 4, 1)]
    assert [name for _, name, *_ in litert_operators._operations(inside)] == ["Add (ND)", "SOFTMAX"]
    with pytest.raises(RuntimeError, match="unknown types"):
        litert_operators._operations([(1234567, "?", 0, 0)])
