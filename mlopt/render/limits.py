"""What a report's limit asks for, in the words of every view."""

from mlopt.report import Report
from mlopt.words import METRIC_NAMES, percent, points


def asked(report: Report) -> str:
    """The limit as the end of a sentence."""
    limit = report.limit
    if limit.measure == "drop":
        return f"at most {points(limit.bound)} points of {METRIC_NAMES[report.baseline.metric]} lost"
    return f"the source's answer on at least {percent(limit.bound, 2)} of the samples"
