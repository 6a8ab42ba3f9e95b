"""How often the gate is wrong on this machine: unchanged models, and such that are slower, larger or a point worse.

    python benchmarks/gate_rates.py MODEL [--gates 50] [--seeded 20] [--only unchanged slower ...]

MODEL is a .tflite or .onnx file. Each gate has a seed of its own and goes from a budget file to a verdict:

- unchanged: the file against itself, with other bytes at its end, in real processes;
- slower: the same, with the measured times of the new file scaled by 1.1: the noise is the machine's, the change known;
- slower_file: a .tflite file with additions put behind its largest activation, as many as make it take at least 10 %
  longer by itself: a change that the runtime computes. By how much it is slower is measured first, and printed;
- larger: 10 % more bytes, of noise, at the file's end; beside it a file that grew by less than its limit allows;
- worse: a report in which a hundredth of the samples went from right to wrong, scored as `mlopt compress` scores it,
  against a baseline that `mlopt gate update` wrote; beside it one in which as many samples changed sides both ways.

Prints one JSON object, and on standard error a line a gate.
"""

import argparse
import contextlib
import copy
import datetime
import json
import statistics
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlopt import files
from mlopt.gate.budget import Metric, load_budget
from mlopt.gate.job import check, update
from mlopt.gate.judge import Case, judge
from mlopt.gate.measuring import Targets, format_of
from mlopt.gate.paired import decide, differences
from mlopt.profiling.contract import RunRequest

LATENCY = 'schema = 1\n[[budget]]\nmodel = "*"\n[budget.latency]\np50 = { growth = "5%" }\n'
SIZE = 'schema = 1\n[[budget]]\nmodel = "m.*"\nsize = { growth = "5%" }\n'
ACCURACY = 'schema = 1\n[[budget]]\nmodel = "*"\naccuracy = { fall = "0.5 pt" }\n'
FACTOR = 1.1
SAMPLES = 2000


def slowed(targets, file, factor):
    """`Measures` under which `file` takes `factor` times as long."""

    def measures(target, request):
        measure = targets(target, request)

        def once(path, **beside):
            result = measure(path, **beside)
            times = factor if path == file else 1.0
            return replace(result, samples_us=tuple(s * times for s in result.samples_us))

        return once

    return measures


def latency(new_bytes, old_bytes, suffix, count, factor=1.0):
    """`count` gates of one file against the other."""
    with repository(LATENCY, suffix, new_bytes, old_bytes) as (folder, new):
        budget, targets = load_budget(folder / "mlopt-budget.toml"), Targets()
        found, seconds, pairs, ratios = Counter(), [], [], []
        for seed in range(count):
            case = Case(budget=budget, files=(new,), measures=slowed(targets, new, factor), baseline=folder / "base",
                        today=datetime.datetime.now(datetime.UTC).date(), seed=seed)
            verdict = judge(case)
            (check,) = verdict.checks
            seconds.append(verdict.seconds)
            found[check.status.value] += 1
            pairs.append(check.looks[-1].pairs if check.looks else 0)
            ratios.append(round(1 + check.value, 4))
            say(seed, check.status.value, pairs[-1], ratios[-1], round(seconds[-1], 2))
    return {"gates": count, "found": dict(found), "pairs": dict(sorted(Counter(pairs).items())),
            "ratios": sorted(ratios), "median_seconds": round(statistics.median(seconds), 2),
            "most_seconds": round(max(seconds), 2)}


def larger(model, suffix, count):
    """Gates in which the file grew by 10 %, and by 4 %; each seed has a size of its own."""
    found = {"grown by 10%": Counter(), "grown by 4%": Counter()}
    for seed in range(count):
        noise = np.random.default_rng(seed)
        old = model + noise.bytes(int(noise.integers(4096)))
        for name, growth in (("grown by 10%", 0.10), ("grown by 4%", 0.04)):
            with repository(SIZE, suffix, old + noise.bytes(int(growth * len(old))), old) as (folder, new):
                verdict = check(files=(new,), budget=folder / "mlopt-budget.toml", baseline=folder / "base",
                                      seed=seed)
            found[name][verdict.exit.name] += 1
            say(seed, name, verdict.checks[0].sentence)
    return {"gates": count, "found": {name: dict(exits) for name, exits in found.items()}}


