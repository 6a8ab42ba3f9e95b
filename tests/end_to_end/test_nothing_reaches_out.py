"""No telemetry, and no file beside the cache and the result: seen by an observer of every system call on networks.

The protections of workers are off here, so that an attempt is seen as such and not as what was refused; a network
namespace with nothing in it keeps the attempts of the first test from going anywhere.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from needs import needs_kernel, needs_program, succeeds

from mlopt.testing import tiny

ALONE = ["unshare", "--map-root-user", "--net"]
OBSERVED = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
MLOPT = [sys.executable, "-c", "from mlopt.cli import main; main()"]
LONG_S = 15             # ONNX Runtime looks its server's name up about 9 s after it was loaded

RECIPE = """\
about: One epoch.
schema: 1
steps:
  - finetune: {epochs: 1, teacher: none}
"""
SESSION = """
import time
import numpy, onnxruntime
until = time.monotonic() + float(__import__("sys").argv[2])
session = onnxruntime.InferenceSession(__import__("sys").argv[1], providers=["CPUExecutionProvider"])
while time.monotonic() < until:
    time.sleep(0.1)
"""
IN_A_WORKER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from mlopt.worker import Crew, Job
file, seconds = sys.argv[1], float(sys.argv[2])
with Crew() as crew:
    job = Job(task="holding", function="worker_functions:hold_a_session",
              arguments={{"file": file, "seconds": seconds}})
    assert crew.run(job, float) >= seconds
"""


@pytest.fixture(scope="module", autouse=True)
def observer():
    needs_program("strace", "unshare")
    needs_kernel(succeeds(*ALONE, "true"), "it lets nobody make a network of their own")


class Place:
    """Folders that are all empty, which HOME and the like are."""

    def __init__(self, root):
        self.root = root
        for name in ("home", "temporary", "config", "data", "state", "xdg-cache", "cache", "out"):
            (root / name).mkdir()

    def observed(self, command, *, seconds=540.0, **variables):
        """Run it; every call that connects or sends to an address, a name server's and loopback's too, a line each."""
        environment = {
            key: value for key, value in os.environ.items()
            if key not in ("CI", "GITHUB_ACTIONS", "DO_NOT_TRACK") and not key.startswith(("PYTEST", "ORT_", "MLFLOW_"))
        } | {
            "HOME": str(self.root / "home"), "TMPDIR": str(self.root / "temporary"),
            "XDG_CONFIG_HOME": str(self.root / "config"), "XDG_DATA_HOME": str(self.root / "data"),
            "XDG_STATE_HOME": str(self.root / "state"), "XDG_CACHE_HOME": str(self.root / "xdg-cache"),
            "MLOPT_CACHE": str(self.root / "cache"), "MLOPT_SANDBOX": "0", "PYTHONDONTWRITEBYTECODE": "1", **variables,
        }
        trace = self.root / "trace"
        done = subprocess.run(
            [*ALONE, *OBSERVED, "-o", str(trace), *map(str, command)], env=environment, cwd=self.root / "out",
            capture_output=True, text=True, timeout=seconds, check=False,
        )
        assert done.returncode == 0, done.stderr
        return [line for line in trace.read_text().splitlines() if "sa_family=AF_INET" in line]

    def written(self):
        """What lies outside the cache and the result."""
        found = [p for name in ("home", "temporary", "config", "data", "state", "xdg-cache")
                 for p in (self.root / name).rglob("*")]
        return [str(p.relative_to(self.root)) for p in found if p.is_file()]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    onnx = pytest.importorskip("onnx")
    one = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [one("x", 1, [1, 4])], [one("y", 1, [1, 4])]
    )
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def long_ones(onnx_file, tmp_path_factory):
    """Three processes that wait for that look-up beside each other: (what they attempted, what they wrote) by name."""
    commands = {
        "not switched off": [sys.executable, "-c", SESSION, onnx_file, LONG_S],
        "profile": [*MLOPT, "profile", onnx_file, "--rate", "20", "--runs", 20 * LONG_S],
        "worker": [sys.executable, "-c", IN_A_WORKER, onnx_file, LONG_S],
    }
    places = [Place(tmp_path_factory.mktemp("long")) for _ in commands]
    with ThreadPoolExecutor(len(commands)) as threads:
        attempts = threads.map(Place.observed, places, commands.values())
        return {name: (tried, place.written()) for name, tried, place in zip(commands, attempts, places, strict=True)}


def test_the_observer_sees_what_onnx_runtime_does_where_nobody_switches_it_off(long_ones):
    attempts, written = long_ones["not switched off"]
    assert any("sin_port=htons(53)" in line for line in attempts), "no name was looked up"
    assert any("deviceid" in name for name in written)


def test_a_long_profile_reaches_out_nowhere_and_writes_nothing_aside(long_ones):
    assert long_ones["profile"] == ([], [])


def test_a_worker_that_outlives_the_look_up_reaches_out_nowhere(long_ones):
    assert long_ones["worker"] == ([], [])


def test_a_long_compress_with_a_recipe_reaches_out_nowhere_and_writes_nothing_aside(place):
    model = tiny.build("small_convnet")
    model.save(place.root / "model.h5", save_format="h5")
    inputs = tiny.inputs_for(tiny.TinyModel(model), 1500, 1)
    labels = tiny.TinyModel(model).predict(inputs)["label"].argmax(axis=1)
    np.savez(place.root / "train.npz", image=inputs["image"], label=labels)
    (place.root / "recipe.yaml").write_text(RECIPE)
    attempts = place.observed([
        *MLOPT, "compress", place.root / "model.h5", "--recipe", place.root / "recipe.yaml", "--train",
        place.root / "train.npz", "--out", place.root / "out" / "bundle", "--max-drop", "0.9",
    ])
    assert (attempts, place.written()) == ([], [])
    assert (place.root / "out" / "bundle" / "onnx").is_dir()
