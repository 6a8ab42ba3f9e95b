"""An emulated ARM board: does the file run there, does it compute the same, how many instructions does it take.

No latency: an emulator's clock says nothing about the processor that it plays. It stays unknown, with that reason.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mlopt.convert.protocol import Place
from mlopt.profiling import instructions
from mlopt.profiling.contract import DeviceFacts, MemoryBytes, PhaseTimes, RunRequest, RunResult
from mlopt.profiling.formats import endings, measurable
from mlopt.profiling.native import build, emulator
from mlopt.profiling.target import TargetLost, TargetUnusable

PREFIX = "emulated:"
TARGETS = tuple(PREFIX + core for core in emulator.CORES)

_NO_LATENCY = "latency is unknown: an emulator's time says nothing about the processor that it plays"
# Element types as LiteRT numbers them.
_DTYPES = {1: "float32", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8", 10: "float16"}


@dataclass(frozen=True)
class EmulatedTarget:
    """`EmulatedTarget("cortex-a72")`: a `Target` that runs TFLite files and has no times to give."""

    core: str

    def __post_init__(self) -> None:
        if self.core not in emulator.CORES:
            raise TargetUnusable(self.name, "is no processor that mlopt emulates", f"Write {' or '.join(TARGETS)}.")

    @property
    def name(self) -> str:
        return PREFIX + self.core

    def facts(self) -> DeviceFacts:
        """The board, when all that it needs is installed; otherwise `TargetUnusable`."""
        qemu = emulator.find(self.name)
        emulator.check_libraries(self.name)
        return DeviceFacts(
            name=f"{emulator.NAMES[self.core]}, emulated", system=f"Linux under qemu-aarch64 {qemu.version}",
            processor=emulator.NAMES[self.core], features=emulator.features(self.core), cores=1,
            runtime=f"LiteRT {build.litert_version(self.name)}", runner=build.RUNNER_VERSION,
        )

    def measure(self, file: Path, request: RunRequest, beside: Path | None = None) -> RunResult:
        """Instructions and heap of one inference, and how its outputs compare with this host's; no times, of `beside`
        neither.

        In `extra`: "instructions" (per inference), "instructions_each", "instructions_conditions",
        "output_difference" (see `Difference`), or the reason in the notes where a comparison was not possible.
        """
        if request.format not in measurable(Place.NATIVE):
            taken = f"It takes {endings(Place.NATIVE)}."
            raise TargetUnusable(self.name, f"it cannot run {request.format} files", taken)
        facts = self.facts()
        counted = instructions.run_counted(file, self.core, seed=request.seed)
        heap = counted.result.memory.heap_delta if request.memory else -1
        notes, extra = [_NO_LATENCY, *_without_effect(request)], counted.instructions.extra()
        try:
            difference = against_host(file, counted, seed=request.seed)
        except (TargetUnusable, TargetLost) as err:
            notes.append(f"outputs were not compared with this host's: {err}")
        else:
            extra["output_difference"] = difference.words
            if not difference.within_a_step:
                notes.append(f"outputs differ from this host's by {difference.words}")
        return RunResult(
            nonce=request.nonce, facts=replace(facts, runner=counted.instructions.runner),
            phases=PhaseTimes(),
            warmup_runs=counted.result.warmup_runs, samples_us=(), notes=(*notes, *counted.result.notes), extra=extra,
            memory=MemoryBytes(file=file.stat().st_size if request.memory else -1, heap_delta=heap),
        )


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest difference between the outputs here and on the host, for the same input values."""

    steps: int                  # of integer outputs, in quantization steps; 0 where there are none
    relative: float             # of float outputs, as a fraction of the largest value; 0 where there are none

    @property
    def within_a_step(self) -> bool:
        """Kernels may round a half to either side; float kernels sum in another order."""
        return self.steps <= 1 and self.relative <= 1e-3       # 1e-3: 16-bit floats on one side, with its margin

    @property
    def words(self) -> str:
        return f"{self.steps} steps of integers, {self.relative:.2g} of floats"


def against_host(file: Path, counted: instructions.Counted, *, seed: int) -> Difference:
    """Run the file once on this host, with the same input values, and compare what comes out."""
    result, inputs, outputs = instructions.run_on_host(file, seed=seed)
    assert inputs == counted.inputs, "the runner makes the same inputs everywhere"
    if result.extra["outputs"] != counted.result.extra["outputs"]:
        raise TargetLost("the native runner", "the outputs have other types or sizes here than on the host")
    here, there = (arrays(raw, result.extra["outputs"]) for raw in (counted.outputs, outputs))
    steps, relative = 0, 0.0
    for a, b in zip(here, there, strict=True):
        if a.dtype.kind == "f":
            relative = max(relative, _relative(a.astype(np.float64), b.astype(np.float64)))
        elif a.size:
            steps = max(steps, int(np.max(np.abs(a.astype(np.int64) - b.astype(np.int64)))))
    return Difference(steps=steps, relative=relative)


def arrays(raw: bytes, layout: str) -> list[np.ndarray]:
    """The outputs as flat arrays; `layout` as the runner wrote it, e.g. "9x10 1x16": element type x bytes.

    >>> [a.tolist() for a in arrays(bytes([1, 255, 0, 0, 128, 63]), "9x2 1x4")]
    [[1, -1], [1.0]]
    """
    found, at = [], 0
    for item in layout.split():
        element, _, size = item.partition("x")
        if int(element) not in _DTYPES:
            raise TargetUnusable("the native runner", f"an output has the element type {element}, not compared yet")
        found.append(np.frombuffer(raw[at : at + int(size)], _DTYPES[int(element)]))
        at += int(size)
    return found


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference over the largest magnitude; nan where only one of the two is nan."""
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    return float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), np.finfo(np.float32).tiny))


def _without_effect(request: RunRequest) -> list[str]:
    notes = []
    if request.threads != 1:
        notes.append(f"{request.threads} threads were asked for; instructions are counted on one")
    if request.cpus:
        notes.append("pinning to processors has no effect under emulation")
    if request.operators:
        notes.append("operators are not timed under emulation")
    return notes
