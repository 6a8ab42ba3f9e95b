"""Time of each kernel in ONNX Runtime, from the trace that it writes itself."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import onnx_file, onnx_mapping, onnx_price
from .onnx import inputs, session
from .timing import Rounds

_LEAST_RUNS, _MOST_RUNS = 20, 300       # a trace costs about 500 bytes a kernel and run
_WARM_UP_RUNS = 10
_TURN = 20                              # runs in a row, so that each finds the caches as its own kind left them
_PRICE_RUNS = 100
_PRICED_PORTS = (2, 9)                  # an addition of two, a quantized convolution
_SUFFIX = "_kernel_time"


def profile(file: str, threads: int, seed: int, most_seconds: float) -> dict[str, Any]:
    """{"operators": [OperatorTime ...], "invoke_us": mean with profiling, "plain_us": mean without, "notes": [...]}.

    Runs with and without profiling take turns, so that both see the same machine.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as folder:
        prices = {ports: _price(onnxruntime, ports, Path(folder)) for ports in _PRICED_PORTS}
        traced = _traced(
            onnxruntime, file, threads, seed, Path(folder), until=time.perf_counter() + most_seconds, least=_LEAST_RUNS
        )
    quiet = traced.rounds.quiet()
    found = operators(traced.events, onnx_file.nodes(file), skip_runs=_WARM_UP_RUNS, quiet=quiet)
    few, many = _PRICED_PORTS
    for operator in found:
        price = prices[few] + (operator.pop("ports") - few) * (prices[many] - prices[few]) / (many - few)
        operator["mean_us"] = max(0.0, operator["mean_us"] - price)
    return {
        "operators": found, "invoke_us": traced.rounds.mean_us(quiet), "plain_us": traced.plain_us,
        "notes": [
            *traced.rounds.notes(quiet),
            f"operators: tracing adds {prices[few]:.1f} us to a kernel of {few} inputs and {prices[many]:.1f} us to "
            f"one of {many}, measured on empty ones, which is taken off each",
        ],
    }


def _price(module: Any, ports: int, folder: Path) -> float:
    """Microseconds that tracing adds to the recorded time of a kernel with that many inputs."""
    empty = folder / f"chain{ports}.onnx"
    empty.write_bytes(onnx_price.chain(ports))
    traced = _traced(module, str(empty), 1, 0, folder, until=0.0, least=_PRICE_RUNS)
    each = operators(traced.events, [], skip_runs=_WARM_UP_RUNS, quiet=traced.rounds.quiet())
    return max(0.0, sum(o["mean_us"] for o in each) - traced.plain_us) / onnx_price.KERNELS


@dataclass(frozen=True)
class _Trace:
    """One file's traced runs, and the mean of its runs without a trace in between."""

    events: list[dict[str, Any]]
    rounds: Rounds
    plain_us: float


def _traced(
    module: Any, file: str, threads: int, seed: int, folder: Path, *, until: float, least: int
) -> _Trace:
    """At least `least` runs with a trace, and until the clock says `until`, in turns with runs without."""
    opened, plain = session(module, file, threads, str(folder / "trace")), session(module, file, threads)
    feeds, _ = inputs(opened, seed)
    for _ in range(_WARM_UP_RUNS):
        opened.run(None, feeds)
        plain.run(None, feeds)
    rounds, without = Rounds(), Rounds()
    while rounds.count < least or (rounds.count < _MOST_RUNS and time.perf_counter() < until):
        for _ in range(_TURN):
            rounds.run(lambda: opened.run(None, feeds))
        for _ in range(_TURN):
            without.run(lambda: plain.run(None, feeds))
    events = json.loads(Path(opened.end_profiling()).read_text())
    return _Trace(events, rounds, without.mean_us(without.quiet()))


def operators(
    events: list[dict[str, Any]], nodes: list[onnx_file.Node], *, skip_runs: int, quiet: list[int]
) -> list[dict[str, Any]]:
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
    found = []
    for index, (key, all_us) in enumerate(times.items()):
        kept = [all_us[skip_runs + run] for run in quiet] if len(all_us) >= once else all_us[skip_runs:] or all_us
        node = behind[index]
        found.append({
            "index": index, "name": f"{kernels[index][1]} {key[1]}".strip(),
            "op": node.op if node else "", "layer": (node.name or node.outputs[0]) if node else "",
            "unit": str(facts[key].get("provider", "")), "mean_us": sum(kept) / len(kept), "runs": len(kept),
            "ports": len(facts[key].get("input_type_shape", ())),       # for the price; not in the contract
        })
    return found
