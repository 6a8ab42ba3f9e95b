"""The headline: what to ship in each format; and what the table says of every file."""

import math
from dataclasses import dataclass

from mlopt.report import Candidate, Report
from mlopt.words import (
    METRIC_NAMES,
    UNKNOWN_TEXT,
    grouped,
    known,
    metric_value,
    percent,
    points,
    points_interval,
    ratio,
)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is recommended of one format, or why nothing is."""

    format: str
    slot: int
    file: Candidate | None
    facts: tuple[tuple[str, str], ...]
    why: str


def cards(report: Report, slot_of: dict[str, int]) -> list[Card]:
    """One a format, by order of appearance."""
    return [_card(report, name, slot) for name, slot in slot_of.items()]


def _card(report: Report, name: str, slot: int) -> Card:
    c = next((c for c in report.candidates if c.format == name and c.recommended), None)
    if c is None or c.evidence is None:
        why = next((f.message for f in report.findings if f.about == name and f.code == "nothing-within-limit"), "")
        return Card(format=name, slot=slot, file=None, facts=(), why=why)
    e = c.evidence
    facts = [("bytes", grouped(c.bytes))]
    if report.source.weight_bytes:
        facts.append(("to float weights", percent(c.bytes / report.source.weight_bytes)))
    if e.metric != "none":
        facts.append((METRIC_NAMES[e.metric], metric_value(e.metric, e.value)))
        facts.append(("drop, points", f"{points(e.drop)} {points_interval(e.drop_interval)}"))
    facts += [("agrees", percent(e.agreement, 2)), ("time to float", ratio(c.latency.ratio))]
    return Card(format=name, slot=slot, file=c, facts=tuple(facts), why="")


def time_text(c: Candidate) -> str:
    of = c.latency
    if not math.isfinite(of.ratio):
        return UNKNOWN_TEXT
    spread = f" [{of.ratio_interval.low:.2f}, {of.ratio_interval.high:.2f}]" if known(of.ratio_interval) else ""
    return ratio(of.ratio) + spread


def tag(c: Candidate) -> tuple[str, str]:
    """Where a file stands: a class of the style sheet, and the words."""
    if c.recommended:
        return "good", "recommended"
    if c.meets_limit:
        return "", "within the limit"
    return "bad", "not made" if not c.path else "over the limit" if c.verified else "not proven"
