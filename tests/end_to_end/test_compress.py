"""`mlopt compress` as a user runs it: one model, all formats."""

import json
from pathlib import Path

import jsonschema
import numpy as np

from mlopt import files as whole
from mlopt import manifest
from mlopt.render.json import from_json

ROOT = Path(__file__).parents[2]
KEYS = {"path", "format", "precision", "bytes", "bytes_zipped", "verified", "metric", "value", "interval", "n", "drop",
        "drop_interval", "agreement", "max_abs_error", "sqnr_db", "latency_ratio", "weights_by_dtype", "recommended",
        "reason"}


def candidates(summary, format):
    return {c["precision"]: c for c in summary["candidates"] if c["format"] == format}


def test_standard_output_is_one_object_of_the_published_schema(done):
    _, summary, _ = done
    schema = json.loads((ROOT / "docs/reference/compress.schema.json").read_text())
    jsonschema.validate(summary, schema)
    assert set(summary) == {"schema", "source", "candidates", "findings", "trained"} and summary["schema"] == 1
    assert all(set(c) == KEYS for c in summary["candidates"])


def test_every_precision_of_every_format_is_made_and_verified(done):
    _, summary, _ = done
    assert candidates(summary, "tflite").keys() == {
        "float32", "float16", "int8", "int8-dynamic", "int8-weights", "int16x8", "int4-weights", "mixed-4-8"}
    assert candidates(summary, "onnx").keys() == {"float32", "float16", "int8"}
    assert candidates(summary, "coreml").keys() == {
        "float32", "float16", "int8-weights", "palette8", "palette6", "palette4"}
    assert all(c["verified"] for c in summary["candidates"])


def test_the_float_files_agree_with_the_source_on_every_sample(done):
    _, summary, _ = done
    for format in ("tflite", "onnx", "coreml"):
        float32 = candidates(summary, format)["float32"]
        assert float32["agreement"] == 1.0 and float32["value"] == 1.0 and float32["n"] == 120
        assert float32["max_abs_error"] < 1e-4


def test_each_format_has_one_recommended_file_with_a_reason(done):
    _, summary, _ = done
    for format in ("tflite", "onnx", "coreml"):
        chosen = [c for c in summary["candidates"] if c["format"] == format and c["recommended"]]
        assert len(chosen) == 1 and f"{chosen[0]['bytes']:,} bytes" in chosen[0]["reason"]


def test_latency_is_a_ratio_where_the_runtime_is_here_and_null_where_it_is_not(done):
    _, summary, _ = done
    for c in summary["candidates"]:
        assert (c["latency_ratio"] is None) == (c["format"] == "coreml")
    assert any("cannot time coreml" in f["message"] for f in summary["findings"])


def test_sizes_and_digests_in_the_manifest_are_those_of_the_files(done):
    folder, summary, _ = done
    found = manifest.read(folder / "manifest.json")
    assert len(found.files) == len(summary["candidates"]) == 17
    for file in found.files:
        assert whole.digest(folder / file.path) == file.sha256
        assert whole.size(folder / file.path) == file.bytes


def test_the_bundle_holds_nothing_but_what_the_manifest_and_the_reports_name(done):
    folder, _, _ = done
    assert {p.name for p in folder.iterdir()} == {
        "manifest.json", "report.json", "report.md", "report.html", "golden", "tflite", "onnx", "coreml"}


def test_no_sample_of_the_users_is_in_the_bundle(done, files):
    folder, _, _ = done
    first = np.load(files / "samples.npz")["image"][0].tobytes()
    tested = np.load(files / "test.npz")["image"][0].tobytes()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert first not in content and tested not in content


def test_a_device_can_replay_the_golden_pairs(done):
    """The TFLite int8 file, fed by hand from the contract alone."""
    from ai_edge_litert.interpreter import Interpreter

    folder, _, _ = done
    found = manifest.read(folder / "manifest.json")
    file = next(f for f in found.files if (f.variant.format, f.variant.precision) == ("tflite", "int8"))
    fed, told = file.contract.inputs[0], file.contract.outputs[0]
    golden_in, golden_out = found.golden_inputs[0], file.golden_outputs[0]
    real = np.frombuffer((folder / golden_in.path).read_bytes(), "<f4").reshape(golden_in.shape)
    wanted = np.frombuffer((folder / golden_out.path).read_bytes(), "<f4").reshape(golden_out.shape)
    interpreter = Interpreter(str(folder / file.path))
    interpreter.allocate_tensors()
    for row, expected in zip(real, wanted, strict=True):
        stored = np.clip(np.round(row / fed.scale) + fed.zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], stored[None])
        interpreter.invoke()
        answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_allclose((answer[0].astype(float) - told.zero_point) * told.scale, expected, atol=1e-6)


