"""A made-up device: files say how long they take, processes and runs scatter by a seed. Everything else is real."""

import datetime

import numpy as np
import pytest

from mlopt.gate.budget import load_budget
from mlopt.gate.judge import Case, judge
from mlopt.profiling.contract import DeviceFacts, MemoryBytes, PhaseTimes, RunResult

FACTS = DeviceFacts(name="a made-up board", system="none", processor="none", features=("asimddp",), cores=4,
                    runtime="LiteRT 2.3.0", runner="test 1")
TODAY = datetime.date(2027, 1, 15)


class Device:
    """`Measures`: a file's text is "us=100 arena=16512 heap=168240"; every process is fresh and draws its own mood.

    Two files in one process share its moods, which change from burst to burst; what their memory layout does to them
    differs.
    """

    BURST = 10

    def __init__(self, seed=0, moods=0.025, runs_scatter=0.05, layout=0.004):
        self.draw = np.random.default_rng(seed)
        self.moods, self.runs_scatter, self.layout = moods, runs_scatter, layout
        self.takes_turns = True     # False: a runner that knows nothing of a second file
        self.measured = []          # a process each, in order: the file's name, or those of two, as they were loaded
        self.dies_after = None      # processes
        self.refuses = "\0"         # what a file says that this device cannot run
        self.changed = {}           # fields of RunResult to put in place

    def __call__(self, target, request):
        def measure(file, *, beside=None, order_seed=0):
            from dataclasses import replace

            from mlopt.profiling.target import TargetLost

            both = [file] if beside is None or not self.takes_turns else [file, beside]
            names = [f.name if f.parent.name != "base" else f"base/{f.name}" for f in both]
            self.measured.append(" ".join(names if order_seed % 2 else names[::-1]))
            if self.dies_after is not None and len(self.measured) > self.dies_after:
                raise TargetLost(target, "the board does not answer any more")
            if any(self.refuses in each.read_text() for each in both):
                raise TargetLost(target, "the model killed the process")
            says = dict(part.split("=") for part in file.read_text().split())
            mood = np.exp(self.draw.normal(0, self.moods))
            if len(both) > 1:
                mood = np.exp(self.draw.normal(0, self.moods, -(-request.runs // self.BURST)))
                mood = mood.repeat(self.BURST)[: request.runs]
            times = [self.times(each, mood, request.runs, own=self.layout if len(both) > 1 else 0) for each in both]
            result = RunResult(
                nonce="", facts=FACTS, phases=PhaseTimes(), warmup_runs=5, samples_us=times[0],
                beside_samples_us=times[1] if len(both) > 1 else (), burst=self.BURST if len(both) > 1 else 0,
                memory=MemoryBytes(arena=int(says.get("arena", -1)), heap_delta=int(says.get("heap", -1))),
                extra={"instructions": says["instructions"]} if "instructions" in says else {},
            )
            return replace(result, **self.changed)

        return measure

    def times(self, file, mood, runs, *, own):
        says = dict(part.split("=") for part in file.read_text().split())
        scatter = np.exp(np.abs(self.draw.normal(0, self.runs_scatter, runs)))
        return tuple(float(says.get("us", 100)) * mood * scatter * np.exp(self.draw.normal(0, own)))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The bytes of a real file, as `mlopt compress` exports it."""
    from mlopt_tflite.exporter import export

    from mlopt.testing.tiny import TinyModel, build

    model = TinyModel(build("small_convnet"))
    path = tmp_path_factory.mktemp("tiny") / "m.tflite"
    export(model, model.signature, path)
    return path.read_bytes()


@pytest.fixture
def bench(tmp_path):
    """Write a budget and files, and judge them on a made-up device."""
    return Bench(tmp_path)


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.device = Device()
        (folder / "base").mkdir()

    def budget(self, text):
        path = self.folder / "mlopt-budget.toml"
        path.write_text("schema = 1\n" + text)
        return path

    def model(self, name="m.tflite", text="us=100", base=None):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if base is not None:
            (self.folder / "base" / path.name).write_text(base + "\n")       # other bytes that say the same
        return path

    def judge(self, *files, budget, base=False, **settings):
        loaded = load_budget(self.budget(budget))
        return judge(Case(
            budget=loaded, files=files, measures=settings.pop("measures", self.device),
            open_model=settings.pop("open_model", lambda file: ("ADD",)),
            today=settings.pop("today", TODAY), baseline=self.folder / "base" if base else None, **settings,
        ))

    def only_check(self, *files, **settings):
        (check,) = self.judge(*files, **settings).checks
        return check
