"""A profile for other people's viewers: Perfetto and Chrome read the trace, Model Explorer the node data."""

import json
from collections.abc import Sequence

from mlopt.profiling.session import FileProfile


def chrome_trace(profiles: Sequence[FileProfile]) -> str:
    """Trace Event Format: one track a file, its operations one after the other at their mean times, in microseconds.

    https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU names the fields.
    """
    events: list[dict[str, object]] = []
    for number, one in enumerate(profiles, start=1):
        events.append({"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": one.file}})
        start = 0.0
        for op in one.operators:
            events.append({
                "ph": "X", "pid": 1, "tid": number, "ts": start, "dur": op.mean_us, "name": op.name, "cat": op.unit,
                "args": {"op": op.op, "layer": op.layer, "runs": op.runs},
            })
            start += op.mean_us
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"})


def model_explorer(one: FileProfile) -> str:
    """Node data for Model Explorer: the share of the time, in percent, by the file's own layer names.

    Operations that the runtime fused beyond a layer's name are left out: they are no node of the graph.
    """
    total = sum(op.mean_us for op in one.operators)
    by_layer: dict[str, float] = {}
    for op in one.operators:
        if op.layer:
            by_layer[op.layer] = by_layer.get(op.layer, 0.0) + op.mean_us
    results = {layer: {"value": round(100 * us / total, 4)} for layer, us in by_layer.items()} if total else {}
    gradient = [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#d9480f"}]
    return json.dumps({"main": {"results": results, "gradient": gradient}})
