"""The search for activation ranges: candidates from distributions, the choice by the error at the model's output."""

from collections.abc import Callable, Mapping

import numpy as np

from mlopt.distribution import Distribution
from mlopt_tflite.judge import Judge
from mlopt_tflite.observe import Observed
from mlopt_tflite.scales import Range

Build = Callable[[Mapping[int, Range]], bytes]   # ranges by tensor -> the integer file
BETTER = 0.98   # a change is kept when it brings the error at least this far down: less is the noise of the samples


def least_error(values: Distribution, levels: int = 256, tries: int = 60) -> Range:
    """The range out of `tries` shrunk ones whose rounding and clipping have the least squared error together.

    Rounding in equal steps has step**2 / 12 (uniform error within a step).
    """
    low, high = values.span
    if high <= low:
        return low, high
    centre, counts = values.bins()
    best, chosen = np.inf, (low, high)
    for shrink in np.linspace(1.0, 0.2, tries):
        bottom, top = min(low * shrink, 0.0), max(high * shrink, 0.0)
        step = (top - bottom) / (levels - 1)
        beyond = np.maximum(centre - top, 0) + np.maximum(bottom - centre, 0)
        error = (counts * np.where(beyond > 0, beyond**2, step**2 / 12)).sum()
        if error < best:
            best, chosen = error, (bottom, top)
    return chosen


CANDIDATES: dict[str, Callable[[Distribution], Range]] = {
    "min-max": lambda d: d.span,
    "percentile 99.9": lambda d: d.within(0.999),
    "percentile 99.99": lambda d: d.within(0.9999),
    "percentile 99.999": lambda d: d.within(0.99999),
    "percentile 99.9999": lambda d: d.within(0.999999),
    "least squared error": least_error,
}
ROBUST = {name: CANDIDATES[name] for name in ("min-max", "percentile 99.99", "percentile 99.9999")}


def ranges_of(observed: Observed, candidate: str) -> dict[int, Range]:
    """By tensor; inputs whose range is known beyond the samples keep it."""
    return {i: CANDIDATES[candidate](d) for i, d in observed.distributions.items()} | dict(observed.exact_inputs)


def search(observed: Observed, build: Build, judge: Judge) -> tuple[dict[int, Range], str, float]:
    """The candidate with the least output error, its name and that error; the wider one wins a tie.

    Synthesised samples have tails of their own, so that ranges which clip hard are not tried on them.
    """
    names = list(ROBUST if observed.synthesised else CANDIDATES)
    errors = {name: judge.distance(build(ranges_of(observed, name))).noise for name in names}
    best = min(names, key=lambda name: errors[name])
    if errors[names[0]] * BETTER <= errors[best]:
        best = names[0]
    return ranges_of(observed, best), best, errors[best]


def refine(
    observed: Observed,
    build: Build,
    judge: Judge,
    *,
    start: Mapping[int, Range],
    groups: Mapping[int, list[int]],
    error: float,
    tries: int,
) -> tuple[dict[int, Range], int]:
    """Other candidates for one group of tensors at a time, kept where the output gains; and how many were kept.

    `error` is that of `start`; `tries` bounds how many files are built.
    """
    current, kept = dict(start), 0
    options = [ranges_of(observed, name) for name in ("min-max", "percentile 99.99", "least squared error")]
    for _, members in sorted(groups.items()):
        known = [t for t in members if t in current and t not in observed.exact_inputs]
        seen = {tuple(current[t] for t in known)}
        for option in options:
            change = {t: option[t] for t in known}
            if not known or tuple(change.values()) in seen or tries <= 0:
                continue
            seen.add(tuple(change.values()))
            tries -= 1
            found = judge.distance(build({**current, **change})).noise
            if found < error * BETTER:
                current, error, kept = {**current, **change}, found, kept + 1
    return current, kept
