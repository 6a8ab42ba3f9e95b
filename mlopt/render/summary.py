"""The short object for machines that `mlopt compress --json` prints."""

import math
from dataclasses import dataclass
from typing import Any

import msgspec

from mlopt.report import Candidate, Evidence, Finding, Interval, Report, Trained
from mlopt.words import known


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    path: str
    framework: str
    sha256: str
    parameters: int
    macs: int
    file_bytes: int
    weight_bytes: int
    optimizer_bytes: int                         # in the file, never shipped
    samples: str                                 # which samples the metric is of: "test", "calibration", "synthesised"
    n: int
    metric: str                                  # "top1", "auc", "r2" or "none"
    value: float | None
    interval: tuple[float, float] | None         # 95 %


@dataclass(frozen=True, kw_only=True)
class CandidateSummary:
    path: str                                    # within the bundle; empty where the file could not be made
    format: str
    precision: str
    bytes: int
    bytes_zipped: int
    verified: bool
    metric: str
    value: float | None
    interval: tuple[float, float] | None
    n: int
    drop: float | None                           # source metric - value
    drop_interval: tuple[float, float] | None    # paired, over the same samples
    agreement: float | None                      # with the source
    max_abs_error: float | None
    sqnr_db: float | None                        # null where unknown, and where max_abs_error is 0
    latency_ratio: float | None                  # to the float file of the same format, on this host
    weights_by_dtype: dict[str, int]
    recommended: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class StepSummary:
    name: str
    settings: dict[str, Any]
    epochs: int
    seconds: float
    validation_before: float | None              # the task's metric on the validation samples, in the framework
    validation: float | None
    macs: int
    parameters: int
    nonzero: int
    waiting: float | None                        # share of the training's time spent waiting for data
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainedSummary:
    """The recipe that was carried out, if one was."""

    recipe: str
    sha256: str
    train_samples: int
    validation_samples: int
    seconds: float
    steps: tuple[StepSummary, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `mlopt compress --json` prints."""

    schema: int
    source: SourceSummary
    candidates: tuple[CandidateSummary, ...]
    findings: tuple[Finding, ...]
    trained: TrainedSummary | None = None


def summary(report: Report) -> dict[str, Any]:
    """Plain values of the short object: None where a number is unknown, so that it is strict JSON as it stands."""
    found = Summary(
        schema=1,
        source=_source(report),
        candidates=tuple(_candidate(c) for c in report.candidates),
        findings=report.findings,
        trained=None if report.trained is None else _trained(report.trained),
    )
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def _trained(trained: Trained) -> TrainedSummary:
    return TrainedSummary(
        recipe=trained.recipe, sha256=trained.sha256, train_samples=trained.train_samples,
        validation_samples=trained.validation_samples, seconds=trained.seconds,
        steps=tuple(
            StepSummary(
                name=step.name, settings=step.settings, epochs=step.epochs, seconds=step.seconds,
                validation_before=_number(step.validation_before), validation=_number(step.validation),
                macs=step.macs, parameters=step.parameters, nonzero=step.nonzero, waiting=_number(step.waiting),
                notes=step.notes,
            )
            for step in trained.steps
        ),
    )


def _source(report: Report) -> SourceSummary:
    source, baseline = report.source, report.baseline
    return SourceSummary(
        path=str(source.path), framework=source.framework, sha256=source.digest, parameters=source.parameters,
        macs=source.macs, file_bytes=source.file_bytes, weight_bytes=source.weight_bytes,
        optimizer_bytes=source.optimizer_bytes, samples=baseline.samples, n=baseline.n, metric=baseline.metric,
        value=_number(baseline.value), interval=_pair(baseline.interval),
    )


def _candidate(c: Candidate) -> CandidateSummary:
    evidence = c.evidence or Evidence(runtime="", samples="", n=0, metric="none")
    return CandidateSummary(
        path=c.path, format=c.format, precision=c.precision, bytes=c.bytes, bytes_zipped=c.bytes_zipped,
        verified=c.verified, metric=evidence.metric, value=_number(evidence.value), interval=_pair(evidence.interval),
        n=evidence.n, drop=_number(evidence.drop), drop_interval=_pair(evidence.drop_interval),
        agreement=_number(evidence.agreement), max_abs_error=_number(evidence.max_abs_error),
        sqnr_db=_number(evidence.sqnr_db), latency_ratio=_number(c.latency.ratio),
        weights_by_dtype=dict(c.weights_by_dtype), recommended=c.recommended, reason=c.reason,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _pair(interval: Interval) -> tuple[float, float] | None:
    return (interval.low, interval.high) if known(interval) else None
