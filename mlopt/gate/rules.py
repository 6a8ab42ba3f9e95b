"""Numbers to a status, without a device or a clock: exact integers, scores, paired latency, absolute percentiles.

Comparisons are written so that nan fails them. Three families, because the numbers are of three kinds: a size has no
noise, a latency ratio has noise that pairs cancel, and a percentile of one device has noise that only more runs reduce.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mlopt.gate.verdict import Status

# Pairs after which the paired rule may decide. Five is the first: where noise has two values, one as likely as the
# other, all pairs show the same one with probability 2^-n and look noiseless; at 4 that alone would be 6 % a side.
LOOKS = (5, 7, 10, 16, 24)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    status: Status
    rule: str               # the part of the limit that decided
    limit: float


def allowed_growth(baseline: int, growth: float, floor: int) -> int:
    """The largest integer that counts as within `growth` (a fraction) of `baseline`, or within `floor` above it.

    Exact: the fraction is taken as its decimal digits say.

    >>> allowed_growth(1000, 0.1, 0), allowed_growth(100, 0.02, 512), allowed_growth(30, 0.1, 0)
    (1100, 612, 33)
    """
    return baseline + max(math.floor(baseline * Fraction(repr(growth))), floor)


def exact(
    value: int | None, *, max: int | None, growth: float | None, floor: int, ratchet: bool, baseline: int | None
) -> Outcome:
    """Judge an integer that has no noise. What is missing, of the file or of its baseline, fails.

    With `ratchet`, a value above `max` passes while it is not above the baseline; and without `max` it may not grow.

    >>> exact(70, max=64, growth=None, floor=0, ratchet=True, baseline=72).status
    <Status.PASS: 'pass'>
    >>> exact(73, max=64, growth=None, floor=0, ratchet=True, baseline=72).rule
    'ratchet'
    """
    nan = float("nan")
    if value is None:
        return Outcome(status=Status.FAIL, rule="missing", limit=nan)
    grown = None if growth is None or baseline is None else allowed_growth(baseline, growth, floor)
    if growth is not None and (grown is None or value > grown):
        return Outcome(status=Status.FAIL, rule="growth", limit=nan if grown is None else grown)
    if ratchet and (max is None or value > max):
        if baseline is None and max is not None:
            return Outcome(status=Status.FAIL, rule="max", limit=max)
        passed = baseline is not None and value <= baseline
        return Outcome(status=Status.PASS if passed else Status.FAIL, rule="ratchet",
                       limit=nan if baseline is None else baseline)
    if max is not None and value > max:
        return Outcome(status=Status.FAIL, rule="max", limit=max)
    limits = [(limit, rule) for limit, rule in ((max, "max"), (grown, "growth")) if limit is not None]
    limit, rule = sorted(limits)[0]          # the tighter of the two that it kept
    return Outcome(status=Status.PASS, rule=rule, limit=limit)


def score(
    value: float, *, min: float | None = None, max: float | None = None, fall: float | None = None,
    baseline: float = float("nan"),
) -> Outcome:
    """Judge a measured score as it is: the samples are fixed, so the same file scores the same.

    >>> score(0.86, min=0.85, fall=0.005, baseline=0.87).rule
    'fall'
    >>> score(float("nan"), max=0.01).status
    <Status.FAIL: 'fail'>
    """
    # a difference of two fractions is off in the sixteenth digit: one ten-thousandth of a point is no finding
    slack = 1e-9
    decided = Outcome(status=Status.FAIL, rule="missing", limit=float("nan"))
    if min is not None:
        decided = Outcome(status=Status.PASS if value >= min - slack else Status.FAIL, rule="min", limit=min)
    if max is not None:
        decided = Outcome(status=Status.PASS if value <= max + slack else Status.FAIL, rule="max", limit=max)
    if fall is not None and (min is None or decided.status is Status.PASS):
        limit = baseline - fall
        passed = value >= limit - slack
        if not passed or min is None:
            return Outcome(status=Status.PASS if passed else Status.FAIL, rule="fall", limit=limit)
    return decided


def op_set(
    found: Sequence[str] | None, *, allow: Sequence[str] | None, forbid: Sequence[str], baseline: Sequence[str] | None
) -> tuple[str, tuple[str, ...]]:
    """The rule that is broken and the operations that break it; ("", ()) when none is.

    `baseline` is the set that a ratchet holds on to, None where there is no ratchet.

    >>> op_set(["ADD", "TANH"], allow=None, forbid=["TANH"], baseline=None)
    ('forbid', ('TANH',))
    """
    if not found:
        return "missing", ()
    here = set(found)
    broken = (
        ("forbid", here & set(forbid)),
        ("allow", here - set(allow) if allow is not None else set()),
        ("ratchet", here - set(baseline) if baseline is not None else set()),
    )
    return next(((rule, tuple(sorted(ops))) for rule, ops in broken if ops), ("", ()))


def paired_bounds(
    differences: np.ndarray, *, alpha: float, looks: Sequence[int] = LOOKS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower bound, mean and upper bound of the mean of `differences` over its last axis; shape [..., n], n at least 2.

    Each bound is one-sided at alpha / len(looks), so that each look spends a fifth of alpha: by Bonferroni, over all
    looks together the lower bound is ever above the true mean with probability at most alpha, and so is the upper bound
    below it. Student's t interval (Student 1908), which is exact for normal differences, and conservative for the
    heavier tails of a busy machine as long as they are as likely up as down; orders are drawn to make them so.

    >>> low, mean, high = paired_bounds(np.array([0.01, -0.01, 0.02, 0.0, -0.02, 0.0]), alpha=0.05)
    >>> round(float(low), 4), round(float(high), 4)       # t at 0.99 with 5 degrees of freedom is 3.365
    (-0.0194, 0.0194)
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    n = differences.shape[-1]
    mean = differences.mean(axis=-1)
    half = stdtrit(n - 1, 1 - alpha / len(looks)) * differences.std(axis=-1, ddof=1) / math.sqrt(n)
    return mean - half, mean, mean + half


def paired_status(low: float, high: float, *, tolerance: float) -> Status | None:
    """FAIL when growth above `tolerance` is proven, PASS when growth up to it is, None while neither; bounds are logs.

    >>> paired_status(0.06, 0.09, tolerance=0.05), paired_status(-0.02, 0.03, tolerance=0.05)
    (<Status.FAIL: 'fail'>, <Status.PASS: 'pass'>)
    """
    limit = math.log1p(tolerance)
    if low > limit:
        return Status.FAIL
    return Status.PASS if high <= limit else None


def detectable(spread: float, *, tolerance: float, alpha: float, looks: Sequence[int] = LOOKS) -> float:
    """The growth (a fraction) that is called broken in 95 % of gates, for differences with standard deviation `spread`.

    From the last look alone, so a little pessimistic: log(1 + tolerance) + (t + 1.645) spread / sqrt(n).

    >>> round(detectable(0.045, tolerance=0.05, alpha=0.05), 3)
    0.091
    """
    from scipy.special import stdtrit

    n = looks[-1]
    t = float(stdtrit(n - 1, 1 - alpha / len(looks)))
    return math.expm1(math.log1p(tolerance) + (t + 1.645) * spread / math.sqrt(n))


def fewest_runs(rank: float, confidence: float) -> int:
    """Runs below which a percentile's upper bound would rest on the single slowest run.

    The smallest n with P(at least 2 of n runs lie above the percentile) >= confidence; a run does with probability
    1 - rank, so that is 1 - rank^n - n rank^(n-1) (1 - rank). At 0.99 the counts are those of MLPerf's early stopping.

    >>> fewest_runs(0.9, 0.99), fewest_runs(0.99, 0.99)
    (64, 662)
    """
    n = 2
    while 1 - rank**n - n * rank ** (n - 1) * (1 - rank) < confidence:
        n += 1
    return n


def percentile_bounds(samples: np.ndarray, rank: float, confidence: float) -> tuple[float, float, float]:
    """Lower bound, estimate and upper bound of a percentile; each bound is one-sided at `confidence`.

    Distribution-free order statistics: the k-th smallest of n lies at or above the percentile with probability
    P(Binomial(n, rank) <= k - 1). `rank` is the percentile as a fraction. The upper bound is nan under
    `fewest_runs(rank, confidence)`, and all are nan where a sample is.

    >>> low, middle, high = percentile_bounds(np.arange(1.0, 101.0), 0.5, 0.95)
    >>> low, middle, high
    (42.0, 50.5, 59.0)
    """
    from scipy.special import bdtr

    n = len(samples)
    nan = float("nan")
    if n == 0 or not np.isfinite(samples).all():
        return nan, nan, nan
    ordered = np.sort(samples)
    below = bdtr(np.arange(n), n, rank)                     # below[k - 1] = P(Binomial <= k - 1)
    lower = int(np.searchsorted(below, 1 - confidence, side="right"))
    upper = int(np.searchsorted(below, confidence, side="left")) + 1
    return (
        float(ordered[lower - 1]) if lower else nan, float(np.quantile(ordered, rank)),
        float(ordered[upper - 1]) if n >= fewest_runs(rank, confidence) else nan,
    )


def percentile_status(low: float, high: float, *, limit: float) -> Status:
    """PASS when the percentile is within the limit at the bounds' confidence, FAIL when it is above it at the same.

    >>> percentile_status(20.0, 26.0, limit=25.0)
    <Status.INCONCLUSIVE: 'inconclusive'>
    """
    if high <= limit:
        return Status.PASS
    return Status.FAIL if low > limit or math.isnan(high) else Status.INCONCLUSIVE
