"""How often the gate is wrong on this machine: an unchanged model, and one that takes 10 % longer, in real processes.

    python benchmarks/gate_rates.py MODEL.tflite [GATES] [SLOWED]

The slower file is the same file with its measured times scaled by 1.1: the noise is the machine's, the change is known.
Prints one JSON object, and on standard error a line a gate.
"""

import datetime
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from mlopt.gate.budget import load_budget
from mlopt.gate.judge import Case, judge
from mlopt.gate.measuring import Targets

BUDGET = 'schema = 1\n[[budget]]\nmodel = "*.tflite"\n[budget.latency]\np50 = { growth = "5%" }\n'


def slowed(targets, file, factor):
    """`Measures` under which `file` takes `factor` times as long."""

    def measures(target, request):
        measure = targets(target, request)

        def once(path):
            result = measure(path)
            times = factor if path == file else 1.0
            return replace(result, samples_us=tuple(s * times for s in result.samples_us))

        return once

    return measures


def gates(model, count, factor):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").mkdir()
        new, old = folder / "m.tflite", folder / "base/m.tflite"
        new.write_bytes(model.read_bytes() + bytes(16))      # other bytes, the same model: it is measured
        old.write_bytes(model.read_bytes())
        (folder / "mlopt-budget.toml").write_text(BUDGET)
        budget, targets = load_budget(folder / "mlopt-budget.toml"), Targets()
        found, seconds, pairs, ratios = Counter(), [], [], []
        for seed in range(count):
            started = time.perf_counter()
            case = Case(budget=budget, files=(new,), measures=slowed(targets, new, factor), baseline=folder / "base",
                        today=datetime.datetime.now(datetime.UTC).date(), seed=seed)
            (check,) = judge(case).checks
            seconds.append(time.perf_counter() - started)
            found[check.status.value] += 1
            pairs.append(check.looks[-1].pairs if check.looks else 0)
            ratios.append(round(1 + check.value, 4))
            print(seed, check.status.value, pairs[-1], ratios[-1], round(seconds[-1], 2), file=sys.stderr, flush=True)
    return {"gates": count, "factor": factor, "found": dict(found), "pairs": sorted(pairs), "ratios": sorted(ratios),
            "median_seconds": round(sorted(seconds)[len(seconds) // 2], 2), "most_seconds": round(max(seconds), 2)}


def main(model, unchanged=50, slower=20):
    host = Targets().get("host").facts()
    wanted = ((int(unchanged), 1.0), (int(slower), 1.1))
    results = [gates(Path(model), count, factor) for count, factor in wanted if count]
    print(json.dumps({"model": Path(model).name, "device": host.name, "tolerance": 0.05, "results": results}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
