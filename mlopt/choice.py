"""Which file to ship: the Pareto front, the limit, one recommendation for each format, and a sentence for each file.

The rule. A file meets the limit when it is proven, all its outputs are finite, and its drop (where there are labels) is
at most `max_drop`; without labels its agreement must be at least 1 - max_drop. That bound is the stricter one: top-1
cannot fall by more than the share of samples whose top-1 changed. Of the files that meet it, each format recommends the
smallest, unless it surely takes more than five times the float file's time here: such a file is for special hardware,
and is recommended only where nothing else meets the limit. Files within 1 % of the smallest count as equally small;
among those the winner is the one whose whole interval is within the limit, then the fastest, then the nearest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlopt.report import UNKNOWN, Candidate, Finding, Interval, Limit, Severity
from mlopt.words import grouped, known, percent, points, points_interval, ratio

MAX_DROP = 0.01        # one point: about what rivals' reports call "no loss", and more than the noise of 5,000 samples
AS_SMALL = 1.01        # sizes within 1 %: what a file's own metadata moves

TOO_SLOW = 5.0         # times float; unpacking 4-bit weights takes up to 4, what has no fast kernel 25 and more


@dataclass(frozen=True, kw_only=True)
class Choice:
    candidates: tuple[Candidate, ...]     # in the order they came, with the fields of the choice filled in
    limit: Limit
    findings: tuple[Finding, ...]         # what a choice hides: formats without a file, groups that lose, fewer samples


def choose(candidates: Sequence[Candidate], *, max_drop: float = MAX_DROP) -> Choice:
    """Mark the Pareto front, what meets the limit and what to ship, and say why for each candidate."""
    if not 0 <= max_drop <= 1:
        raise ValueError(f"max_drop is a fraction of the metric, 0.01 for one point; got {max_drop}")
    measure = "drop" if any(c.evidence and c.evidence.metric != "none" for c in candidates) else "agreement"
    bound = max_drop if measure == "drop" else 1 - max_drop
    limit = Limit(measure=measure, bound=bound, met=any(meets(c, measure, max_drop) for c in candidates))
    chosen: dict[int, Candidate] = {}
    findings = []
    for name in dict.fromkeys(c.format for c in candidates):
        peers = [c for c in candidates if c.format == name]
        best = _best(peers, measure, max_drop)
        if best is None:
            findings.append(_nothing_to_recommend(name, peers, measure, max_drop))
        for c in peers:
            chosen[id(c)] = replace(
                c,
                recommended=c is best,
                meets_limit=meets(c, measure, max_drop),
                on_pareto_front=_on_front(c, peers, measure),
                reason=_reason(c, peers, best, measure, max_drop),
            )
    findings += [f for c in chosen.values() if c.recommended for f in _groups_that_lose(c, max_drop)]
    findings += _how_compared(candidates)
    if not limit.met and (near := nearest(candidates, measure)) is not None:
        limit = replace(limit, nearest=f"{near.format}/{near.precision}")
    return Choice(candidates=tuple(chosen[id(c)] for c in candidates), limit=limit, findings=tuple(findings))


def loss(candidate: Candidate, measure: str) -> float:
    """How far the file is from the source: its drop, or the share of samples that disagree; `nan` where unproven."""
    if not candidate.verified or candidate.evidence is None or candidate.evidence.nonfinite:
        return UNKNOWN
    return candidate.evidence.drop if measure == "drop" else 1 - candidate.evidence.agreement


def loss_interval(candidate: Candidate, measure: str) -> Interval:
    if candidate.evidence is None:
        return Interval()
    if measure == "drop":
        return candidate.evidence.drop_interval
    of = candidate.evidence.agreement_interval
    return Interval(low=1 - of.high, high=1 - of.low)


def meets(candidate: Candidate, measure: str, max_drop: float) -> bool:
    """Whether the measured loss is within the limit; what was not measured is not."""
    return bool(candidate.path) and loss(candidate, measure) <= max_drop + 1e-12     # 1 - 0.99 is more than 0.01


def too_slow(candidate: Candidate) -> bool:
    """Whether even the low end of its time here is over five times the float file's; unknown is not."""
    return candidate.latency.ratio_interval.low > TOO_SLOW


def nearest(candidates: Sequence[Candidate], measure: str) -> Candidate | None:
    """The candidate with the smallest known loss; the smaller file where two are equal."""
    able = [c for c in candidates if c.path and not math.isnan(loss(c, measure))]
    return min(able, key=lambda c: (loss(c, measure), c.bytes), default=None)


def _eligible(peers: Sequence[Candidate], measure: str, max_drop: float) -> list[Candidate]:
    """Those within the limit, without the ones that are too slow where others are left."""
    able = [c for c in peers if meets(c, measure, max_drop)]
    return [c for c in able if not too_slow(c)] or able


def _best(peers: Sequence[Candidate], measure: str, max_drop: float) -> Candidate | None:
    able = _eligible(peers, measure, max_drop)
    if not able:
        return None
    smallest = min(c.bytes for c in able)

    def rank(c: Candidate) -> tuple[bool, float, float, int]:
        surely = loss_interval(c, measure).high <= max_drop
        speed = c.latency.ratio if math.isfinite(c.latency.ratio) else math.inf
        return not surely, speed, loss(c, measure), c.bytes

    return min((c for c in able if c.bytes <= smallest * AS_SMALL), key=rank)


