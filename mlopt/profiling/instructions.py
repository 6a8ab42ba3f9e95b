"""Instructions of one inference: a whole number that comes out the same every time, for regression gates.

On x86-64 valgrind's callgrind counts; for ARM, qemu runs the aarch64 build of LiteRT and a plugin of ours counts. The
kernels are the ones that such a processor would get: dot-product kernels on a Cortex-A76, plain NEON on an A72.
An instruction count is not a time: memory stalls, caches and clocks are not in it. Compare it only with a count of the
same `conditions`, best of two versions of one model.
"""

import contextlib
import json
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlopt import plain, run_folder
from mlopt.convert.protocol import Place
from mlopt.documents import content
from mlopt.profiling import latency
from mlopt.profiling.contract import LARGEST_RESULT, RunRequest, RunResult, result_of
from mlopt.profiling.formats import endings, format_of
from mlopt.profiling.native import build, emulator
from mlopt.profiling.target import TargetLost, TargetUnusable

HOST = "x86-64"
PLACES = (HOST, *emulator.CORES)
INFERENCES = 5              # counted; nearly always they agree
_WARM_UP = 3                # buffers grow and caches fill in the first
_DEADLINE_S = 600.0
_NONCE = "count"
_VALGRIND_PASSES_ON = frozenset({"sse4_2", "avx", "avx2", "fma", "f16c"})     # it hides AVX-512 and newer


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """Instructions that one inference executes on one thread; never to be read as milliseconds."""

    per_inference: int              # the median of `each`
    each: tuple[int, ...]           # by inference, after the warm-up
    processor: str                  # "Cortex-A72", "x86-64 with avx2, fma"
    tool: str                       # "callgrind 3.19.0", "qemu-aarch64 7.2.22"
    runtime: str                    # "LiteRT 2.3.0"
    runner: str                     # "native 1, glibc 2.36"

    @property
    def conditions(self) -> str:
        """Two counts are comparable where these are equal."""
        return f"{self.processor}; {self.tool}; {self.runtime}; {self.runner}"

    def extra(self) -> dict[str, str]:
        """As it stands in a `RunResult`'s `extra`."""
        return {
            "instructions": str(self.per_inference),
            "instructions_each": " ".join(str(n) for n in self.each),
            "instructions_conditions": self.conditions,
        }


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A count, with what the counted process said and computed."""

    instructions: Instructions
    result: RunResult
    inputs: bytes                   # raw bytes of all inputs, one after the other
    outputs: bytes                  # of all outputs, after the last inference


def count(file: Path, on: str = HOST, *, seed: int = 0, timeout_s: float = _DEADLINE_S) -> Instructions:
    """Instructions per inference of a TFLite file, `on` one of `PLACES`.

    Raises `TargetUnusable`, with what to install or change, where it cannot be counted; `TargetLost` where the
    process died on the way.
    """
    return run_counted(file, on, seed=seed, timeout_s=timeout_s).instructions


def run_counted(file: Path, on: str, *, seed: int = 0, timeout_s: float = _DEADLINE_S) -> Counted:
    """As `count`, with the tensors and the runner's result."""
    if on not in PLACES:
        raise ValueError(f"instructions are counted on {', '.join(PLACES)}; got {on!r}")
    format = format_of(file, Place.NATIVE)
    if format is None:
        raise TargetUnusable(f"instructions on {on}", f"they are not counted in {file.name}",
                             f"Give one of {endings(Place.NATIVE)}.")
    request = RunRequest(file="model", format=format, nonce=_NONCE, runs=INFERENCES, least_warmup_runs=_WARM_UP,
                         seed=seed)
    if on == HOST:
        return _with_callgrind(file, request, timeout_s)
    return _with_qemu(file, on, request, timeout_s)


def run_on_host(file: Path, *, seed: int = 0, timeout_s: float = _DEADLINE_S) -> tuple[RunResult, bytes, bytes]:
    """One plain run of the native runner on this machine -> its result, input bytes and output bytes."""
    target = "the native runner"
    request = RunRequest(file="model", format=format_of(file, Place.NATIVE) or "", nonce=_NONCE, runs=1,
                         least_warmup_runs=1, seed=seed)
    with _bench(file, build.host_counter(target), build.host_library(target), request) as folder:
        return _ran(_RUNNER, folder, target, timeout_s)


_RUNNER = ("./runner", "./library.so", "request.json", "result.json", "count", "inputs", "outputs")


