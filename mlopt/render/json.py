"""A report as strict JSON and back: what is unknown is null on disk and `nan` in memory."""

import math
from pathlib import Path

import msgspec

from mlopt import plain
from mlopt.documents import DocumentInvalid, json_value
from mlopt.errors import MloptError
from mlopt.report import Baseline, Candidate, Evidence, Report

SCHEMA = 1     # the newest version of a report that this code writes and reads
LARGEST_BYTES = 64 << 20     # of report.json; one of 17 files of a network with 2,000 layers has ten million
_FRACTIONS = ("top1", "auc")     # metrics that lie between 0 and 1; the third, "r2", has no lower end
_OF_LABELS = (*_FRACTIONS, "r2")
_SLACK = 1e-6     # of a drop against the values that it is the difference of


class ReportUnreadable(MloptError):
    """Something that `mlopt compress` did not write as report.json; the sentence says what and where."""


def to_json(report: Report) -> bytes:
    """Strict JSON, indented; NaN and infinities become null."""
    return msgspec.json.format(msgspec.json.encode(report, enc_hook=_path_as_text), indent=1)


def from_json(data: bytes) -> Report:
    """The report again; null becomes `nan`.

    Raises `ReportUnreadable` for what is no report of a version known here, and for figures that cannot be: of another
    type, outside their range, or against each other.
    """
    try:
        found = json_value(data)
    except DocumentInvalid as err:
        raise ReportUnreadable(
            f"this is not a report: {err.found}. A report is the report.json that mlopt compress wrote") from err
    version = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise ReportUnreadable("this is not a report: it has no schema version. mlopt compress writes report.json")
    if version > SCHEMA:
        raise ReportUnreadable(
            f"the report has schema {version}, this mlopt reads up to {SCHEMA}: upgrade mlopt to read it")
    if version < SCHEMA:
        raise ReportUnreadable(f"the report has schema {version}, and the first there is has {SCHEMA}")
    try:
        report = plain.from_json(found, Report)
    except msgspec.ValidationError as err:
        raise ReportUnreadable(f"this report cannot be read: {err}") from err
    for place, candidate in enumerate(report.candidates):
        wrong = _contradiction(candidate, report.baseline)
        if wrong:
            raise ReportUnreadable(f"this report cannot be right: {wrong} - at `$.candidates[{place}]`")
    _refuse_two_of_one_file(report)
    return report


def _contradiction(candidate: Candidate, source: Baseline) -> str:
    """What its figures say against each other; "" where nothing does. No range of a single field can tell this."""
    evidence = candidate.evidence
    if candidate.verified and (evidence is None or not candidate.path or not candidate.sha256):
        return "a file is called verified that has no path, no sha256 or no evidence"
    if evidence is None:
        return ""
    if evidence.metric not in (*_OF_LABELS, "none"):
        return f"there is no metric {evidence.metric[:40]!r}"
    if evidence.metric == "none" and not (math.isnan(evidence.value) and math.isnan(evidence.drop)):
        return "a value or a drop is given where there is no metric"
    if evidence.metric in _FRACTIONS and (evidence.value < 0 or abs(evidence.drop) > 1):
        return f"{evidence.metric} lies between 0 and 1, its drop between -1 and 1"
    if evidence.nonfinite > evidence.n:
        return f"{evidence.nonfinite} of {evidence.n} samples have outputs that are not finite"
    same_samples = (source.metric, source.samples, source.n) == (evidence.metric, evidence.samples, evidence.n)
    if same_samples and abs(source.value - evidence.value - evidence.drop) > _SLACK:
        return f"a drop of {evidence.drop:g} from {source.value:g} to {evidence.value:g}"
    return ""


def _refuse_two_of_one_file(report: Report) -> None:
    """Two precisions may come to the same bytes; they are then one file, which cannot score twice."""
    seen: dict[str, Evidence] = {}
    for place, candidate in enumerate(report.candidates):
        evidence = candidate.evidence
        if evidence is None or not candidate.verified:
            continue
        first = seen.setdefault(candidate.sha256, evidence)
        if first.n != evidence.n or any(
            abs(a - b) > _SLACK for a, b in ((first.value, evidence.value), (first.drop, evidence.drop),
                                             (first.agreement, evidence.agreement))
        ):
            raise ReportUnreadable(f"this report cannot be right: one file (sha256 {candidate.sha256[:12]}...) has two "
                                   f"different scores - at `$.candidates[{place}]`")


def _path_as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a report holds no {type(value).__name__}")
