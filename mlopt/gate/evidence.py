"""What is known of a file: numbers keyed by the file's digest, the target and the metric, each with its origin."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlopt import files
from mlopt.gate.budget import Metric
from mlopt.profiling.contract import RunResult
from mlopt.report import Report

Value = int | float | tuple[str, ...]
INSTRUCTIONS = "instructions"        # keys in `RunResult.extra`: the count of one inference, and what it rests on
INSTRUCTIONS_CONDITIONS = "instructions_conditions"
UNBOUNDED = ("r2",)                  # task metrics that are no share: they have no lower end
_REPEATS_WITHIN = 0.01               # two fresh processes agree on an exact figure to this fraction, or it is none


@dataclass(frozen=True, kw_only=True, order=True)
class Key:
    digest: str                      # sha256 of the file
    target: str                      # "" for what the file alone tells
    metric: Metric


@dataclass(frozen=True, kw_only=True)
class Fact:
    value: Value
    origin: str                      # "the file", "report.json", "2 fresh processes on host", "mlopt-baseline.json"
    conditions: str = ""             # what must be equal for two such figures to be compared; "" for nothing
    note: str = ""


Evidence = Mapping[Key, Fact]
_MOST_DIGITS = 18                    # of a count of instructions


def of_file(path: Path, digest: str) -> dict[Key, Fact]:
    """What needs no runtime."""
    return {
        Key(digest=digest, target="", metric=metric): Fact(value=value, origin="the file")
        for metric, value in ((Metric.SIZE, files.size(path)), (Metric.ZIPPED, files.zipped_size(path)))
    }


def of_report(report: Report) -> dict[Key, Fact]:
    """Scores of every candidate that was proven, under the digest of its own file; what is nan is not there."""
    found: dict[Key, Fact] = {}
    for candidate in report.candidates:
        if not candidate.path or not candidate.sha256:
            continue
        if report.source.macs > 0:
            note = "of the source model: conversion may fuse or add some"
            found[Key(digest=candidate.sha256, target="", metric=Metric.MACS)] = Fact(
                value=report.source.macs, origin="the report", note=note
            )
        evidence = candidate.evidence
        if evidence is None or not candidate.verified:
            continue
        values = {Metric.AGREEMENT: evidence.agreement}
        if evidence.metric != "none":
            values |= {Metric.ACCURACY: evidence.value, Metric.DROP: evidence.drop}
        samples = f"{evidence.n:,} {evidence.samples} samples"
        origin = f"the report: {evidence.metric} on {samples}"
        for metric, value in values.items():
            same = samples if metric is Metric.AGREEMENT else f"{evidence.metric} on {samples}"
            if math.isfinite(value):
                found[Key(digest=candidate.sha256, target="", metric=metric)] = Fact(value=value, origin=origin,
                                                                                     conditions=same)
    return found


def of_runs(runs: Sequence[RunResult], digest: str, target: str) -> tuple[dict[Key, Fact], tuple[str, ...]]:
    """Memory and instructions out of several fresh processes, and what is wrong with those that do not repeat.

    The largest of the figures counts: they agree to one percent, or there is no fact.
    """
    found: dict[Key, Fact] = {}
    notes: list[str] = []
    read = {
        Metric.ARENA: [run.memory.arena for run in runs], Metric.HEAP: [run.memory.heap_delta for run in runs],
        Metric.INSTRUCTIONS: [_count(run.extra.get(INSTRUCTIONS, "")) for run in runs],
    }
    for metric, values in read.items():
        if not values or min(values) < 0:
            continue
        if max(values) - min(values) > _REPEATS_WITHIN * max(values):
            notes.append(f"{metric} on {target} does not repeat: {', '.join(f'{v:,}' for v in values)}")
            continue
        found[Key(digest=digest, target=target, metric=metric)] = Fact(
            value=max(values), origin=f"{len(values)} fresh processes on {target}",
            conditions=conditions(metric, runs[0]),
        )
    return found, tuple(notes)


def of_count(per_inference: int, conditions: str, digest: str, target: str) -> dict[Key, Fact]:
    """Instructions that this host counted by itself, beside its measurements."""
    return {Key(digest=digest, target=target, metric=Metric.INSTRUCTIONS): Fact(
        value=per_inference, origin=f"a count on {target}", conditions=conditions,
    )}


def conditions(metric: Metric, run: RunResult) -> str:
    """What a stored figure of a target depends on beside the file: the runtime, and for some its choice of kernels."""
    if metric is Metric.INSTRUCTIONS:
        return run.extra.get(INSTRUCTIONS_CONDITIONS, "")
    if metric is Metric.ARENA:
        return run.facts.runtime
    return "; ".join(filter(None, (run.facts.runtime, ",".join(sorted(run.facts.features)))))


def _count(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else -1