def _with_callgrind(file: Path, request: RunRequest, timeout_s: float) -> Counted:
    target = f"instructions on {HOST}"
    if platform.machine() != "x86_64":
        raise TargetUnusable(target, f"this machine is {platform.machine()}", f"Count on {emulator.CORES[0]} instead.")
    valgrind = build.program("valgrind", target, "apt-get install valgrind")
    version = build.finished([valgrind, "--version"], target, timeout_s=timeout_s).stdout.strip()
    function = "counted_inference"             # in runner.c
    options = ["--tool=callgrind", f"--toggle-collect={function}", f"--dump-after={function}",
               "--callgrind-out-file=counts"]
    with _bench(file, build.host_counter(target), build.host_library(target), request) as folder:
        result, inputs, outputs = _ran([valgrind, *options, *_RUNNER], folder, target, timeout_s)
        dumps = sorted(folder.glob("counts.*"), key=lambda path: int(path.suffix[1:]))     # one for each inference
        each = tuple(_callgrind_total(path, target) for path in dumps)
    known = [f for f in latency.host()["features"] if f in _VALGRIND_PASSES_ON]
    return _counted(each, result, inputs, outputs, processor=f"{HOST} with {', '.join(known)}",
                    tool=version.replace("valgrind-", "callgrind "), target=target)


def _callgrind_total(dump: Path, target: str) -> int:
    for line in dump.read_text().splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise TargetLost(target, f"callgrind wrote no total into {dump.name}")


def _with_qemu(file: Path, core: str, request: RunRequest, timeout_s: float) -> Counted:
    target = f"instructions on {core}"
    qemu = emulator.find(target)
    runner, library = build.aarch64_counter(target), build.aarch64_library(target)
    plugin = emulator.plugin(qemu, runner, target)
    with _bench(file, runner, library, request) as folder:
        command = qemu.command(folder, core, target, f"{plugin},out=counts")
        result, inputs, outputs = _ran([*command, *_RUNNER], folder, target, timeout_s)
        lines = (folder / "counts").read_text().split()
    if lines[-1:] != ["end"]:
        raise TargetLost(target, "the counting plugin was cut off")
    return _counted(tuple(int(line) for line in lines[:-1]), result, inputs, outputs,
                    processor=emulator.NAMES[core], tool=f"qemu-aarch64 {qemu.version}", target=target)


@contextlib.contextmanager
def _bench(file: Path, runner: Path, library: Path, request: RunRequest) -> Iterator[Path]:
    """A folder where every path is short and the same on every machine: path lengths move the stack, and counts."""
    if not file.is_file():
        raise TargetUnusable("the native runner", f"there is no file {file}")
    with run_folder.temporary() as folder:
        for link, path in (("runner", runner), ("library.so", library), ("model", file)):
            (folder / link).symlink_to(path.resolve())
        (folder / "request.json").write_text(json.dumps(plain.to_plain(request)))
        yield folder


def _ran(command: Sequence[str], folder: Path, target: str, timeout_s: float) -> tuple[RunResult, bytes, bytes]:
    done = build.finished(list(command), target, timeout_s=timeout_s, cwd=folder, env={"LC_ALL": "C"})
    answer = folder / "result.json"
    if done.returncode < 0 or not answer.exists():
        raise TargetLost(target, f"the runner ended with status {done.returncode} and no result: "
                                 f"{build.last_line(done.stderr)}")
    try:
        result = result_of(content(answer, most_bytes=LARGEST_RESULT))
    except ValueError as err:
        raise TargetLost(target, f"the runner's result cannot be read: {err}") from err
    if result.nonce != _NONCE:
        raise TargetLost(target, "the result belongs to another request")
    if result.error:
        raise TargetUnusable(target, f"LiteRT cannot run this file: {result.error}", _reasons(done.stderr))
    if done.returncode:
        raise TargetLost(target, f"the runner ended with status {done.returncode}: {build.last_line(done.stderr)}")
    facts = replace(result.facts, runtime=f"LiteRT {build.litert_version(target)}")
    return replace(result, facts=facts), (folder / "inputs").read_bytes(), (folder / "outputs").read_bytes()


def _reasons(log: str) -> str:
    """What LiteRT itself wrote about the failure."""
    return " ".join(line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: "))


def _counted(
    each: tuple[int, ...], result: RunResult, inputs: bytes, outputs: bytes, *, processor: str, tool: str, target: str
) -> Counted:
    if len(each) != INFERENCES or min(each) <= 0:
        raise TargetLost(target, f"{INFERENCES} counts were expected and these came: {each}")
    instructions = Instructions(
        per_inference=statistics.median_low(each), each=each, processor=processor, tool=tool,
        runtime=result.facts.runtime, runner=result.facts.runner,
    )
    return Counted(instructions=instructions, result=result, inputs=inputs, outputs=outputs)
