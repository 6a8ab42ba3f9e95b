"""The paired rule's error rates by simulation: what a tolerance and a noise come to, before anyone relies on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlopt.gate.rules import LOOKS, paired_bounds


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of simulated gates, and the pairs that they took on average."""

    failed: float
    passed: float
    inconclusive: float
    pairs: float


def rates(differences: np.ndarray, *, tolerance: float, alpha: float, looks: Sequence[int] = LOOKS) -> Rates:
    """Run the rule on each row of `differences`, shape [gates, looks[-1]], of log(new / baseline).

    >>> still = np.zeros((3, 24))
    >>> rates(still, tolerance=0.05, alpha=0.05)
    Rates(failed=0.0, passed=1.0, inconclusive=0.0, pairs=5.0)
    """
    limit = np.log1p(tolerance)
    gates = len(differences)
    failed, passed = np.zeros(gates, dtype=bool), np.zeros(gates, dtype=bool)
    pairs = np.full(gates, looks[-1])
    for n in looks:
        low, _, high = paired_bounds(differences[:, :n], alpha=alpha, looks=looks)
        open_ = ~(failed | passed)
        failed |= open_ & (low > limit)
        passed |= open_ & (high <= limit)
        pairs[open_ & (failed | passed)] = n
    return Rates(
        failed=float(failed.mean()), passed=float(passed.mean()), inconclusive=float((~(failed | passed)).mean()),
        pairs=float(pairs.mean()),
    )


def normal_rates(
    change: float, *, spread: float, tolerance: float, alpha: float, gates: int, seed: int,
    looks: Sequence[int] = LOOKS,
) -> Rates:
    """Rates where latency truly grew by `change` (a fraction) and differences have standard deviation `spread`."""
    noise = np.random.default_rng(seed).normal(np.log1p(change), spread, (gates, looks[-1]))
    return rates(noise, tolerance=tolerance, alpha=alpha, looks=looks)
