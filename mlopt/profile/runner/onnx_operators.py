"""Time of each kernel in ONNX Runtime, from the trace that it writes itself."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from . import onnx_file
from .onnx import inputs, session

_LEAST_RUNS, _MOST_RUNS = 20, 300       # a trace costs about 500 bytes a kernel and run
_WARM_UP_RUNS = 10
_SUFFIX = "_kernel_time"


def profile(file: str, threads: int, seed: int, most_seconds: float) -> dict[str, Any]:
    """{"operators": [OperatorTime ...], "invoke_us": mean with profiling, "notes": [...]}."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as folder:
        opened = session(onnxruntime, file, threads, str(Path(folder) / "trace"))
        feeds, _ = inputs(opened, seed)
        for _ in range(_WARM_UP_RUNS):
            opened.run(None, feeds)
        until = time.perf_counter() + most_seconds
        start, runs = time.perf_counter_ns(), 0
        while runs < _MOST_RUNS and (runs < _LEAST_RUNS or time.perf_counter() < until):
            opened.run(None, feeds)
            runs += 1
        invoke_us = (time.perf_counter_ns() - start) / 1e3 / runs
        events = json.loads(Path(opened.end_profiling()).read_text())
    return {
        "operators": operators(events, onnx_file.nodes(file), skip_runs=_WARM_UP_RUNS),
        "invoke_us": invoke_us,
        "notes": [],
    }


def operators(events: list[dict[str, Any]], nodes: dict[str, str], *, skip_runs: int) -> list[dict[str, Any]]:
    """Mean time of each kernel, in order of execution, over the runs after the first `skip_runs`.

    `nodes` maps the file's node names to operations. The optimised graph keeps a node's name where it can; a kernel
    under another name was made of several nodes, or added, and belongs to no layer.
    """
    times: dict[tuple[str, str], list[float]] = {}
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event.get("name", "").endswith(_SUFFIX):
            told = event["args"]
            key = (str(told.get("node_index", "")), event["name"][: -len(_SUFFIX)])
            times.setdefault(key, []).append(float(event["dur"]))
            facts[key] = told
    found = []
    for index, (key, all_us) in enumerate(times.items()):
        kept = all_us[skip_runs:]
        if not kept:
            continue
        layer = _layer(key[1], nodes)
        found.append({
            "index": index, "name": f"{facts[key].get('op_name', '')} {key[1]}".strip(), "op": nodes.get(layer, ""),
            "layer": layer, "unit": str(facts[key].get("provider", "")), "mean_us": sum(kept) / len(kept),
            "runs": len(kept),
        })
    return found


def _layer(kernel: str, nodes: dict[str, str]) -> str:
    """The file's node behind a kernel's name: itself, or without what an optimiser appended."""
    name = kernel
    while name:
        if name in nodes:
            return name
        name = name.rpartition("_")[0]
    return ""