def test_the_report_says_more_than_the_summary_and_agrees_with_it(done):
    folder, summary, _ = done
    report = from_json((folder / "report.json").read_bytes())
    for short, long in zip(summary["candidates"], report.candidates, strict=True):
        assert (short["path"], short["bytes"], short["value"]) == (long.path, long.bytes, long.evidence.value)
    schema = json.loads((ROOT / "docs/reference/report.schema.json").read_text())
    jsonschema.validate(json.loads((folder / "report.json").read_bytes()), schema)


def test_the_html_report_asks_nobody_for_anything(done):
    folder, _, _ = done
    page = (folder / "report.html").read_text()
    assert "src=\"http" not in page and "href=\"http" not in page and "@import" not in page


def test_progress_goes_to_standard_error(done):
    _, _, progress = done
    assert "source: opening" in progress and "tflite: int8" in progress


def test_the_same_command_again_repeats_nothing_and_ends_the_same(done, files, mlopt, tmp_path):
    _, summary, _ = done
    again = mlopt("compress", files / "model.h5", "--data", files / "samples.npz", "--test", files / "test.npz",
                  "--out", tmp_path / "again", "--max-drop", "0.1", "--json")
    assert json.loads(again.stdout) == summary
    assert "exporting" not in again.stderr and "int8" not in again.stderr


def test_a_terminal_without_our_characters_gets_others(done, files, mlopt, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    run = mlopt("compress", files / "model.h5", "--data", files / "samples.npz", "--test", files / "test.npz",
                "--out", tmp_path / "again", "--max-drop", "0.1")
    assert run.returncode == 0, run.stderr
    assert "recommended" in run.stdout and "1.00?" in run.stdout          # for ×


def test_without_data_full_integer_files_are_calibrated_on_inputs_from_the_model(files, mlopt_here, tmp_path):
    out = tmp_path / "bundle"
    run = mlopt_here("compress", files / "model.h5", "--out", out, "--to", "tflite", "--precision", "int8,float16",
                     "--max-drop", "0.5", "--json")
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)
    int8 = candidates(summary, "tflite")["int8"]
    assert int8["verified"] and int8["metric"] == "none" and int8["value"] is None and int8["drop"] is None
    assert {"calibration-synthesised", "accuracy-unknown"} <= {f["code"] for f in summary["findings"]}
    assert manifest.read(out / "manifest.json").calibration_origin == "synthesised"


def test_a_part_of_the_data_is_held_out_where_there_is_no_test(files, mlopt_here, tmp_path):
    run = mlopt_here("compress", files / "model.h5", "--data", files / "samples.npz", "--out", tmp_path / "bundle",
                     "--to", "tflite", "--precision", "int8", "--max-drop", "0.5", "--json")
    assert run.returncode == 0, run.stderr
    report = from_json((tmp_path / "bundle/report.json").read_bytes())
    counts = {d.role: d.count for d in report.data}
    assert counts == {"calibration": 40, "test": 120}       # a quarter, and the rest
    assert report.candidates[0].evidence.samples == "holdout"


def test_a_limit_that_no_file_meets_names_the_nearest_and_exits_with_1(files, mlopt_here, tmp_path):
    run = mlopt_here("compress", files / "model.h5", "--data", files / "samples.npz", "--test", files / "test.npz",
                     "--out", tmp_path / "bundle", "--to", "tflite", "--precision", "int4-weights", "--max-drop", "0")
    report = from_json((tmp_path / "bundle/report.json").read_bytes())
    meeting = [c for c in report.candidates if c.meets_limit]
    assert run.returncode == (0 if meeting else 1)
    if not meeting:
        assert report.limit.nearest in run.stdout


def test_a_new_run_replaces_the_old_bundle_whole(files, mlopt_here, tmp_path):
    out = tmp_path / "bundle"
    for precision in ("float16", "int8-weights"):
        run = mlopt_here("compress", files / "model.h5", "--test", files / "test.npz", "--out", out, "--to", "tflite",
                         "--precision", precision)
        assert run.returncode == 0, run.stderr
        assert "calibrated" not in run.stdout       # neither of the two is, and nothing says it were
    assert sorted(p.name for p in (out / "tflite").iterdir()) == ["model-float32.tflite", "model-int8-weights.tflite"]
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
