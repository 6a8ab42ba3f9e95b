"""What a user has after `pip install`: the wheel with one extra alone, in a fresh environment that sees no source tree.

Each extra does what it promises there, and what it does not is refused with the command that would bring it. Expected
values are worked out by hand from the README and the description of each extra in `mlopt doctor`.
"""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from needs import needs_program
from reports import sample_report
from tiny_files import model_and_samples

import mlopt
from mlopt import files
from mlopt.render.json import to_json

ROOT = Path(__file__).parents[2]
FORMATS = ("tflite", "onnx", "coreml")
EXTRAS = ("keras", *FORMATS, "torch", "tracking")
# What `mlopt doctor` calls ready after an install with one extra; "" is an install without any.
READY = {
    "": set(), "keras": {"keras"}, "tflite": {"keras", "tflite"}, "onnx": {"keras", "onnx"},
    "coreml": {"keras", "coreml"}, "torch": {"torch"}, "tracking": {"tracking"},
}
# Of Core ML's precisions none calibrates, and --data would be refused.
ASKED = {
    "tflite": ("--data", "samples.npz", "--precision", "float16,int8"),
    "onnx": ("--data", "samples.npz", "--precision", "float16,int8"),
    "coreml": ("--precision", "float16,palette4"),
}
RECIPE = """\
schema: 1
about: One epoch of the plainest training.
steps:
  - finetune: {epochs: 1, batch: 64}
export:
  - {to: %s, precision: float16}
"""
BUDGET = """\
schema = 1
[[budget]]
model = "*.tflite"
size = { max = "1 MB" }
accuracy = { min = 0.5 }
"""


def install(extra):
    return f"pip install 'mlopt-edge[{extra}]'"


