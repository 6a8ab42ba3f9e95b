"""The short object for machines that `mlopt compress --json` prints."""

import math
from dataclasses import dataclass
from typing import Any

import msgspec

from mlopt.report import Candidate, Evidence, Finding, Interval, Report
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
class Summary:
    """What `mlopt compress --json` prints."""

    schema: int
    source: SourceSummary
    candidates: tuple[CandidateSummary, ...]
    findings: tuple[Finding, ...]


def summary(report: Report) -> dict[str, Any]:
    """Plain values of the short object: None where a number is unknown, so that it is strict JSON as it stands."""
    found = Summary(
        schema=1,
        source=_source(report),
        candidates=tuple(_candidate(c) for c in report.candidates),
        findings=report.findings,
    )
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


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
