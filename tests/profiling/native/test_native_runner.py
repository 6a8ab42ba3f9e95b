"""The native runner: what it computes, the contract of its files, and how it is built."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mlopt import extras, plain
from mlopt.profiling import instructions
from mlopt.profiling.contract import Arrival, RunRequest, RunResult
from mlopt.profiling.native import build
from mlopt.profiling.target import TargetUnusable
from mlopt.profiling.targets.emulated import arrays

REQUEST = RunRequest(file="model.tflite", format="tflite", nonce='say "hi"', runs=12, least_warmup_runs=3)


def run_native(folder, file, request, *flags):
    (folder / "model.tflite").symlink_to(file)
    (folder / "request.json").write_text(json.dumps(plain.to_plain(request)))
    command = [build.host_runner(), build.host_library(), "request.json", "result.json", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done, plain.from_plain(json.loads((folder / "result.json").read_text()), RunResult)


@pytest.mark.parametrize(
    ("name", "precision"),
    [("small_convnet", "float32"), ("small_convnet", "int8"), ("small_convnet", "int8-dynamic"),
     ("depthwise_convnet", "int16x8"), ("streaming_conv1d", "int8"), ("small_transformer", "float32")],
)
def test_the_runner_computes_what_litert_computes_from_python(tiny_files, name, precision):
    from ai_edge_litert.interpreter import Interpreter

    file = tiny_files(name, precision)
    result, inputs, outputs = instructions.run_on_host(file, seed=5)
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    (port,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    values = np.frombuffer(inputs, port["dtype"]).reshape(port["shape"])
    assert len(np.unique(values)) > 10                      # no zeros where numbers were meant
    interpreter.set_tensor(port["index"], values)
    interpreter.invoke()
    expected = interpreter.get_tensor(out["index"]).ravel()
    (found,) = arrays(outputs, result.extra["outputs"])
    assert found.dtype == expected.dtype and len(found) == len(expected)
    if found.dtype == np.float32:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        assert np.max(np.abs(found.astype(int) - expected.astype(int))) <= 1


def test_a_result_answers_its_request(tiny_files, tmp_path):
    done, result = run_native(tmp_path, tiny_files("small_convnet", "int8"), REQUEST)
    assert done.returncode == 0 and result.error == "" and result.nonce == 'say "hi"'
    assert len(result.samples_us) == 12 and min(result.samples_us) > 0 and result.warmup_runs == 3
    assert result.batch_per_sample > 1                      # a tiny model takes under 20 us, and is timed in batches
    assert min(result.phases.load_ms, result.phases.compile_ms, result.phases.first_ms) > 0
    assert result.memory.heap_delta > 0 and result.memory.peak_delta > 0 and result.memory.pss > 0
    assert result.facts.cores == os.cpu_count() and result.facts.runner.startswith(build.RUNNER_VERSION)
    assert not (tmp_path / "result.json.part").exists()


def test_a_fixed_rate_spreads_the_runs_over_time(tiny_files, tmp_path):
    request = replace(REQUEST, arrival=Arrival.FIXED_RATE, rate_hz=100.0, runs=11, memory=False)
    (tmp_path / "rate").mkdir()
    import time

    start = time.perf_counter()
    _, result = run_native(tmp_path / "rate", tiny_files("small_convnet"), request)
    assert time.perf_counter() - start >= 0.1               # 11 runs, 10 ms apart
    assert len(result.samples_us) == 11 and result.batch_per_sample == 1 and result.memory.heap_delta == -1


def test_what_the_runner_cannot_do_is_noted(tiny_files, tmp_path):
    request = replace(REQUEST, operators=True, cpus=(1000,), runs=1_000_000, most_seconds=0.1)
    _, result = run_native(tmp_path, tiny_files("small_convnet"), request)
    text = " ".join(result.notes)
    assert "operators" in text and "pin" in text and "time allowed" in text
    assert 0 < len(result.samples_us) < 1_000_000


def test_a_free_dimension_is_run_at_the_size_in_the_file_and_noted(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32)])
    def double(rows):
        return 2.0 * rows

    converter = tf.lite.TFLiteConverter.from_concrete_functions([double.get_concrete_function()])
    (tmp_path / "free.tflite").write_bytes(converter.convert())
    result, inputs, outputs = instructions.run_on_host(tmp_path / "free.tflite")
    given, doubled = np.frombuffer(inputs, np.float32), np.frombuffer(outputs, np.float32)
    assert len(given) == 6 and np.array_equal(doubled, 2 * given)
    assert any("free dimensions" in note for note in result.notes)


def test_heap_figures_repeat(tiny_files, tmp_path):
    heaps = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        heaps.append(run_native(tmp_path / name, tiny_files("small_convnet", "int8"), REQUEST)[1].memory.heap_delta)
    assert abs(heaps[0] - heaps[1]) <= 0.01 * heaps[0]


def test_a_file_that_is_no_model_gives_an_error_and_no_numbers(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"nothing of a model")
    done, result = run_native(tmp_path, broken, REQUEST)
    assert done.returncode == 1 and "status" in result.error and result.samples_us == () and result.nonce


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": 2, "file": "a", "nonce": "b"}', '{"schema": 1, "file'])
def test_a_request_that_is_none_leaves_no_result(tmp_path, text):
    (tmp_path / "request.json").write_text(text)
    command = [build.host_runner(), build.host_library(), "request.json", "result.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "not a request" in done.stderr and not (tmp_path / "result.json").exists()


def test_no_beginning_of_a_request_makes_the_reader_leave_its_memory(tmp_path):
    """Every prefix of a request, and each with a stray quote or backslash, under the address sanitizer."""
    program = tmp_path / "runner"
    flags = ["-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    built = subprocess.run(["cc", *flags, build.SOURCES / "runner.c", "-o", program, "-ldl", "-lm"],
                           capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    whole = json.dumps(plain.to_plain(replace(REQUEST, file="no such file", cpus=(0, 1))))
    texts = [whole[:at] + tail for at in range(0, len(whole) + 1, 9) for tail in ("", '"', "\\")]
    for text in texts:
        (tmp_path / "request.json").write_text(text)
        done = subprocess.run([program, "no library", tmp_path / "request.json", tmp_path / "result.json"],
                              capture_output=True, text=True, check=False)
        assert done.returncode in (1, 2) and "Sanitizer" not in done.stderr and "runtime error" not in done.stderr


def test_two_processes_that_build_at_once_end_with_one_whole_runner(tmp_path):
    code = "from mlopt.profiling.native import build; print(build.host_runner())"
    env = os.environ | {"MLOPT_CACHE": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
            for _ in range(2)]
    paths = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(paths) == 1
    assert subprocess.run([paths.pop()], capture_output=True, check=False).returncode == 2      # it starts: usage
    assert len(list(tmp_path.iterdir())) == 1               # nothing half-made is left


def test_a_litert_that_was_not_checked_is_refused(monkeypatch):
    monkeypatch.setattr(extras, "version", lambda package: "2.4.0")
    with pytest.raises(TargetUnusable, match=r"LiteRT 2\.4\.0 has not been checked") as caught:
        build.host_library()
    assert "Install ai-edge-litert 2.3.0" in str(caught.value)


def test_a_wheel_with_other_bytes_is_refused_and_not_kept(monkeypatch, tmp_path):
    (tmp_path / "forged.whl").write_bytes(b"PK")
    monkeypatch.setenv("MLOPT_AARCH64_WHEEL", str(tmp_path / "forged.whl"))
    monkeypatch.setenv("MLOPT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(TargetUnusable, match="is not the aarch64 wheel of ai-edge-litert"):
        build.aarch64_library()
    assert list((tmp_path / "cache").iterdir()) == []
