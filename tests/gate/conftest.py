"""A made-up device: files say how long they take, processes and runs scatter by a seed. Everything else is real."""

import datetime

import numpy as np
import pytest

from mlopt.gate.budget import load_budget
from mlopt.gate.judge import Case, judge
from mlopt.profile.contract import DeviceFacts, MemoryBytes, PhaseTimes, RunResult

FACTS = DeviceFacts(name="a made-up board", system="none", processor="none", features=("asimddp",), cores=4,
                    runtime="LiteRT 2.3.0", runner="test 1")
TODAY = datetime.date(2027, 1, 15)


class Device:
    """`Measures`: a file's text is "us=100 arena=16512 heap=168240"; every process is fresh and draws its own mood."""

    def __init__(self, seed=0, moods=0.025, runs_scatter=0.05):
        self.draw = np.random.default_rng(seed)
        self.moods, self.runs_scatter = moods, runs_scatter
        self.measured = []          # file names, in order
        self.dies_after = None      # processes
        self.refuses = "\0"         # what a file says that this device cannot run
        self.changed = {}           # fields of RunResult to put in place

    def __call__(self, target, request):
        def measure(file):
            from mlopt.profile.target import TargetLost

            self.measured.append(file.name if file.parent.name != "base" else f"base/{file.name}")
            if self.dies_after is not None and len(self.measured) > self.dies_after:
                raise TargetLost(target, "the board does not answer any more")
            if self.refuses in file.read_text():
                raise TargetLost(target, "the model killed the process")
            says = dict(part.split("=") for part in file.read_text().split())
            mood = np.exp(self.draw.normal(0, self.moods))
            scatter = np.exp(np.abs(self.draw.normal(0, self.runs_scatter, request.runs)))
            result = RunResult(
                nonce="", facts=FACTS, phases=PhaseTimes(), warmup_runs=5,
                samples_us=tuple(float(says.get("us", 100)) * mood * scatter),
                memory=MemoryBytes(arena=int(says.get("arena", -1)), heap_delta=int(says.get("heap", -1))),
                extra={"instructions": says["instructions"]} if "instructions" in says else {},
            )
            from dataclasses import replace

            return replace(result, **self.changed)

        return measure


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
            today=settings.pop("today", TODAY), baseline=self.folder / "base" if base else None, **settings,
        ))

    def only_check(self, *files, **settings):
        (check,) = self.judge(*files, **settings).checks
        return check
