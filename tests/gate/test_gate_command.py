"""`mlopt gate` as a user runs it: exit codes, outputs, real files; on this host where it says so."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

SIZE = 'schema = 1\n[[budget]]\nmodel = "*.tflite"\nsize = { max = %d, growth = "10%%" }\nzipped = { max = 9000 }\n'
HOST = """schema = 1
[[budget]]
model = "*.tflite"
ops = { forbid = ["TANH"] }
arena = { max = "1 MiB" }
[budget.latency]
runs = 40
p50 = { growth = "400%" }
p90 = { max = "1 s" }
"""


def padded(model, size):
    """The same model in so many bytes: LiteRT does not mind what follows the tables."""
    return model + bytes(size - len(model))


@pytest.fixture
def mlopt(tmp_path):
    def run(*words, **environment):
        settings = {k: v for k, v in os.environ.items() if not k.startswith("GITHUB_")}
        settings |= {"MLOPT_CACHE": str(tmp_path / ".cache"), "COLUMNS": "140"} | environment
        code = "from mlopt.cli import main; main()"
        return subprocess.run([sys.executable, "-c", code, "gate", *words], cwd=tmp_path, env=settings,
                              capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture
def folder(tmp_path, tiny):
    (tmp_path / "m.tflite").write_bytes(padded(tiny, 10_000))
    (tmp_path / "mlopt-budget.toml").write_text(SIZE % 10_000)
    return tmp_path


def test_the_exit_code_is_0_within_the_budget_and_1_over_it(mlopt, folder, tiny):
    assert mlopt("update").returncode == 0
    passed = mlopt("m.tflite")
    assert passed.returncode == 0 and "within budget: 2 passed" in passed.stdout
    (folder / "m.tflite").write_bytes(padded(tiny, 10_001))
    broken = mlopt("m.tflite")
    assert broken.returncode == 1 and "1 B over the limit of 10,000 B" in broken.stdout


def test_check_may_be_named_or_left_out_and_files_may_be_left_out(mlopt, folder):
    mlopt("update")
    for words in (("check", "m.tflite"), ("m.tflite",), (), ("--budget", "mlopt-budget.toml"), ("check",)):
        assert mlopt(*words).returncode == 0


@pytest.mark.parametrize(("words", "says"), [
    (("none.tflite",), "there is no such file"), (("--budget", "none.toml"), "none.toml: there is no such file"),
    (("m.onnx",), "no budget matches 'm.onnx'"), (("--report", "none.json"), "the report cannot be read"),
    (("--on", "adb:x"), "--on adb:x is in no budget here"), (("--baseline", "none"), "there is no such baseline"),
])
def test_what_cannot_be_worked_with_exits_with_2_and_a_sentence(mlopt, folder, words, says):
    done = mlopt(*words)
    assert done.returncode == 2 and says in " ".join(done.stderr.split()) and "Traceback" not in done.stderr


def test_a_wrong_key_names_file_and_line(mlopt, folder):
    (folder / "mlopt-budget.toml").write_text('schema = 1\n[[budget]]\nmodel = "*"\nsise = { max = 5 }\n')
    done = mlopt()
    assert done.returncode == 2 and "mlopt-budget.toml:4: no key `sise`" in done.stderr and "`size`" in done.stderr


def test_a_target_that_is_none_is_bad_input(mlopt, folder):
    budget = 'schema = 1\n[[budget]]\nmodel = "*"\ntarget = "phone"\narena = { max = 5 }\n'
    (folder / "mlopt-budget.toml").write_text(budget)
    done = mlopt("m.tflite")
    assert done.returncode == 2 and "mlopt-budget.toml:2" in done.stderr and "phone" in done.stderr


def test_every_output_is_written_and_json_stands_alone_on_standard_output(mlopt, folder, tiny):
    mlopt("update")
    (folder / "m.tflite").write_bytes(padded(tiny, 10_001))
    done = mlopt("--json", "--markdown", "a.md", "--junit", "a.xml", "--sarif", "a.sarif", "--json-file", "a.json",
                 GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(folder / "summary.md"))
    assert done.returncode == 1
    assert json.loads(done.stdout)["exit"] == 1 and json.loads((folder / "a.json").read_text())["exit"] == 1
    assert ElementTree.parse(folder / "a.xml").getroot().get("failures") == "1"
    assert json.loads((folder / "a.sarif").read_text())["version"] == "2.1.0"
    assert (folder / "a.md").read_text() == (folder / "summary.md").read_text()
    assert "::error file=mlopt-budget.toml,line=4,title=m.tflite%3A size fail::" in done.stderr


def test_github_sees_a_budget_that_cannot_be_read_on_its_line(mlopt, folder):
    (folder / "mlopt-budget.toml").write_text('schema = 1\n[[budget]]\nmodel = "*"\nsise = { max = 5 }\n')
    done = mlopt(GITHUB_ACTIONS="true")
    assert done.returncode == 2
    assert "::error file=mlopt-budget.toml,line=4,title=mlopt gate::no key `sise`" in done.stderr


@pytest.mark.parametrize("words", [("--json",), ()])
def test_a_reader_that_leaves_early_does_not_turn_a_broken_budget_into_a_pass(folder, words):
    (folder / "mlopt-budget.toml").write_text('schema = 1\n[[budget]]\nmodel = "*.tflite"\nsize = { max = 5 }\n')
    process = subprocess.Popen([sys.executable, "-c", "from mlopt.cli import main; main()", "gate", *words], cwd=folder,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    assert process.wait(60) == 1


def test_update_says_what_moved_and_check_judges_by_it(mlopt, folder, tiny):
    (folder / "mlopt-budget.toml").write_text(SIZE % 50_000)
    assert "m.tflite size: 10,000 B" in mlopt("update").stdout
    (folder / "m.tflite").write_bytes(padded(tiny, 11_001))
    assert mlopt().returncode == 1
    assert "m.tflite size: 10,000 B -> 11,001 B" in mlopt("update").stdout
    assert mlopt().returncode == 0
    before = (folder / "mlopt-baseline.json").read_bytes()
    assert "0 of them new" in mlopt("update").stdout and (folder / "mlopt-baseline.json").read_bytes() == before


def test_a_real_file_is_gated_on_this_host(mlopt, folder, tiny):
    (folder / "mlopt-budget.toml").write_text(HOST)
    (folder / "m.tflite").write_bytes(tiny)
    (folder / "base").mkdir()
    (folder / "base/m.tflite").write_bytes(tiny + bytes(16))      # other bytes, the same model
    done = mlopt("m.tflite", "--baseline", "base", "--json")
    plain = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert {c["metric"]: c["status"] for c in plain["checks"]} == dict.fromkeys(("ops", "arena", "p50", "p90"), "pass")
    (raw,) = plain["samples"].values()
    assert len(raw) >= 12 and all(len(p["samples_us"]) == 40 for p in raw)
    assert plain["devices"]["host"]["runtime"].startswith("LiteRT")


def test_a_tolerance_that_this_machine_cannot_keep_is_refused_after_calibration(mlopt, folder, tiny):
    (folder / "m.tflite").write_bytes(tiny)
    (folder / "mlopt-budget.toml").write_text(HOST)
    done = mlopt("calibrate", "--pairs", "6", "--json")
    (floor,) = json.loads(done.stdout)["floors"]
    assert done.returncode == 0 and floor["pairs"] == 6 and floor["spread"] > 0 and floor["metric"] == "p50"
    (folder / "mlopt-budget.toml").write_text(HOST.replace("400%", "0.001%"))
    refused = mlopt("m.tflite", "--baseline", "m.tflite")
    assert refused.returncode == 2 and "the least tolerance" in " ".join(refused.stderr.split())