def _on_front(c: Candidate, peers: Sequence[Candidate], measure: str) -> bool:
    """Whether no other candidate of the format is at least as small and as near, and better in one of the two."""
    own = (c.bytes, loss(c, measure))
    if not c.path or math.isnan(own[1]):
        return False
    others = [(p.bytes, loss(p, measure)) for p in peers if p.path and p is not c]
    return not any(size <= own[0] and lost <= own[1] and (size, lost) != own for size, lost in others)


def _reason(c: Candidate, peers: Sequence[Candidate], best: Candidate | None, measure: str, max_drop: float) -> str:
    """One plain sentence with the figures that decided."""
    lost = loss(c, measure)
    if math.isnan(lost):
        return _why_unknown(c, measure)
    figures = _figures(c, measure, max_drop)
    if c is best:
        able = _eligible(peers, measure, max_drop)
        among = f"smallest of {len(able)} files within the limit" if len(able) > 1 else "only file within the limit"
        if any(p.bytes < c.bytes for p in able):
            among = f"as small as the smallest of {len(able)} files within the limit, to 1 %, and better otherwise"
        return f"{among}: {grouped(c.bytes)} bytes, {figures}{_speed(c)}"
    if best is not None and meets(c, measure, max_drop) and too_slow(c) and not too_slow(best):
        return f"within the limit but slow: {ratio(c.latency.ratio)} of float on this processor; {figures}"
    if best is not None and meets(c, measure, max_drop):
        than = f"larger than {best.precision}" if c.bytes > best.bytes else f"no better than {best.precision}"
        return f"within the limit but {than}: {figures}"
    close = nearest(peers, measure) if best is None else None
    return f"over the limit: {figures}" + ("; the nearest of its format" if c is close else "")


def _why_unknown(c: Candidate, measure: str) -> str:
    if not c.path:
        return "not made: the findings say why"
    if not c.verified or c.evidence is None:
        return "not proven in its own runtime, so it is never recommended"
    if c.evidence.nonfinite:
        return f"{grouped(c.evidence.nonfinite)} of {grouped(c.evidence.n)} samples gave NaN or infinity"
    return f"its {measure} is unknown, and unknown is not within the limit"


def _figures(c: Candidate, measure: str, max_drop: float) -> str:
    """The loss with its interval, and what the interval says about it."""
    lost, interval = loss(c, measure), loss_interval(c, measure)
    assert c.evidence is not None
    if measure == "drop":
        text = f"drop {points(lost)} points" + (f" {points_interval(interval)}" if known(interval) else "")
        if known(interval) and interval.low <= 0 <= interval.high:
            text += ", inside the noise"
    else:
        text = f"agrees with the source on {percent(c.evidence.agreement, 2)} of {grouped(c.evidence.n)} samples"
    if not known(interval):
        return text
    if lost <= max_drop < interval.high:
        text += f"; more samples would tell whether it is really within {_bound(measure, max_drop)}"
    elif interval.low <= max_drop < lost:
        text += f"; more samples would tell whether it is really outside {_bound(measure, max_drop)}"
    elif lost > max_drop:
        text += f" against {_bound(measure, max_drop)}"
    return text


def _bound(measure: str, max_drop: float) -> str:
    return f"{points(max_drop)} points" if measure == "drop" else percent(1 - max_drop, 2)


def _speed(c: Candidate) -> str:
    """A warning where a recommended file is measurably slower than the float file here."""
    of = c.latency
    if not of.ratio > 1:
        return ""
    if known(of.ratio_interval) and of.ratio_interval.low <= 1:
        return ""                                     # inside the noise: no claim
    return f"; slower than float on this processor: {ratio(of.ratio)}"


def _nothing_to_recommend(name: str, peers: Sequence[Candidate], measure: str, max_drop: float) -> Finding:
    close = nearest(peers, measure)
    message = f"no {name} file is within {_bound(measure, max_drop)}"
    if measure == "agreement":
        message = f"no {name} file agrees with the source on {_bound(measure, max_drop)} of the samples"
    if close is not None:
        message += f"; the nearest is {close.precision}: {_figures(close, measure, max_drop)}"
    return Finding(severity=Severity.WARNING, code="nothing-within-limit", about=name, message=message)


def _groups_that_lose(c: Candidate, max_drop: float) -> list[Finding]:
    """A class or slice of a recommended file that loses more than the limit, its widened interval included."""
    assert c.evidence is not None
    found = []
    for kind, group in (("class", c.evidence.worst_class), ("slice", c.evidence.worst_slice)):
        if group is not None and group.drop_interval.low > max_drop:
            message = (
                f"{kind} {group.name} loses {points(group.drop)} points {points_interval(group.drop_interval)} on its "
                f"{grouped(group.n)} samples, while the whole loses {points(c.evidence.drop)}"
            )
            about = f"{c.format}/{c.precision}"
            found.append(Finding(severity=Severity.WARNING, code="group-loses", about=about, message=message))
    return found


def _how_compared(candidates: Sequence[Candidate]) -> list[Finding]:
    """How outputs and labels were read, once; and which files were compared on fewer samples than others."""
    proven = [(f"{c.format}/{c.precision}", c.evidence) for c in candidates if c.verified and c.evidence]
    notes = dict.fromkeys(note for _, e in proven for note in e.notes)
    found = [Finding(severity=Severity.NOTE, code="how-compared", about="data", message=note) for note in notes]
    most = max((e.n for _, e in proven), default=0)
    for about, e in proven:
        if e.n < most:
            message = f"compared on {grouped(e.n)} of {grouped(most)} samples, so its interval is wider"
            found.append(Finding(severity=Severity.NOTE, code="fewer-samples", about=about, message=message))
    return found
