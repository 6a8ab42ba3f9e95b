"""Intervals: how far a measured number can be trusted, given how many samples it came from.

All are two-sided, 95 % unless `level` says otherwise. Each is `nan` to `nan` where it does not exist.
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from mlopt.report import Interval

REPLICATES = 1000      # the 2.5 % and 97.5 % points then rest on 25 replicates each
_CELLS = 2_000_000     # weights held at once by the bootstrap: 16 MB


def normal_quantile(level: float) -> float:
    """The z of a two-sided interval.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(share: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share seen in n independent samples.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> found = wilson(0.5, 10)
    >>> round(found.low, 4), round(found.high, 4)
    (0.2366, 0.7634)
    >>> wilson(0.5, 0)
    Interval(low=nan, high=nan)
    """
    if not (n > 0 and 0 <= share <= 1):
        return Interval()
    z2 = normal_quantile(level) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low, high = float(middle - reach), float(middle + reach)
    # at 0 and 1 one end is the share itself, which rounding can put outside
    return Interval(low=max(0.0, low) if share > 0 else 0.0, high=min(1.0, high) if share < 1 else 1.0)


def share_interval(scores: np.ndarray, level: float = 0.95) -> Interval:
    """Interval for the mean of per-sample scores in [0, 1], from N independent samples.

    For scores of 0 and 1 it is Wilson's. A dense output gives each sample a share, so samples are clusters: Wilson's
    interval with the effective number of samples, share (1 - share) / variance of the mean (Dean and Pagano 2015,
    "Evaluating confidence interval methods for binomial proportions in clustered surveys").
    """
    if len(scores) == 0 or not np.isfinite(scores).all():
        return Interval()
    share, variance = float(scores.mean()), float(scores.var())
    effective = len(scores) if variance == 0 else share * (1 - share) * len(scores) / variance
    return wilson(min(max(share, 0.0), 1.0), effective, level)


def paired_drop_interval(drops: np.ndarray, level: float = 0.95) -> Interval:
    """Interval for the mean of per-sample drops: the source's score minus the file's on the same sample, in [-1, 1].

    Scores of 0 and 1: Bonett and Price's adjusted Wald interval, which adds one pair to each discordant cell
    ("Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", Journal of
    Educational and Behavioral Statistics 37, 2012). It keeps a width when no sample differs. Other scores, those of
    dense outputs: Student's t over samples.

    >>> found = paired_drop_interval(np.zeros(98))       # 1.96 * sqrt(2 / 100 / 100)
    >>> round(found.low, 4), round(found.high, 4)
    (-0.0277, 0.0277)
    """
    n = len(drops)
    if n == 0 or not np.isfinite(drops).all():
        return Interval()
    if np.isin(drops, (-1.0, 0.0, 1.0)).all():
        lost, won = (float((drops == d).sum() + 1) / (n + 2) for d in (1.0, -1.0))
        middle = lost - won
        reach = normal_quantile(level) * np.sqrt((lost + won - middle**2) / (n + 2))
    elif n < 2:
        return Interval()
    else:
        from scipy.special import stdtrit

        middle = float(drops.mean())
        reach = stdtrit(n - 1, 0.5 + level / 2) * drops.std(ddof=1) / np.sqrt(n)
    return Interval(low=max(-1.0, float(middle - reach)), high=min(1.0, float(middle + reach)))


def ratio_interval(parts: np.ndarray, wholes: np.ndarray, level: float = 0.95) -> Interval:
    """Interval for sum(parts) / sum(wholes) over N independent samples [N], by linearisation with Student's t.

    For a class that fills a different number of positions in each sample (Cochran, "Sampling Techniques", 1977, 6.3).
    """
    parts, wholes = parts[wholes > 0].astype(np.float64), wholes[wholes > 0].astype(np.float64)
    n = len(parts)
    if n < 2:
        return Interval()
    from scipy.special import stdtrit

    ratio = parts.sum() / wholes.sum()
    residuals = parts - ratio * wholes
    reach = stdtrit(n - 1, 0.5 + level / 2) * np.sqrt((residuals**2).sum() * n / (n - 1)) / wholes.sum()
    return Interval(low=float(ratio - reach), high=float(ratio + reach))


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    strata: np.ndarray,
    *,
    seed: int,
    level: float = 0.95,
    replicates: int = REPLICATES,
) -> tuple[Interval, ...]:
    """Percentile bootstrap over samples, drawn with replacement within each stratum (Efron and Tibshirani 1993).

    `statistic` takes weights [B, N] (how often each sample was drawn) and gives [B, K]: K numbers that share the draws,
    which makes their difference a paired one. `strata` [N] holds each sample's group: one value for none, the label for
    an AUC, whose replicates then never lack a class. A statistic without spread, such as an AUC of exactly 1, gets an
    interval without width. One interval comes back for each of the K numbers.
    """
    n = len(strata)
    if n == 0:
        raise ValueError("a bootstrap needs samples")
    random = np.random.default_rng(seed)
    groups = [np.flatnonzero(strata == s) for s in np.unique(strata)]
    rows = max(1, min(replicates, _CELLS // n))
    found = []
    for start in range(0, replicates, rows):
        count = min(rows, replicates - start)
        weights = np.empty((count, n))
        for group in groups:
            weights[:, group] = _draw_counts(random, count, len(group))
        found.append(statistic(weights))
    values = np.concatenate(found)
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2], axis=0)     # nan where any replicate is
    return tuple(Interval(low=float(a), high=float(b)) for a, b in zip(low, high, strict=True))


def _draw_counts(random: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """How often each of n samples is drawn in n draws with replacement, for each row: [rows, n]."""
    draws = random.integers(0, n, (rows, n), dtype=np.int32).astype(np.int64)
    draws += np.arange(rows, dtype=np.int64)[:, None] * n
    return np.bincount(draws.ravel(), minlength=rows * n).reshape(rows, n)