def worse(model, suffix, count):
    """Gates in which accuracy fell by a point, and in which it did not though samples changed sides."""
    from mlopt.render.json import to_json

    found = {"a point less": Counter(), "changed and not worse": Counter()}
    for seed in range(count):
        for name, won in (("a point less", 0), ("changed and not worse", SAMPLES // 100)):
            with repository(ACCURACY, suffix, model, model) as (folder, new):
                budget, report = folder / "mlopt-budget.toml", folder / "report.json"
                report.write_bytes(to_json(scored(new, seed, lost=0, won=0)))
                update(files=(new,), budget=budget, report=report)
                new.write_bytes(model + bytes(16))
                report.write_bytes(to_json(scored(new, seed, lost=SAMPLES // 100, won=won)))
                verdict = check(files=(new,), budget=budget, report=report, seed=seed)
            found[name][verdict.exit.name] += 1
            say(seed, name, verdict.checks[0].sentence)
    return {"gates": count, "samples": SAMPLES, "found": {name: dict(exits) for name, exits in found.items()}}


def scored(file, seed, *, lost, won):
    """A report that has `file` as its first candidate: `lost` samples that the source has right are wrong in it, and
    `won` that the source has wrong are right.
    """
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
    from reports import sample_report

    from mlopt.verify import compare, identify_task

    report = sample_report(n=200, seed=seed)
    noise = np.random.default_rng([seed, 1])
    labels = noise.integers(0, 10, SAMPLES)
    source = noise.normal(0, 1, (SAMPLES, 10))
    source[np.arange(SAMPLES), labels] += noise.normal(3.0, 1.5, SAMPLES)
    right = source.argmax(axis=1) == labels
    changed = source.copy()
    for rows, wanted in ((noise.choice(np.flatnonzero(right), lost, replace=False), (labels + 1) % 10),
                         (noise.choice(np.flatnonzero(~right), won, replace=False), labels)):
        changed[rows, wanted[rows]] = changed[rows].max(axis=1) + 1
    softmax = [np.exp(a) / np.exp(a).sum(axis=1, keepdims=True) for a in (source, changed)]
    task = identify_task(report.source.signature, report.source.output_activations, {"label": softmax[0]}, labels)
    evidence = compare({"label": softmax[0]}, {"label": softmax[1]}, task=task, labels=labels, slices={},
                       class_names=report.class_names, runtime="a made-up runtime", samples="test", seed=seed)
    first = replace(report.candidates[0], sha256=files.digest(file), evidence=evidence, verified=True)
    return replace(report, candidates=(first, *report.candidates[1:]))


def slower_file(model, folder):
    """(bytes of a file whose runtime takes at least 10 % longer, the median growth that was measured, additions)."""
    targets = Targets()
    measure = targets("host", RunRequest(file="", format="", nonce="", runs=1000, most_seconds=2, memory=False))
    old, new = folder / "old.tflite", folder / "new.tflite"
    old.write_bytes(model)

    def growth(additions):
        new.write_bytes(with_additions(model, additions))
        pairs = decide(new, old, measure=measure, tolerances={Metric.P50: 0.0}, alpha=0.05, seed=additions, looks=(5,))
        found = float(np.expm1(np.median(differences(pairs.processes, Metric.P50))))
        say("slower file:", additions, "additions make it", f"{found:+.1%}")
        return found

    too_few, enough = 0, 1
    while (found := growth(enough)) < FACTOR - 1:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if (seen := growth(middle)) < FACTOR - 1:
            too_few = middle
        else:
            enough, found = middle, seen
    return with_additions(model, enough), found, enough


def with_additions(model, count):
    """The TFLite file with `count` additions of the largest activation to itself behind the operation that makes it.

    What the network computes changes (integers saturate), what it costs grows by the additions.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = tree.subgraphs[0]
    made = [(int(np.prod(graph.tensors[op.outputs[0]].shape)), place) for place, op in enumerate(graph.operators)
            if op.outputs[0] not in graph.outputs]
    _, place = max(made)
    source = last = int(graph.operators[place].outputs[0])
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 2
    tree.operatorCodes.append(code)
    added = []
    for n in range(count):
        tensor = copy.deepcopy(graph.tensors[source])
        tensor.name = f"{n} times added".encode()
        graph.tensors.append(tensor)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(tree.operatorCodes) - 1
        operator.inputs, operator.outputs = [last, last], [len(graph.tensors) - 1]
        operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
        operator.builtinOptions = schema.AddOptionsT()
        added.append(operator)
        last = len(graph.tensors) - 1
    for operator in graph.operators:
        operator.inputs = [last if i == source else i for i in operator.inputs]
    graph.operators[place + 1 : place + 1] = added
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@contextlib.contextmanager
def repository(budget, suffix, new_bytes, old_bytes):
    """(folder with a budget, a model and its baseline; the model)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").mkdir()
        new = folder / f"m{suffix}"
        new.write_bytes(new_bytes)
        (folder / f"base/m{suffix}").write_bytes(old_bytes)
        (folder / "mlopt-budget.toml").write_text(budget)
        yield folder, new


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def main():
    parts = ("unchanged", "slower", "slower_file", "larger", "worse")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--gates", type=int, default=50, help="of the unchanged file")
    parser.add_argument("--seeded", type=int, default=20, help="of each change")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    asked = parser.parse_args()
    model, suffix = asked.model.read_bytes(), asked.model.suffix
    same = model + bytes(16) if format_of(asked.model) == "tflite" else same_onnx(model)
    results = {}
    for part in asked.only:
        if part == "unchanged":
            results[part] = latency(same, model, suffix, asked.gates)
        elif part == "slower":
            results[part] = {"scaled by": FACTOR, **latency(same, model, suffix, asked.seeded, FACTOR)}
        elif part == "slower_file" and suffix == ".tflite":
            with tempfile.TemporaryDirectory() as name:
                slower, growth, additions = slower_file(model, Path(name))
            results[part] = {"additions": additions, "measured growth": round(growth, 4),
                             **latency(slower, model, suffix, asked.seeded)}
        elif part == "larger":
            results[part] = larger(model, suffix, asked.seeded)
        elif part == "worse":
            results[part] = worse(model, suffix, asked.seeded)
    device = Targets().get("host").facts().name
    print(json.dumps({"model": asked.model.name, "device": device, "tolerance": 0.05, "results": results}, indent=1))


def same_onnx(model):
    """Other bytes, the same network."""
    import onnx

    tree = onnx.load_model_from_string(model)
    tree.doc_string = f"{tree.doc_string} again"
    return tree.SerializeToString()


if __name__ == "__main__":
    main()