@dataclass
class Environment:
    """The installed wheel, and the folder that its user stands in."""

    extra: str
    folder: Path
    work: Path
    variables: dict[str, str] = field(repr=False)

    @property
    def formats(self):
        return READY[self.extra] & set(FORMATS)

    def run(self, *command):
        return subprocess.run([str(word) for word in command], cwd=self.work, env=self.variables, capture_output=True,
                              text=True, timeout=300, check=False)

    def mlopt(self, *words):
        return self.run(self.folder / "bin/mlopt", *words)

    def python(self, code):
        """What `code` prints."""
        done = self.run(self.folder / "bin/python", "-P", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refused(self, extra, *words):
        """The command is refused with one sentence that ends in what installs `extra`, and leaves nothing."""
        before = sorted(self.work.iterdir())
        done = self.mlopt(*words)
        said = [line for line in done.stderr.splitlines() if line.startswith("mlopt: ")]
        assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr, done
        assert len(said) == 1 and said[0].rstrip(".").endswith(install(extra)), said
        assert sorted(self.work.iterdir()) == before

    @functools.cached_property
    def bundle(self):
        """What `mlopt compress` makes without --to: (its folder, its JSON, the report's JSON)."""
        (format,) = self.formats
        done = self.mlopt("compress", "model.h5", *ASKED[format], "--test", "test.npz", "--max-drop", "0.5", "--json")
        assert done.returncode == 0, done.stderr
        folder = self.work / "model-mlopt"
        return folder, json.loads(done.stdout), json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What a user has: a model, samples, a .tflite with a report about it, and a budget."""
    import tensorflow as tf

    from mlopt.testing.tiny import TinyModel, build

    folder = tmp_path_factory.mktemp("given")
    model_and_samples(folder, samples=160, test=64)     # 128 of them fill a batch of the shipped recipes
    model = build("small_convnet")
    function = TinyModel(model).concrete_function(1)
    given = folder / "given.tflite"
    given.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], model).convert())
    report = sample_report(n=200)
    about = replace(report.candidates[0], sha256=files.digest(given))
    (folder / "report.json").write_bytes(to_json(replace(report, candidates=(about,))))
    (folder / "budget.toml").write_text(BUDGET)
    (folder / "given.onnx").write_bytes(b"nothing reads this where ONNX Runtime is missing")
    for format in FORMATS:
        (folder / f"{format}.yaml").write_text(RECIPE % format)
    return folder


@pytest.fixture(scope="module")
def uv():
    beside = Path(sys.executable).with_name("uv")       # where `make test` puts it
    if beside.exists():
        return str(beside)
    needs_program("uv")
    return "uv"


def give_compiled_files(environment):
    """pip compiles what it installs, uv leaves that to the first import, and none of our workers may write there.

    Those of the environment that runs the tests fit where its files are the same, by date and size: Python checks both.
    """
    ours = Path(sysconfig.get_path("purelib"))
    theirs = environment / ours.relative_to(sys.prefix)
    for folder in ours.rglob("__pycache__"):
        package = theirs / folder.parent.relative_to(ours)
        if package.is_dir():
            shutil.copytree(folder, package / "__pycache__", copy_function=link_or_copy, dirs_exist_ok=True)


def link_or_copy(source, dest):
    try:
        os.link(source, dest)
    except OSError:                 # they lie on two disks
        shutil.copyfile(source, dest)


@pytest.fixture(scope="module")
def made(wheel, given, uv, tmp_path_factory):
    """`made(extras)` -> a fresh `Environment`."""
    place = tmp_path_factory.mktemp("installed")

    def make(extra):
        for name in ("env", "work", "cache"):
            shutil.rmtree(place / name, ignore_errors=True)
        shutil.copytree(given, place / "work")
        wanted = f"mlopt-edge{f'[{extra}]' if extra else ''} @ {wheel.as_uri()}"
        python = place / "env/bin/python"
        for command in (
            ["venv", "--python", sys.executable, place / "env"],
            ["pip", "install", "--python", python, "--constraints", ROOT / "constraints.txt", wanted],
        ):
            done = subprocess.run([uv, "--quiet", *map(str, command)], cwd=place, capture_output=True, text=True,
                                  check=False, timeout=300)
            assert done.returncode == 0, done.stderr
        give_compiled_files(place / "env")
        variables = {
            "PATH": f"{place / 'env/bin'}:{os.defpath}", "HOME": str(place), "MLOPT_CACHE": str(place / "cache"),
            "CUDA_VISIBLE_DEVICES": "-1", "LC_ALL": "C.UTF-8",
        }
        return Environment(extra=extra, folder=place / "env", work=place / "work", variables=variables)

    return make


@pytest.fixture(scope="module", params=["", *EXTRAS], ids=lambda extra: extra or "no-extra")
def environment(request, made):
    return made(request.param)


def test_the_command_stands_on_the_wheel_alone(environment):
    code = "import mlopt, mlopt_tflite, mlopt_recipes, sys; print(mlopt.__file__, *sys.path, sep='\\n')"
    module, *path = environment.python(code).splitlines()
    assert Path(module).is_relative_to(environment.folder)
    assert not any(Path(place).is_relative_to(ROOT) for place in path)
    assert environment.mlopt("--version").stdout == f"mlopt {mlopt.__version__}\n"
    assert all(f" {name} " in environment.mlopt("--help").stdout for name in ("compress", "profile", "gate", "doctor"))
    assert "qat-int8" in environment.mlopt("recipes", "list").stdout


def test_doctor_calls_ready_what_was_installed_and_says_how_to_get_the_rest(environment):
    found = {one["name"]: one for one in json.loads(environment.mlopt("doctor", "--json").stdout)["extras"]}
    assert set(found) == set(EXTRAS)
    assert {name for name, one in found.items() if not one["missing"]} == READY[environment.extra]
    assert {name: one["remedy"] for name, one in found.items() if one["missing"]} == {
        name: install(name) for name in EXTRAS if name not in READY[environment.extra]
    }
    assert all(one["versions"][name] for one in found.values() for name in one["versions"])
    told = environment.mlopt("doctor").stdout
    assert set(re.findall(r"pip install '.*'", told)) == {one["remedy"] for one in found.values() if one["remedy"]}


def test_the_gate_judges_a_file_with_its_runtime_and_names_the_command_without(environment):
    done = environment.mlopt("gate", "given.tflite", "--budget", "budget.toml", "--report", "report.json", "--json")
    checks = {check["metric"]: check for check in json.loads(done.stdout)["checks"]}
    told = {metric: check["status"] for metric, check in checks.items()}
    if "tflite" in environment.formats:
        assert (done.returncode, told) == (0, {"size": "pass", "accuracy": "pass"}), done.stderr
    else:           # nobody knows whether it is a model at all
        assert (done.returncode, told) == (3, {"size": "error", "accuracy": "error"})
        assert all(install("tflite") in check["sentence"] for check in checks.values())


def test_a_limit_that_needs_the_runtime_is_judged_with_it_and_names_the_command_without(environment):
    budget = 'schema = 1\n[[budget]]\nmodel = "*.tflite"\nops = { allow = ["NO_SUCH_OPERATION"] }\n'
    (environment.work / "operations.toml").write_text(budget)
    done = environment.mlopt("gate", "given.tflite", "--budget", "operations.toml", "--json")
    (check,) = json.loads(done.stdout)["checks"]
    if "tflite" in environment.formats:
        assert (done.returncode, check["status"]) == (1, "fail") and "CONV_2D" in check["sentence"]
    else:
        assert (done.returncode, check["status"]) == (3, "error") and install("tflite") in check["sentence"]
        assert "Traceback" not in check["sentence"]


@pytest.mark.parametrize("environment", ["keras", "torch"], indirect=True)
def test_a_model_is_opened_where_keras_is(environment):
    code = "import mlopt\ntry: print(mlopt.load('model.h5').parameters)\nexcept mlopt.MloptError as err: print(err)"
    told = environment.python(code)
    if "keras" in READY[environment.extra]:
        assert told == "996"                    # of the small network: see mlopt.testing.tiny
    else:
        assert told.startswith("opening model.h5 needs tensorflow, tf_keras") and told.endswith(install("keras"))


def test_compress_makes_the_formats_that_are_installed_and_names_the_command_for_the_others(environment):
    if not environment.formats:
        environment.refused("tflite", "compress", "model.h5")
    else:
        folder, told, report = environment.bundle
        made = {candidate["format"] for candidate in told["candidates"]}
        assert made == environment.formats and len(told["candidates"]) == 3     # float32 and two more
        assert all((folder / candidate["path"]).exists() for candidate in told["candidates"])
        left_out = {f["about"]: f["message"] for f in report["findings"] if f["code"] == "not-installed"}
        assert set(left_out) == set(FORMATS) - made
        assert all(message.endswith(install(name)) for name, message in left_out.items())
        assert report["host"]["versions"]["mlopt"] == mlopt.__version__
    for format in set(FORMATS) - environment.formats:
        environment.refused(format, "compress", "model.h5", "--to", format, "--out", "asked")


def test_a_recipe_trains_where_a_format_is_installed(environment):
    words = ("--train", "samples.npz", "--test", "test.npz", "--out", "trained", "--max-drop", "0.9")
    lacking = next(format for format in FORMATS if format not in environment.formats)
    environment.refused(lacking, "compress", "model.h5", "--recipe", f"{lacking}.yaml", *words)
    for format in environment.formats:
        told = ("compress", "model.h5", "--recipe", f"{format}.yaml", *words)
        environment.refused("tracking", *told, "--track", "mlflow:http://127.0.0.1:9")
        done = environment.mlopt(*told, "--json")
        assert done.returncode == 0, done.stderr
        assert {c["precision"] for c in json.loads(done.stdout)["candidates"]} == {"float32", "float16"}
        (events,) = (environment.work / "trained-logs").rglob("events.out.tfevents.*")
        assert b"loss/total" in events.read_bytes()


def test_profile_measures_the_formats_whose_runtime_is_installed(environment):
    for format in ("tflite", "onnx"):           # Core ML has no runtime that is timed
        if format not in environment.formats:
            environment.refused(format, "profile", f"given.{format}", "--runs", "20")
            continue
        folder, told, _ = environment.bundle
        file = folder / next(c["path"] for c in told["candidates"] if c["precision"] == "float16")
        done = environment.mlopt("profile", file, "--runs", "20", "--json")
        assert done.returncode == 0, done.stderr
        (profiled,) = json.loads(done.stdout)["profiles"]
        assert len(profiled["samples_us"]) == 20 and profiled["operators"]


@pytest.mark.parametrize("environment", ["torch"], indirect=True)
def test_torch_brings_data_loaders(environment):
    (environment.work / "mine.py").write_text(
        "import torch\n"
        "def loader():\n"
        "    rows = torch.utils.data.TensorDataset(torch.ones(10, 4), torch.arange(10))\n"
        "    return torch.utils.data.DataLoader(rows, batch_size=3)\n"
    )
    code = ("import sys; sys.path.append('.')\nfrom mlopt.data.opening import open_source\n"
            "source = open_source('mine:loader')\nprint(source.count, *sorted(source.columns))")
    assert environment.python(code) == "10 label x"


@pytest.mark.parametrize("environment", ["tracking"], indirect=True)
def test_tracking_brings_what_speaks_to_a_server(environment):
    code = ("import mlopt\nfrom mlopt.training import tracking\n"
            "try: tracking.check('mlflow:http://127.0.0.1:9')\nexcept mlopt.MloptError as err: print(err)")
    assert "no MLflow server answers there" in environment.python(code)


def test_the_lines_of_the_readme_work_one_after_the_other(made, given):
    block = re.search(r"\n## Use it\n\n((?:    .*\n)+)", (ROOT / "README.md").read_text())[1]
    first, *lines = (line.strip() for line in block.splitlines())
    extras = re.fullmatch(r"pip install 'mlopt-edge\[(.*)\]'", first)[1]
    environment = made(extras)
    with_parquet(environment.work)
    for line in lines:
        done = environment.run("sh", "-c", line)
        assert done.returncode in (0, 1), (line, done.stdout, done.stderr)      # 1: a drop above the limit is no fault
    assert [shlex.split(line)[1] for line in lines] == ["doctor", "compress", "compress", "compress"]
    report = json.loads((environment.work / "model-mlopt/report.json").read_text())
    assert {(c["format"], c["precision"]) for c in report["candidates"] if c["verified"]} == {
        ("tflite", "float32"), ("tflite", "int8"), ("onnx", "float32"), ("onnx", "int8"),       # what qat-int8 exports
    }


def with_parquet(folder):
    """The samples again, as the README has them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    for source, name in (("samples", "train"), ("test", "test")):
        with np.load(folder / f"{source}.npz") as arrays:
            pq.write_table(pa.table({"image": arrays["image"].tolist(), "label": arrays["label"]}),
                           folder / f"{name}.parquet")
