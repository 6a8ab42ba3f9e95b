"""Time of each kernel in ONNX Runtime, from the trace that it writes itself."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from . import onnx_file, onnx_mapping, onnx_price
from .answers import OperatorTime, OperatorTimes
from .onnx import imported, inputs, session
from .timing import Rounds

_LEAST_RUNS, _MOST_RUNS = 20, 300       # a trace costs about 500 bytes a kernel and run
_WARM_UP_RUNS = 10
_TURN = 20                              # runs in a row, so that each finds the caches as its own kind left them
_PRICED_PORTS = (2, 9)                  # an addition of two, a quantized convolution
_SUFFIX = "_kernel_time"


def profile(file: str, threads: int, seed: int, most_seconds: float) -> OperatorTimes:
    """Runs with and without profiling take turns, and so do the runs that tell what profiling adds, so that all see the
    same machine.
    """
    onnxruntime = imported()
    onnxruntime.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = _Pair(onnxruntime, file, threads, seed, folder / "model")
        additions = {ports: _additions(onnxruntime, ports, folder) for ports in _PRICED_PORTS}
        until = time.perf_counter() + most_seconds
        while model.traced.count < _LEAST_RUNS or (model.traced.count < _MOST_RUNS and time.perf_counter() < until):
            for pair in (model, *additions.values()):
                pair.turn()
        prices = {ports: pair.added_us() / onnx_price.KERNELS for ports, pair in additions.items()}
        quiet = model.traced.quiet()
        found = operators(model.events(), onnx_file.nodes(file), skip_runs=_WARM_UP_RUNS, quiet=quiet)
    few, many = _PRICED_PORTS
    for operator in found:
        price = prices[few] + (operator.pop("ports") - few) * (prices[many] - prices[few]) / (many - few)
        operator["mean_us"] = max(0.0, operator["mean_us"] - price)
    return {
        "operators": [*found], "invoke_us": model.traced.mean_us(quiet),
        "plain_us": model.plain.mean_us(model.plain.quiet()),
        "notes": [
            *model.traced.notes(quiet),
            f"operators: tracing adds {prices[few]:.1f} us to a kernel of {few} inputs and {prices[many]:.1f} us to "
            f"one of {many}, measured on additions, which is taken off each",
        ],
    }


class Kernel(OperatorTime, total=False):
    """`ports` is how many inputs it has, for the price of tracing it."""

    ports: int


class _Pair:
    """One file in two sessions, with and without a trace."""

    def __init__(self, module: ModuleType, file: str, threads: int, seed: int, trace: Path) -> None:
        self._tracing, self._bare = session(module, file, threads, str(trace)), session(module, file, threads)
        self._feeds, _ = inputs(self._tracing, seed)
        self.traced, self.plain = Rounds(), Rounds()
        for _ in range(_WARM_UP_RUNS):
            self._tracing.run(None, self._feeds)
            self._bare.run(None, self._feeds)

    def turn(self) -> None:
        for _ in range(_TURN):
            self.traced.run(lambda: self._tracing.run(None, self._feeds))
        for _ in range(_TURN):
            self.plain.run(lambda: self._bare.run(None, self._feeds))

    def events(self) -> list[dict[str, Any]]:
        """What the trace holds; ends it."""
        events: list[dict[str, Any]] = json.loads(Path(self._tracing.end_profiling()).read_text())
        return events

    def added_us(self) -> float:
        """How much longer the trace says that its kernels took than an inference without it did; ends the trace."""
        each = operators(self.events(), [], skip_runs=_WARM_UP_RUNS, quiet=self.traced.quiet())
        return max(0.0, sum(o["mean_us"] for o in each) - self.plain.mean_us(self.plain.quiet()))


def _additions(module: ModuleType, ports: int, folder: Path) -> _Pair:
    """Kernels with that many inputs, to see what tracing adds to one."""
    file = folder / f"additions{ports}.onnx"
    file.write_bytes(onnx_price.chain(ports))
    return _Pair(module, str(file), 1, 0, file.with_suffix(""))


def operators(
    events: list[dict[str, Any]], nodes: list[onnx_file.Node], *, skip_runs: int, quiet: list[int]
) -> list[Kernel]:
    """Mean time of each kernel, in order of execution, over the `quiet` ones of the runs after the first `skip_runs`.

    A kernel that does not execute once a run (in a loop, in a branch) is averaged over all its executions.
    """
    times: dict[tuple[str, str], list[float]] = {}
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event.get("name", "").endswith(_SUFFIX):
            told = event["args"]
            key = (str(told.get("node_index", "")), event["name"][: -len(_SUFFIX)])
            times.setdefault(key, []).append(float(event["dur"]))
            facts[key] = told
    kernels = [(name, str(facts[index, name].get("op_name", ""))) for index, name in times]
    behind = onnx_mapping.mapped(kernels, nodes)
    once = skip_runs + max(quiet, default=0) + 1
    found: list[Kernel] = []
    for index, (key, all_us) in enumerate(times.items()):
        kept = [all_us[skip_runs + run] for run in quiet] if len(all_us) >= once else all_us[skip_runs:] or all_us
        node = behind[index]
        found.append({
            "index": index, "name": f"{kernels[index][1]} {key[1]}".strip(),
            "op": node.op if node else "", "layer": (node.name or node.outputs[0]) if node else "",
            "unit": str(facts[key].get("provider", "")), "mean_us": sum(kept) / len(kept), "runs": len(kept),
            "ports": len(facts[key].get("input_type_shape", ())),
        })
    return found
